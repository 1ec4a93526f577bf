"""What a conversation of a V1 server holds, told from its listing: in the words of a server of 0.16.8."""

import json
from datetime import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.events import (
    CallPiece,
    CallWaits,
    Event,
    Stop,
    StopReason,
    Text,
    Thought,
    ToolCalled,
    ToolReturned,
)
from gateway.domain.messages import Message, ToolResult, image_of, message_of
from gateway.letta.rest.listing import ListedMessage, to_exchanges, to_past
from gateway.letta.stream_messages import to_stop
from gateway.letta.upstream import Exchange, Past, Verdict

Item = dict[str, Any]
AT = "2026-11-23T21:53:{:02}+00:00"
SUMMARY = json.dumps({"type": "system_alert", "message": "Note: prior messages were hidden.", "time": "9 PM"}, indent=2)


def item(id: str, kind: str, second: int = 0, **fields: Any) -> Item:
    """A message of a listing, or a part of one, with what every one of them has."""
    common = {"name": None, "sender_id": None, "is_err": None, "seq_id": None, "run_id": "run-1", "step_id": "step-1"}
    return {**common, "id": id, "date": AT.format(second), "message_type": f"{kind}_message", "otid": None, **fields}


def asked(id: str, content: Any, otid: str | None = None, second: int = 0) -> Item:
    return item(id, "user", second, content=content, otid=otid or f"{id}-otid")


def shown(data: str) -> Item:
    source = {"type": "letta", "file_id": "file-1", "media_type": "image/png", "data": data, "detail": None}
    return {"type": "image", "source": source}


def thought(id: str, second: int = 0) -> Item:
    return item(id, "reasoning", second, source="reasoner_model", reasoning="Let me think.", signature=None)


def answered(id: str, content: Any, second: int = 0) -> Item:
    return item(id, "assistant", second, content=content, otid=f"{id}-otid")


def called(id: str, *call_ids: str, kind: str = "tool_call") -> Item:
    calls = [{"name": "weather", "arguments": '{"city": "Rome"}', "tool_call_id": call_id} for call_id in call_ids]
    return item(id, kind, tool_call=calls[0], tool_calls=calls)


def needs_approval(id: str, *call_ids: str) -> Item:
    return called(id, *call_ids, kind="approval_request")


def returned(id: str, call_id: str, text: str = "sunny") -> Item:
    told: Item = {"tool_return": text, "status": "success", "tool_call_id": call_id, "stdout": None, "stderr": None}
    return item(id, "tool_return", **told, tool_returns=[{"type": "tool", **told}])


def decided(id: str, call_id: str, approve: bool) -> Item:
    approval = {"type": "approval", "tool_call_id": call_id, "approve": approve, "reason": "went on"}
    return item(id, "approval_response", approvals=[approval], approve=approve, approval_request_id=call_id)


def given_back(id: str, call_id: str) -> Item:
    """The result of a client's tool."""
    approval = {"type": "tool", "tool_call_id": call_id, "tool_return": "sunny", "status": "success"}
    return item(id, "approval_response", approvals=[approval], approve=None, approval_request_id=None)


def read(*listing: Item) -> Past:
    return to_past(msgspec.json.decode(json.dumps(listing), type=list[ListedMessage]))


SYSTEM = item("m-0", "system", content="You are a tutor.\n\n<memory_metadata>\n…</memory_metadata>")
TURN = (asked("m-1", "Hi", "gw1-a-b-c-d"), thought("m-2"), answered("m-2", "Hello"))
HI, HELLO = Message("user", "Hi", "gw1-a-b-c-d", "m-1"), Message("assistant", "Hello", id="m-2")
PASTS: dict[str, tuple[list[Item], Past]] = {
    "nothing at all": ([], Past([])),
    "nothing but the system prompt": ([SYSTEM], Past([])),
    "a turn": ([SYSTEM, *TURN], Past([HI, HELLO])),
    "a question in parts": (
        [asked("m-1", [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}], "gw1-a-b-c-d")],
        Past([Message("user", "one \ntwo", "gw1-a-b-c-d", "m-1")]),
    ),
    "a question with an image": (
        [asked("m-1", [shown("cmVk"), {"type": "text", "text": "Look"}], "o")],
        Past([message_of("user", [image_of("image/png", "cmVk"), "Look"], "o", "m-1")]),
    ),
    "a question that is an image": (
        [asked("m-1", [shown("cmVk")], "o")],
        Past([message_of("user", [image_of("image/png", "cmVk")], "o", "m-1")]),
    ),
    "a question without a client id": (
        [item("m-1", "user", content="Hi")],
        Past([Message("user", "Hi", "", "m-1")]),
    ),
    "an answer after a tool": (
        [TURN[0], thought("m-2"), called("m-2", "c-1"), returned("m-3", "c-1"), answered("m-4", "Sunny")],
        Past([HI, Message("assistant", "Sunny", id="m-4")]),
    ),
    "an answer in several parts": (
        [
            *TURN,
            called("m-2", "c-1"),
            returned("m-3", "c-1"),
            answered("m-4", "It is sunny."),
            called("m-4", "c-2"),
            returned("m-5", "c-2"),
            answered("m-6", "And warm."),
        ],
        Past([HI, Message("assistant", "Hello\n\nIt is sunny.\n\nAnd warm.", id="m-6")]),
    ),
    "an answer that says nothing": ([TURN[0], thought("m-2"), answered("m-2", "")], Past([HI])),
    "a question without an answer": (
        [TURN[0], asked("m-2", "Still there?", "o")],
        Past([HI, Message("user", "Still there?", "o", "m-2")]),
    ),
    "answers that were told to it": (
        [
            asked("m-1", "A", "gw1-1"),
            answered("m-2", "B"),
            asked("m-3", "C", "gw1-3"),
            thought("m-4"),
            answered("m-4", "D"),
        ],
        Past(
            [
                Message("user", "A", "gw1-1", "m-1"),
                Message("assistant", "B", id="m-2"),
                Message("user", "C", "gw1-3", "m-3"),
                Message("assistant", "D", id="m-4"),
            ]
        ),
    ),
    "what a compaction left": (
        [SYSTEM, asked("m-9", SUMMARY), *TURN],
        Past([HI, HELLO]),
    ),
    "a summary in one line": ([asked("m-9", json.dumps(json.loads(SUMMARY)))], Past([])),
    "a question about a summary": (
        [asked("m-1", f"What is {SUMMARY}", "o")],
        Past([Message("user", f"What is {SUMMARY}", "o", "m-1")]),
    ),
    "a question that looks like a summary": (
        [asked("m-1", SUMMARY, "gw1-a-b-c-d")],
        Past([Message("user", SUMMARY, "gw1-a-b-c-d", "m-1")]),
    ),
    "a type nobody knows": ([*TURN, item("m-3", "hidden", content="unseen")], Past([HI, HELLO])),
}


@pytest.mark.parametrize(("listing", "past"), PASTS.values(), ids=PASTS)
def test_a_conversation_holds_what_was_said_in_it(listing: list[Item], past: Past) -> None:
    assert read(*listing) == past


ASKED = [asked("m-1", "Weather?", "o"), thought("m-2")]
PENDING: dict[str, tuple[list[Item], tuple[str, ...]]] = {
    "a call": ([*ASKED, needs_approval("m-2", "c-1")], ("c-1",)),
    "two calls": ([*ASKED, needs_approval("m-2", "c-1", "c-2")], ("c-1", "c-2")),
    "a call after some words": ([*ASKED, answered("m-2", "Let me see."), needs_approval("m-2", "c-1")], ("c-1",)),
    "a call whose thoughts are listed after it": ([*ASKED[:1], needs_approval("m-2", "c-1"), thought("m-2")], ("c-1",)),
    "a call that was denied": (
        [
            *ASKED,
            needs_approval("m-2", "c-1"),
            decided("m-3", "c-1", approve=False),
            returned("m-4", "c-1", "Error: request to call tool denied."),
            asked("m-5", "next", "o"),
            answered("m-6", "Yes?"),
        ],
        (),
    ),
    "a call that was approved": (
        [*ASKED, needs_approval("m-2", "c-1"), decided("m-3", "c-1", approve=True), returned("m-4", "c-1")],
        (),
    ),
    "a result of a client's": (
        [*ASKED, needs_approval("m-2", "c-1"), given_back("m-3", "c-1"), returned("m-4", "c-1"), answered("m-5", "!")],
        (),
    ),
    "another call after that": (
        [
            *ASKED,
            needs_approval("m-2", "c-1"),
            given_back("m-3", "c-1"),
            returned("m-4", "c-1"),
            thought("m-5"),
            needs_approval("m-5", "c-2"),
        ],
        ("c-2",),
    ),
    "a call of the agent's own": ([*ASKED, called("m-2", "c-1")], ()),
}


@pytest.mark.parametrize(("listing", "pending"), PENDING.values(), ids=PENDING)
def test_only_the_last_calls_wait_for_an_approval_until_anything_follows(
    listing: list[Item], pending: tuple[str, ...]
) -> None:
    assert tuple(call.tool_call_id for call in read(*listing).pending) == pending


def test_the_time_tells_the_order_where_a_compaction_has_changed_it() -> None:
    past = read(
        SYSTEM,
        asked("m-1", "one", "o-1", second=1),
        asked("m-7", SUMMARY, second=7),
        answered("m-2", "first", second=2),
        asked("m-5", "three", "o-5", second=5),
        asked("m-3", "two", "o-3", second=3),
        answered("m-8", "fourth", second=8),
        answered("m-4", "second", second=4),
        answered("m-6", "third", second=6),
        asked("m-7b", "four", "o-7", second=7),
    )

    assert [message.content for message in past.messages] == [
        *("one", "first", "two", "second", "three", "third", "four", "fourth")
    ]


def test_what_came_in_one_second_stays_in_the_order_of_the_listing() -> None:
    past = read(*(asked(f"m-{i}", f"{i}", f"o-{i}", second=9) for i in range(20)))

    assert [message.content for message in past.messages] == [f"{i}" for i in range(20)]


TEXT = st.text(min_size=1).filter(lambda text: text.strip() != "")


@given(st.lists(st.tuples(st.booleans(), TEXT)))
def test_every_text_is_found_again_and_answers_never_follow_each_other(said: list[tuple[bool, str]]) -> None:
    listing = [asked(f"m-{i}", t, f"o-{i}") if u else answered(f"m-{i}", t) for i, (u, t) in enumerate(said)]
    messages = read(*listing).messages

    assert [m.content for m in messages if m.role == "user"] == [text for is_user, text in said if is_user]
    answers = "".join(text for is_user, text in said if not is_user)
    assert "".join(m.content for m in messages if m.role == "assistant").replace("\n", "") == answers.replace("\n", "")
    roles = [m.role for m in messages]
    assert ("assistant", "assistant") not in zip(roles, roles[1:], strict=False)


# Exchanges


def exchanges(*listing: Item, ends: dict[str, Stop | None] | None = None) -> list[Exchange]:
    return to_exchanges(msgspec.json.decode(json.dumps(listing), type=list[ListedMessage]), ends or {})


def of_run(run: str, *listing: Item) -> list[Item]:
    return [{**one, "run_id": run} for one in listing]


END, WAITING = Stop(StopReason.END), Stop(StopReason.WAITING)
LIMIT, FAILED = to_stop("max_steps"), to_stop("llm_api_error")
THOUGHT = Thought("Let me think.", "step-1")
CALL = CallPiece("c-1", "weather", '{"city": "Rome"}')


def test_an_exchange_is_what_was_asked_and_all_that_came_of_it() -> None:
    (exchange,) = exchanges(
        SYSTEM, TURN[0], thought("m-2"), called("m-2", "c-1"), returned("m-3", "c-1"), *TURN[1:], item("m-9", "event")
    )

    assert exchange == Exchange(
        HI,
        events=[
            *(THOUGHT, ToolCalled(CALL, "step-1"), ToolReturned("c-1", "sunny")),
            *(THOUGHT, Text("Hello", "step-1"), END),
        ],
        made_at=datetime.fromisoformat(AT.format(0)),
        run_id="run-1",
        answer_id="m-2",
    )


# what is listed after a question -> the ends of runs -> how its exchange ends
ENDS: dict[str, tuple[list[Item], dict[str, Stop | None], Stop | None]] = {
    "an answer": ([answered("m-2", "Hello")], {}, END),
    "an answer of a run that is known": ([answered("m-2", "Hello")], {"run-1": END}, END),
    "an answer of a run under way": ([answered("m-2", "Hello")], {"run-1": None}, None),
    "an answer that reached a limit": ([answered("m-2", "Hello")], {"run-1": LIMIT}, LIMIT),
    "a tool": ([called("m-2", "c-1"), returned("m-3", "c-1")], {}, None),
    "a tool, and a limit": ([called("m-2", "c-1"), returned("m-3", "c-1")], {"run-1": LIMIT}, LIMIT),
    "a tool, and a failure": ([called("m-2", "c-1"), returned("m-3", "c-1")], {"run-1": FAILED}, FAILED),
    "a call that waits": ([needs_approval("m-2", "c-1")], {}, WAITING),
    "a call that waits, with thoughts listed after it": ([needs_approval("m-2", "c-1"), thought("m-2")], {}, WAITING),
    "nothing": ([], {}, None),
    "nothing of a run that ended well": ([], {"run-1": END}, END),
}


@pytest.mark.parametrize(("listing", "ends", "end"), ENDS.values(), ids=ENDS)
def test_an_exchange_ends_as_its_run_did(listing: list[Item], ends: dict[str, Stop | None], end: Stop | None) -> None:
    (exchange,) = exchanges(asked("m-1", "Hi", "gw1-a-b-c-d"), *listing, ends=ends)

    assert [event for event in exchange.events if isinstance(event, Stop)] == ([end] if end else [])


def test_of_several_messages_of_one_run_the_last_has_its_end() -> None:
    said = [asked("m-1", "A", "gw1-1"), answered("m-2", "B"), asked("m-3", "C", "gw1-3"), answered("m-4", "D")]

    assert [exchange.events for exchange in exchanges(*said, ends={"run-1": LIMIT})] == [
        [Text("B", "step-1"), END],
        [Text("D", "step-1"), LIMIT],
    ]


# the answer to a call, and what is listed after it -> results, what was decided, what came of it
RESULT, ALLOWED, DENIED = ToolResult("c-1", "sunny"), Verdict("c-1", True), Verdict("c-1", False, "went on")
BOTH = {**returned("m-4", "c-1"), "tool_returns": [returned("m-4", id)["tool_returns"][0] for id in ("c-1", "c-2")]}
RETURNED = ToolReturned("c-1", "sunny")
ANSWERS: dict[str, tuple[list[Item], tuple[ToolResult, ...], tuple[Verdict, ...], list[Event]]] = {
    "a result": ([given_back("m-3", "c-1"), returned("m-4", "c-1")], (RESULT,), (), []),
    "a result beside what another tool gave": (
        [given_back("m-3", "c-1"), BOTH],
        (RESULT,),
        (),
        [RETURNED, ToolReturned("c-2", "sunny")],
    ),
    "a yes": ([decided("m-3", "c-1", approve=True), returned("m-4", "c-1")], (), (ALLOWED,), [RETURNED]),
    "a no": ([decided("m-3", "c-1", approve=False), returned("m-4", "c-1")], (), (DENIED,), []),
}


@pytest.mark.parametrize(("listing", "results", "verdicts", "events"), ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "with words beside it"])
def test_answers_to_calls_begin_an_exchange(
    listing: list[Item],
    results: tuple[ToolResult, ...],
    verdicts: tuple[Verdict, ...],
    events: list[Event],
    beside: bool,
) -> None:
    words = [asked("m-5", "And Oslo?", "gw1-5")] if beside else []
    before, after = exchanges(*ASKED, needs_approval("m-2", "c-1"), *listing, *words, answered("m-6", "Sunny"))

    assert before.events == [THOUGHT, CallWaits(CALL, "step-1"), WAITING]
    assert (after.asked and after.asked.content) == ("And Oslo?" if beside else None)
    assert (after.results, after.decided) == (results, verdicts)
    assert after.events == [*events, Text("Sunny", "step-1"), END]


def test_the_pictures_of_a_result_are_found_with_what_came_of_its_call() -> None:
    shown_back = returned("m-4", "c-1")
    shown_back["tool_returns"][0]["tool_return"] = [{"type": "text", "text": "a map"}, shown("cmVk")]
    _, after = exchanges(*ASKED, needs_approval("m-2", "c-1"), given_back("m-3", "c-1"), shown_back)

    picture = message_of("user", ["a map", image_of("image/png", "cmVk")]).images
    assert after.results == (ToolResult("c-1", "a map", picture),)


def test_what_an_agent_says_unasked_is_an_exchange_and_a_notice_is_none() -> None:
    unasked, noticed = exchanges(answered("m-1", "Good morning")), exchanges(asked("m-9", SUMMARY), SYSTEM)

    assert [(one.asked, one.events) for one in unasked] == [(None, [Text("Good morning", "step-1"), END])]
    assert noticed == []
