"""What other programs send than people's chats, on every real Letta, by what the model received."""

import json
from typing import Any

import pytest
from openai import APIStatusError, OpenAI

from gateway.letta.notes import GO_AHEAD
from tests.gateways import gateway, sdk
from tests.integration.words import someone, unheard
from tests.pictures.drawn import picture
from tests.programs import heard, tool
from tests.servers.app_server import AppServer
from tests.servers.real_letta import RealLetta
from tests.servers.scripted_model import ScriptedModel

Message = dict[str, Any]


def answered(client: OpenAI, user: str, *messages: Message, **more: Any) -> str:
    """The answer, as the client tells it again."""
    asked: Any = {"model": "tutor", "user": user, "messages": [*messages], **more}
    return client.chat.completions.create(**asked).choices[0].message.content or ""


def test_an_agent_speaks_first_where_a_system_text_has_it_do_so_and_the_chat_goes_on(
    client: OpenAI, model: ScriptedModel
) -> None:
    greet, user = {"role": "system", "content": unheard("Greet them")}, someone()
    hello, bye = unheard("hello"), {"role": "system", "content": unheard("Say goodbye")}

    said: list[Message] = [greet]
    said.append({"role": "assistant", "content": answered(client, user, *said)})
    said.append({"role": "user", "content": hello})
    said.append({"role": "assistant", "content": answered(client, user, *said)})
    told = heard(model, hello)
    assert [role for role, _ in told] == ["user", "assistant", "user"]
    assert (told[0][1], told[2][1]) == (GO_AHEAD, hello)

    answered(client, user, *said, bye)
    (last,) = [r for r in model.requests if bye["content"] in str(r["messages"])]
    assert [message["role"] for message in last["messages"][1:]] == ["user", "assistant", "user", "assistant", "user"]
    assert hello in str(last["messages"][3])


def test_every_chat_in_which_the_agent_speaks_first_has_a_conversation_of_its_own(
    client: OpenAI, letta: RealLetta, model: ScriptedModel
) -> None:
    user, one, other = someone(), unheard("one"), unheard("other")
    for text in (one, other):
        answered(client, user, {"role": "system", "content": text})

    requests = [[r for r in model.requests if text in str(r["messages"])] for text in (one, other)]
    assert [len(request["messages"]) for (request,) in requests] == [2, 2]


TOOLS = [tool("weather"), tool("clock")]


def shown_by_a_tool(url: str, model: ScriptedModel, content: Any) -> list[Message]:
    """What the model received after a call of the client's tool, which gave this."""
    mark = unheard()
    question = {"role": "user", "content": f"!tool weather {{}}\n{mark}"}
    asked: Any = {"model": "tutor", "user": someone(), "tools": TOOLS}
    with sdk(url) as client:
        asked["messages"] = [question]
        called = client.chat.completions.create(**asked).choices[0].message
        assert called.tool_calls
        given = {"role": "tool", "tool_call_id": called.tool_calls[0].id, "content": content}
        client.chat.completions.create(**{**asked, "messages": [question, called, given]})
    requests = [one["messages"] for one in model.requests if mark in json.dumps(one["messages"])]
    return list(requests[-1][3:])


def test_a_picture_that_a_tool_gives_is_shown_to_the_model_or_told_of(letta: RealLetta, model: ScriptedModel) -> None:
    seen = picture()
    with gateway(letta, model=letta.seeing) as url:
        told = json.dumps(shown_by_a_tool(url, model, [{"type": "text", "text": "Look:"}, seen.part]))

    assert "Look:" in told
    # A V1 server shows it to models of the providers whose tools may show pictures; this is none of them.
    assert ("[Image omitted]" if letta.name == "v1" else seen.url) in told


@pytest.mark.parametrize("content", ["", [], [{"type": "file", "file": {"file_id": "x"}}]], ids=["empty", "[]", "file"])
def test_a_result_without_text_is_told_without_the_parts_it_came_in(
    url: str, model: ScriptedModel, content: Any
) -> None:
    (told,) = shown_by_a_tool(url, model, content)

    assert told["role"] == "tool"
    assert "{" not in (told["content"] or "")


def test_a_text_that_is_longer_than_letta_takes_is_refused_by_name_and_not_brought_back(
    app_server: AppServer, model: ScriptedModel
) -> None:
    next, about = unheard("next"), {"extra_headers": {"X-Chat-Id": "long"}}
    with gateway(app_server) as url, sdk(url) as client:
        user = someone()
        with pytest.raises(APIStatusError) as refused:
            answered(client, user, {"role": "user", "content": "a" * 22 * 1024 * 1024}, **about)
        answered(client, user, {"role": "user", "content": next}, **about)

    assert (refused.value.status_code, refused.value.code) == (413, "request_too_large")
    assert heard(model, next) == [("user", next)]
