"""Pictures on each kind of a real Letta: the model is shown what is on screen, and each picture is sent once."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from gateway.app import create_app
from gateway.settings import AgentType, Letta, Provider, Settings
from tests.frontend import Frontend
from tests.gateways import FRONTEND, gateway, http, sdk
from tests.gateways import chat as body
from tests.integration.words import someone, unheard
from tests.pictures.drawn import Picture, picture
from tests.servers.app_server import AppServer
from tests.servers.letta_v1 import LettaV1
from tests.servers.scripted_model import ScriptedModel
from tests.servers.threads import served


def question_with(text: str, shown: Picture) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": text}, shown.part]}


def test_a_v1_server_s_model_is_told_how_closely_to_look(letta_v1: LettaV1, model: ScriptedModel) -> None:
    text, shown = unheard("look"), picture()
    asked = question_with(text, shown)
    asked["content"][1]["image_url"]["detail"] = "low"
    with gateway(letta_v1) as url, http(url) as client:
        client.post("/v1/chat/completions", json=body(user=someone(), messages=[asked])).raise_for_status()

    (request,) = [request for request in model.requests if text in str(request["messages"][-1])]
    assert request["messages"][-1]["content"][1]["image_url"] == {"url": shown.url, "detail": "low"}


# What cannot be seen


def test_a_provider_that_takes_no_pictures_is_told_of(letta_v1: LettaV1, model: ScriptedModel) -> None:
    with gateway(letta_v1) as url, sdk(url, "sk-front") as client:
        chat = Frontend(client, someone())
        with pytest.raises(openai.APIError) as caught:
            chat.say(unheard("!fail 400\n"), picture())
        assert caught.value.code == "model_error"

        chat.last, text = None, unheard("without")
        chat.say(text)
    assert model.said_once(text) == [("user", text)]


def test_a_picture_for_a_model_that_an_app_server_shows_none_is_refused(
    app_server: AppServer, model: ScriptedModel
) -> None:
    with gateway(app_server) as url, sdk(url, "sk-front") as client:
        chat, look = Frontend(client, someone()), unheard("look")
        assert_unseen(chat, look)
        chat.last, text = None, unheard("without")
        chat.say(text)

    assert model.said(look) == []
    assert model.said_once(text) == [("user", text)]


def assert_unseen(chat: Frontend, look: str) -> None:
    """The picture is refused, and the refusal says what to set."""
    with pytest.raises(openai.APIError, match=r"`vision = true` in `\[provider\]`") as caught:
        chat.say(look, picture())
    assert (caught.value.code, caught.value.param) == ("pictures_unseen", "messages")


@contextmanager
def embedded(state: Path, model: ScriptedModel, vision: bool | None) -> Iterator[OpenAI]:
    """A client of a gateway with a Letta of its own, in front of the scripted model, which says it sees."""
    provider = Provider(id="openai-compatible", base_url=model.base_url, vision=vision)
    letta = Letta(upstream="embedded", state=str(state), settle_seconds=0.05)
    settings = Settings(letta=letta, agent_types=(AgentType(id="tutor"),), keys=(FRONTEND,), provider=provider)
    with served(create_app(settings)) as url, sdk(url, "sk-front") as client:
        yield client


def test_an_embedded_letta_shows_pictures_as_the_operator_or_the_endpoint_says_and_living_agents_follow(
    tmp_path: Path, model: ScriptedModel
) -> None:
    user, one = someone(), unheard("one")
    with embedded(tmp_path, model, vision=False) as client:
        chat = Frontend(client, user)
        chat.say(one)
        path, last = chat.said(), chat.last
        assert_unseen(chat, unheard("look"))
        chat.last = last
    for vision in (True, None):
        with embedded(tmp_path, model, vision) as client:
            chat.client, look, shown = client, unheard("look"), picture()
            chat.say(look, shown)
            assert model.said_once(look) == [*path, ("user", f"{look}\n{shown.name}")]
            path = chat.said()


def test_a_picture_that_an_app_server_cannot_read_is_the_clients_mistake(
    app_server: AppServer, model: ScriptedModel
) -> None:
    with gateway(app_server, model=app_server.seeing) as url, sdk(url, "sk-front") as client:
        chat = Frontend(client, someone())
        chat.say(unheard("one"))
        path, look = chat.said(), unheard("look")
        with pytest.raises(openai.APIError) as caught:
            chat.say(look, Picture(picture().data[:40]))
        assert caught.value.code == "invalid_image"
        assert chat.last
        assert chat.last.parent
        chat.edit(chat.last.parent, look, shown := picture())

    assert model.said_once(look) == [*path, ("user", f"{look}\n{shown.name}")]
