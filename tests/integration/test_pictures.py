"""Pictures on each kind of a real Letta: the model is shown what is on screen, and each picture is sent once."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI

from gateway.turns.names import agent_tags
from tests.frontend import Frontend, Said
from tests.gateways import chat as body
from tests.gateways import gateway, http, sdk
from tests.integration.words import someone, unheard
from tests.pictures import GIF, JPEG, WEBP, Picture, picture
from tests.servers.app_server import AppServer
from tests.servers.letta_v1 import LettaV1
from tests.servers.real_letta import RealLetta
from tests.servers.scripted_model import ScriptedModel

# Which Letta, and whether the frontend sends the ids of its messages.
SIDES = {
    "v1-ids": ("letta_v1", True),
    "v1-no ids": ("letta_v1", False),
    "app-server-ids": ("app_server", True),
    "app-server-no ids": ("app_server", False),
}


@pytest.fixture(scope="module", params=list(SIDES.values()), ids=list(SIDES))
def side(request: pytest.FixtureRequest) -> tuple[RealLetta, bool]:
    name, ids = request.param
    return request.getfixturevalue(name), ids


@pytest.fixture(scope="module")
def letta(side: tuple[RealLetta, bool]) -> RealLetta:
    return side[0]


@pytest.fixture(scope="module")
def url(letta: RealLetta) -> Iterator[str]:
    with gateway(letta, model=letta.seeing) as base_url:
        yield base_url


@pytest.fixture
def client(url: str) -> Iterator[OpenAI]:
    with sdk(url, "sk-front") as openai_client:
        yield openai_client


@pytest.fixture
def chat(client: OpenAI, side: tuple[RealLetta, bool]) -> Frontend:
    """A chat of somebody nobody has heard of."""
    return Frontend(client, someone(), ids=side[1])


def received(model: ScriptedModel, last: str) -> list[Said]:
    """What the model received with the one request whose last message contains `last`."""
    (said,) = model.said(last)
    return said


def conversations(letta: RealLetta, chat: Frontend) -> list[str]:
    """Those of a chat's user: one more, or another, and what was said was sent again."""
    (agent,) = letta.agents(agent_tags("tutor", "frontend", chat.user))
    return sorted(letta.conversations(agent))


# On the path


def test_a_picture_is_seen_and_sent_once(chat: Frontend, letta: RealLetta, model: ScriptedModel) -> None:
    look, shown = unheard("look"), picture()
    chat.say(look, shown)
    assert received(model, look) == [("user", f"{look}\n{shown.name}")]

    before = conversations(letta, chat)
    for text in (unheard("two"), unheard("three")):
        path = chat.said()
        chat.say(text)
        assert received(model, text) == [*path, ("user", text)]
    assert conversations(letta, chat) == before


def test_pictures_and_texts_keep_their_order(client: OpenAI, model: ScriptedModel) -> None:
    one, other, question = picture(), picture(), unheard("which is redder?")
    texts: list[Any] = [{"type": "text", "text": text} for text in ("this", "or this:", question)]
    content = [texts[0], one.part, texts[1], other.part, texts[2]]
    messages: Any = [{"role": "user", "content": content}]
    client.chat.completions.create(model="tutor", messages=messages, extra_headers={"X-OpenWebUI-User-Id": someone()})

    assert received(model, question) == [("user", f"this\n{one.name}\nor this:\n{other.name}\n{question}")]


def test_two_pictures_and_nothing_else_are_a_message(chat: Frontend, letta: RealLetta, model: ScriptedModel) -> None:
    one, other = picture(), picture()
    chat.say("", one, other)
    assert received(model, other.name) == [("user", f"{one.name}\n{other.name}")]

    before, path, text = conversations(letta, chat), chat.said(), unheard("two")
    chat.say(text)
    assert received(model, text) == [*path, ("user", text)]
    assert conversations(letta, chat) == before


def test_regenerate_shows_the_picture_once_again(chat: Frontend, model: ScriptedModel) -> None:
    chat.say(unheard("one"), picture())
    before, two, shown = chat.said(), unheard("two"), picture()
    chat.regenerate(chat.say(two, shown))

    assert model.said(two) == [[*before, ("user", f"{two}\n{shown.name}")]] * 2
    path, three = chat.said(), unheard("three")
    chat.say(three)
    assert received(model, three) == [*path, ("user", three)]


@pytest.mark.parametrize("other", [False, True], ids=["that keeps its picture", "with another picture"])
@pytest.mark.parametrize("turn", [0, 1], ids=["the first", "the last"])
def test_an_edit_of_a_message(chat: Frontend, model: ScriptedModel, turn: int, other: bool) -> None:
    answers = [chat.say(unheard(str(i)), picture()) for i in range(2)]
    edited, text, others = answers[turn].parent, unheard("edited"), [picture()] * other
    assert edited
    chat.edit(edited, text, *others)

    path = chat.said()
    assert received(model, text) == path[:-1]
    assert path[-2] == ("user", "\n".join([text, (others or edited.pictures)[0].name]))
    after = unheard("after")
    chat.say(after)
    assert received(model, after) == [*path, ("user", after)]


def test_the_same_words_with_another_picture_are_another_message(chat: Frontend, model: ScriptedModel) -> None:
    look, two = unheard("look"), unheard("two")
    first = chat.say(look, picture())
    assert first.parent
    chat.edit(first.parent, look, picture())
    for branch in (chat.last, first, chat.last):
        chat.last = branch
        path, text = chat.said(), unheard(two)
        chat.say(text)
        assert received(model, text) == [*path, ("user", text)]


def test_a_clone_has_the_pictures(chat: Frontend, letta: RealLetta, model: ScriptedModel) -> None:
    chat.say(unheard("one"), picture())
    for each in (chat.clone(), chat):
        for text in (unheard("two"), unheard("three")):
            path = each.said()
            each.say(text)
            assert received(model, text) == [*path, ("user", text)]


def test_an_edited_answer_about_a_picture_is_what_the_agent_has_said(chat: Frontend, model: ScriptedModel) -> None:
    first = chat.say(unheard("one"), picture())
    chat.say(unheard("two"), picture())
    first.shown = unheard("No, I said this")
    path, three = chat.said(), unheard("three")
    chat.say(three)

    assert received(model, three) == [*path, ("user", three)]


def test_after_stop_the_picture_is_kept(chat: Frontend, model: ScriptedModel) -> None:
    chat.say(unheard("one"))
    stopped, shown = unheard("!hang\n"), picture()
    chat.stop(stopped, shown)
    path, two = chat.said(), unheard("two")
    chat.say(two)

    assert received(model, two) == [*path, ("user", two)]
    assert path[-1] == ("user", f"{stopped}\n{shown.name}")


def test_after_a_restart_a_picture_is_known_again(chat: Frontend, letta: RealLetta, model: ScriptedModel) -> None:
    chat.say(unheard("one"), picture())
    chat.say("", picture())
    before = conversations(letta, chat)
    with gateway(letta, model=letta.seeing) as restarted, sdk(restarted, "sk-front") as client:
        chat.client = client
        path, three, shown = chat.said(), unheard("three"), picture()
        answer = chat.say(three, shown)
        assert received(model, three) == [*path, ("user", f"{three}\n{shown.name}")]
        assert conversations(letta, chat) == before
        chat.regenerate(answer)
        assert model.said(three) == [[*path, ("user", f"{three}\n{shown.name}")]] * 2


FORMS = {
    "image/gif": Picture(GIF, "image/gif"),
    "image/webp": Picture(WEBP, "image/webp"),
    "image/jpeg": Picture(JPEG, "image/jpeg"),
    "too wide for an App Server": picture(2500, 2),
    "of megabytes": picture(1000, 1000, noise=True),
}


@pytest.mark.parametrize("shown", FORMS.values(), ids=FORMS)
def test_a_picture_that_letta_makes_another_of_is_known_again(
    chat: Frontend, letta: RealLetta, model: ScriptedModel, shown: Picture
) -> None:
    look = unheard("look")
    chat.say(look, shown)
    before = conversations(letta, chat)
    for _ in range(2):
        with gateway(letta, model=letta.seeing) as restarted, sdk(restarted, "sk-front") as client:
            chat.client, text = client, unheard("next")
            chat.say(text)
            (seen, *_), told = received(model, text), received(model, look)
            assert [seen] == told
            assert "[image/" in seen[1]
    assert conversations(letta, chat) == before
    # An App Server shows PNG and JPEG of no more than 2000 pixels a side.
    if letta.name == "v1":
        assert shown.name in seen[1]


# A client that keeps no history


def question_with(text: str, shown: Picture) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": text}, shown.part]}


@pytest.mark.parametrize("restarts", [False, True], ids=["at once", "after a restart"])
def test_a_picture_of_a_stopped_turn_is_brought_back(
    letta: RealLetta, url: str, model: ScriptedModel, restarts: bool
) -> None:
    user, stopped, shown, two = someone(), unheard("!hang\n"), picture(), unheard("two")
    looking = body(user=user, stream=True, messages=[question_with(stopped, shown)])
    with gateway(letta, model=letta.seeing) as other, http(other) as doomed:
        doomed.headers["X-Chat-Id"] = "here"
        doomed.post("/v1/chat/completions", json=body(unheard("one"), user=user)).raise_for_status()
        with doomed.stream("POST", "/v1/chat/completions", json=looking):
            model.wait_for(shown.name)
        if not restarts:
            doomed.post("/v1/chat/completions", json=body(two, user=user)).raise_for_status()
    with http(url) as again:
        if restarts:
            again.headers["X-Chat-Id"] = "here"
            again.post("/v1/chat/completions", json=body(two, user=user)).raise_for_status()

    *_, question, last = received(model, two)
    assert [question, last] == [("user", f"{stopped}\n{shown.name}"), ("user", two)]


# What cannot be seen


def test_a_provider_that_takes_no_pictures_is_told_of(letta_v1: LettaV1, model: ScriptedModel) -> None:
    with gateway(letta_v1) as url, sdk(url, "sk-front") as client:
        chat = Frontend(client, someone())
        with pytest.raises(openai.APIStatusError) as caught:
            chat.say(unheard("!fail 400\n"), picture())
        assert (caught.value.status_code, caught.value.code) == (502, "model_error")

        chat.last, text = None, unheard("without")
        chat.say(text)
    assert received(model, text) == [("user", text)]


def test_a_model_that_cannot_see_is_told_that_there_was_a_picture(app_server: AppServer, model: ScriptedModel) -> None:
    with gateway(app_server) as url, sdk(url, "sk-front") as client:
        chat, look = Frontend(client, someone()), unheard("look")
        chat.say(look, picture())

    assert received(model, look) == [("user", f"{look}\n(image omitted: model does not support images)")]


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

    assert received(model, look) == [*path, ("user", f"{look}\n{shown.name}")]
