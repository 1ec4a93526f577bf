"""Rules that the stream of a response obeys, for any events whatever."""

import json
from collections.abc import Sequence
from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.events import CallPiece, CallWaits, Event, Text, Thought
from gateway.domain.look import ApprovalForm, Look, Reasoning, ToolActivity
from gateway.domain.request import ClientTool, ClientTools
from gateway.wires.responses.echo import Echo
from gateway.wires.responses.read import OWN_CALL
from gateway.wires.responses.response import encode_json
from tests import events as e
from tests.turns.runs.test_copied_log import EVENTS
from tests.wires.responses.oracle import check_frames, events_of, play_response, played_frames, whole_response
from tests.wires.strategies import ANY, TEXTS, good_runs, said

NAMES = ("weather", "patch")
TOOLS = ClientTools(tuple(ClientTool(name) for name in NAMES))
ECHO = Echo("tutor", custom_tools=("patch",))
REASONINGS: st.SearchStrategy[Reasoning] = st.sampled_from(["think_tags", "hidden"])
ACTIVITIES: st.SearchStrategy[ToolActivity] = st.sampled_from(["thoughts", "mcp_calls", "rich", "hidden"])
FORMS: st.SearchStrategy[ApprovalForm] = st.sampled_from(["chat", "items"])
LOOKS = st.builds(Look, REASONINGS, ACTIVITIES, FORMS)
ARGUMENTS = st.sampled_from(['{"input": "', "a b", '\\n\\"', "\\", 'u00e9"}', '"}', "{}", "\\ud83d", "\\ude00", "ü"])
CALLS = st.builds(
    lambda id, name, arguments: CallWaits(CallPiece(id, name, arguments), "step-1"),
    st.sampled_from(["c1", "c2"]),
    st.sampled_from([*NAMES, "", "Bash"]),
    st.one_of(ARGUMENTS, TEXTS),
)
# Runs as a Letta has them, with calls of the client's; anything at all; and what another process may tell.
RUNS = st.one_of(
    ANY,
    st.lists(EVENTS, max_size=12),
    st.lists(st.one_of(CALLS, EVENTS), max_size=12),
    st.builds(
        lambda events, calls: [*events, *calls, e.stop("requires_approval")], said(TEXTS), st.lists(CALLS, max_size=6)
    ),
)


@given(RUNS, LOOKS)
def test_any_events_make_a_stream_that_both_specifications_take(events: list[Event], look: Look) -> None:
    check_frames(played_frames(events, look, TOOLS, ECHO))


@given(RUNS, LOOKS)
def test_no_word_of_the_answer_is_lost(events: list[Event], look: Look) -> None:
    alone = [event for event in events if isinstance(event, Text)]
    stream = play_response([*alone, e.stop()], look)

    assert "".join(stream.texts) == "".join(event.text for event in alone)


@given(st.one_of(good_runs, RUNS.map(lambda events: [*events[:3], e.stop()])), LOOKS)
def test_the_whole_response_is_what_the_stream_ends_with(events: list[Event], look: Look) -> None:
    stream = play_response(events, look, TOOLS, ECHO)
    if stream.end["status"] == "failed":
        return

    assert msgspec.json.decode(encode_json(whole_response(events, look, TOOLS, ECHO))) == stream.end


def _more(event: Event, last: Event | None) -> Event | None:
    """The event joined to the one before, if both are pieces of one text."""
    if isinstance(event, Text) and isinstance(last, Text) and event.step == last.step:
        return Text(last.text + event.text, event.step, last.pieces + event.pieces)
    if isinstance(event, Thought) and isinstance(last, Thought) and event.step == last.step:
        return Thought(last.text + event.text, event.step, last.pieces + event.pieces)
    return None


def joined(events: Sequence[Event], data: st.DataObject) -> list[Event]:
    """The events as they are once a log has joined some pieces of a text, and left others apart."""
    taken: list[Event] = []
    for event in events:
        last = taken[-1] if taken else None
        if isinstance(event, Text | Thought) and not event.text:
            # These have no number, and reach no log.
            continue
        more = _more(event, last)
        if more and data.draw(st.booleans()):
            taken[-1] = more
        else:
            taken.append(event)
    return taken


@given(RUNS, LOOKS, st.data())
def test_the_events_and_their_numbers_are_the_same_however_a_log_joins_texts(
    events: list[Event], look: Look, data: st.DataObject
) -> None:
    live = {event["sequence_number"]: event for event in events_of(played_frames(events, look, TOOLS, ECHO))}
    stream = check_frames(played_frames(joined(events, data), look, TOOLS, ECHO), contiguous=False)

    for event in stream.events:
        same = live[event["sequence_number"]]
        assert same["type"] == event["type"]
        assert "delta" in event or same == event
    assert stream.end == live[max(live)]["response"]


@given(RUNS, LOOKS, st.data())
def test_who_goes_on_after_a_number_has_all_events_once(events: list[Event], look: Look, data: st.DataObject) -> None:
    whole = events_of(played_frames(events, look, TOOLS, ECHO))
    after = data.draw(st.integers(-1, len(whole) - 2))

    assert events_of(played_frames(events, look, TOOLS, ECHO, after=after)) == whole[after + 1 :]


@given(st.lists(TEXTS, max_size=6), st.data())
def test_a_custom_call_is_told_the_text_that_its_arguments_hold(texts: list[str], data: st.DataObject) -> None:
    text = "".join(texts)
    written = json.dumps({"input": text}, ensure_ascii=data.draw(st.booleans()))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(written)), max_size=5)) | {0, len(written)})
    pieces = [written[start:end] for start, end in pairwise(cuts)]
    calls: list[Event] = [CallWaits(CallPiece("c1", "patch" if not i else "", piece)) for i, piece in enumerate(pieces)]
    stream = play_response([*calls, e.stop("requires_approval")], clients=TOOLS, echo=ECHO)

    assert [item["input"] for item in stream.output] == [text]


@given(RUNS)
def test_hidden_thoughts_and_tools_are_told_nowhere(events: list[Event]) -> None:
    stream = play_response(events, Look("hidden", "hidden"), TOOLS, ECHO)

    assert {item["type"] for item in stream.output} <= {"message", "function_call", "custom_tool_call"}


@given(RUNS)
def test_every_call_that_open_webui_is_shown_has_an_output(events: list[Event]) -> None:
    stream = play_response(events, Look("think_tags", "rich"), TOOLS, ECHO)
    own = [item for item in stream.output if item.get("call_id", "").startswith(OWN_CALL)]
    called = [item["call_id"] for item in own if item["type"] == "function_call"]

    assert sorted(called) == sorted(item["call_id"] for item in own if item["type"] == "function_call_output")


@given(RUNS)
def test_calls_that_need_approval_are_items_or_words(events: list[Event]) -> None:
    asked = play_response(events, Look("think_tags", "thoughts", "items"), TOOLS, ECHO)
    words = play_response(events, Look("think_tags", "thoughts"), TOOLS, ECHO)

    kinds = [item["type"] for item in asked.output]
    assert "mcp_approval_request" not in [item["type"] for item in words.output]
    assert not any("May I do this" in text for text in asked.texts)
    if "mcp_approval_request" in kinds:
        assert any("May I do this" in text for text in words.texts)
