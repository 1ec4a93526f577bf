"""Chats of a real Open WebUI (0.12), as it sent them: what is on its screen is what the agent's context would be."""

from collections import defaultdict

import msgspec
import pytest

from gateway.domain.messages import Message
from gateway.frontends.reading import find_task
from gateway.letta.upstream import Past
from gateway.turns.chats.markers import ClientId, pictures_of
from gateway.turns.chats.path import RequestedPath
from gateway.turns.chats.reconcile import Append, Branch, Decision, Ids, Start, decide
from gateway.turns.people.identity import Caller, keeps_history
from gateway.wires.chat_completions.read import to_request
from gateway.wires.chat_completions.request import decode_request
from tests.asking import called_by, path_shown
from tests.recorded import DECISIONS, KEY, RECORDED, Recorded

TURNS = [recorded for recorded in RECORDED if DECISIONS[recorded.name] in ("append", "branch", "start")]
TASKS = [recorded for recorded in RECORDED if DECISIONS[recorded.name].startswith("task: ")]


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
    contexts: dict[tuple[str, str], Context] = defaultdict(Context)
    decisions = {}
    for recorded in TURNS:
        asked, caller, ids = _read(recorded, with_ids)
        context = contexts[caller.chat or recorded.name, decode_request(recorded.json).model]
        decision = decide(asked, ids, keeps_history(KEY, caller, asked), context.pasts)
        decisions[recorded.name] = type(decision).__name__.lower()
        heard = context.answer(decision, ids, _answer_to(recorded))

        assert [_seen(m) for m in heard] == [_seen(m) for m in asked.path], recorded.name
    assert decisions == {recorded.name: DECISIONS[recorded.name] for recorded in TURNS}


@pytest.mark.parametrize("with_ids", [True, False], ids=["ids", "no ids"])
def test_a_chat_that_shows_tool_cards_goes_on_at_its_end(with_ids: bool) -> None:
    (recorded,) = [recorded for recorded in TURNS if recorded.name == "29-history-after-mixed-think+tool-items"]
    asked, caller, ids = _read(recorded, with_ids)
    first = Message("user", "first mixed", ClientId(ids.parent or "", "").new())
    past = Past([first, Message("assistant", "Visible answer after two thoughts and a tool.")])

    roles = [message.role for message in decode_request(recorded.json).messages]
    assert roles == ["user", "assistant", "tool", "assistant", "user"]
    decision = decide(asked, ids, keeps_history(KEY, caller, asked), [past])
    assert decision == Append(0, [Message("user", "second mixed")])


@pytest.mark.parametrize("with_header", [True, False], ids=["header", "no header"])
def test_a_task_is_known_by_its_header_or_else_by_its_words(with_header: bool) -> None:
    found = {}
    for recorded in (*TURNS, *TASKS):
        task = find_task(KEY, _headers(recorded, with_header), to_request(decode_request(recorded.json)))
        found[recorded.name] = f"task: {task.kind}" if task else "turn"

    assert found == {
        **{recorded.name: "turn" for recorded in TURNS},
        **{recorded.name: DECISIONS[recorded.name] for recorded in TASKS},
    }


def _seen(message: Message) -> tuple[str, str, str]:
    return message.role, message.content, pictures_of(message)


def _read(recorded: Recorded, with_ids: bool) -> tuple[RequestedPath, Caller, Ids]:
    request, headers = decode_request(recorded.json), _headers(recorded, with_ids)
    caller, ids = called_by(KEY, headers, request)
    return path_shown(request.messages), caller, ids


def _headers(recorded: Recorded, named: bool) -> dict[str, str]:
    """Its headers, with those that an operator has to name or without."""
    return {name: value for name, value in recorded.headers.items() if named or not name.startswith("x-t-")}


def _answer_to(recorded: Recorded) -> str:
    """The answer, as the next message in its chat shows it."""
    answer = recorded.headers.get("x-t-msg")
    for later in TURNS:
        if answer and later.headers.get("x-t-usermsgparent") == answer:
            return _asked(later).path[-2].content
    return f"The answer to {recorded.name}."


def _asked(recorded: Recorded) -> RequestedPath:
    return path_shown(decode_request(recorded.json).messages)
