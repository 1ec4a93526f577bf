"""What other programs send than people's chats, on every real Letta, by what the model received."""

from typing import Any

from openai import OpenAI

from gateway.letta.notes import GO_AHEAD
from tests.integration.test_client_tools import heard
from tests.integration.words import someone, unheard
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
