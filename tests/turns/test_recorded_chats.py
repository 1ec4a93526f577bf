"""Chats of a real Open WebUI (0.12), as it sent them: what is on its screen is what the agent's context would be."""

from collections import defaultdict
from pathlib import Path

import msgspec
import pytest
from msgspec import Struct

from gateway.letta.upstream import Message, Past
from gateway.openai_wire.request import ChatCompletionRequest, ChatMessage
from gateway.settings import Key
from gateway.turns.asked import to_asked
from gateway.turns.identity import identify, keeps_history, read_ids
from gateway.turns.names import ClientId
from gateway.turns.transcript import Append, Branch, Decision, Ids, Start, decide

# Its headers were named by the operator.
KEY = Key(
    name="open-webui",
    default_user="ada",
    message_id_header="X-T-Msg",
    user_message_id_header="X-T-UserMsg",
    parent_id_header="X-T-UserMsgParent",
)


class Recorded(Struct, frozen=True):
    name: str
    headers: dict[str, str]
    model: str
    messages: list[ChatMessage]


LINES = (Path(__file__).parent.parent / "recordings" / "open-webui.jsonl").read_text(encoding="utf-8").splitlines()
RECORDED = [msgspec.json.decode(line, type=Recorded) for line in LINES]
# What is done with those whose chat is known; all others are begun with what they tell.
KNOWN: dict[str, type[Decision]] = {
    "second message": Append,
    "regenerate": Branch,
    "regenerate with a wish": Branch,
    "edit of the second user message": Branch,
    "edit of the first user message": Start,
    "third message on the edited branch": Append,
    # The turn before it was not recorded.
    "continue": Branch,
    "after stop": Append,
    "temporary, second": Append,
}


class Context:
    """The conversations of one chat with one agent, the one used last first."""

    def __init__(self) -> None:
        self.pasts: list[Past] = []

    def answer(self, decision: Decision, ids: Ids, answer: str) -> list[Message]:
        """Carry the decision out; gives what the agent has heard when it answers."""
        match decision:
            case Append(at, news):
                heard = self.pasts.pop(at).messages + news
            case Branch(at, kept, news):
                heard = self.pasts[at].messages[:kept] + news
            case Start(path):
                heard = path
        named = ClientId(ids.answer or "", ids.parent or "").new()
        told = [*heard[:-1], msgspec.structs.replace(heard[-1], client_id=named), Message("assistant", answer)]
        self.pasts.insert(0, Past(told))
        return heard


@pytest.mark.parametrize("with_ids", [True, False], ids=["ids", "no ids"])
def test_the_agent_hears_what_is_on_screen(with_ids: bool) -> None:
    contexts: dict[tuple[str | None, str], Context] = defaultdict(Context)
    decisions: dict[str, type[Decision]] = {}
    for recorded in RECORDED:
        request = ChatCompletionRequest(recorded.model, recorded.messages)
        headers = recorded.headers if with_ids else {k: v for k, v in recorded.headers.items() if "-t-" not in k}
        asked, caller = to_asked(request.messages), identify(KEY, headers, request)
        ids, context = read_ids(KEY, headers, caller.chat), contexts[caller.chat, recorded.model]
        decision = decide(asked, ids, keeps_history(KEY, caller, asked), context.pasts)
        if context.pasts:
            decisions[recorded.name] = type(decision)
        heard = context.answer(decision, ids, _answer_to(recorded))

        assert [(m.role, m.content) for m in heard] == [(m.role, m.content) for m in asked.path], recorded.name
    assert decisions == KNOWN


def _answer_to(recorded: Recorded) -> str:
    """The answer, as the next message in its chat shows it."""
    for later in RECORDED:
        if later.headers["x-t-usermsgparent"] == recorded.headers["x-t-msg"]:
            return to_asked(later.messages).path[-2].content
    return f"The answer to {recorded.name}."
