"""Rules that the stream of any events whatever obeys."""

from collections.abc import Sequence
from typing import cast

from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from gateway.domain import errors as letta
from gateway.domain.errors import UpstreamError
from gateway.domain.events import Event, Text, Thought, ToolCalled
from gateway.domain.look import Look, Reasoning
from gateway.http.answers.answering import Answer
from gateway.http.record import Record
from gateway.turns.runs.log import Reader, Told
from gateway.wires.chat_completions.response import DONE_FRAME, frame, to_completion
from gateway.wires.chat_completions.think_tags import restore
from gateway.wires.envelope import UpstreamFailure, to_response
from gateway.wires.narrator import Narrator
from tests import events as e
from tests.wires.oracle import check_stream, check_tags, chunks_of, encoder, machine_for, play, played
from tests.wires.strategies import ANY, MODES, PLAIN_TEXTS, TEXTS, good_runs, said


@given(ANY, MODES, st.booleans())
def test_any_events_make_a_well_formed_stream(events: list[Event], mode: Reasoning, include_usage: bool) -> None:
    stream = check_stream(play(events, mode, include_usage), include_usage=include_usage)

    check_tags(stream, mode)


@given(ANY)
def test_hidden_thoughts_are_told_nowhere(events: list[Event]) -> None:
    stream = played(events, "hidden")
    spoken = [event for event in events if not isinstance(event, Thought | ToolCalled)]

    assert not stream.reasoning
    assert stream == played(spoken, "hidden")


@given(good_runs, MODES)
def test_the_whole_answer_is_what_the_stream_adds_up_to(events: list[Event], mode: Reasoning) -> None:
    chunks = chunks_of(machine_for(mode, include_usage=True), events)
    whole = to_completion(chunks)
    stream = check_stream(b"".join(map(frame, chunks)) + DONE_FRAME, include_usage=True)

    message = whole.choices[0].message
    assert (message.content, message.reasoning_content or "") == (stream.content, stream.reasoning)
    assert whole.choices[0].finish_reason == stream.finish_reason
    assert (whole.usage is UNSET) == (stream.usage is None)


def _split(event: Event, at: int) -> list[Event]:
    """A text event as two; any other as it is."""
    if isinstance(event, Thought):
        return [Thought(event.text[:at], event.step), Thought(event.text[at:], event.step)]
    if isinstance(event, Text):
        return [Text(event.text[:at], event.step), Text(event.text[at:], event.step)]
    return [event]


def _merged(events: list[Event]) -> list[Event]:
    """Adjacent text events of one type and step as one."""
    merged: list[Event] = []
    for event in events:
        last = merged[-1] if merged else None
        if isinstance(event, Thought) and isinstance(last, Thought) and last.step == event.step:
            merged[-1] = Thought(last.text + event.text, event.step)
        elif isinstance(event, Text) and isinstance(last, Text) and last.step == event.step:
            merged[-1] = Text(last.text + event.text, event.step)
        else:
            merged.append(event)
    return merged


def _told(events: list[Event], mode: Reasoning) -> tuple[str, str, str | None, object]:
    stream = played(events, mode)
    return stream.content, stream.reasoning, stream.finish_reason, stream.error


@given(ANY, MODES, st.data())
def test_splitting_text_events_changes_no_text(events: list[Event], mode: Reasoning, data: st.DataObject) -> None:
    cuts = [data.draw(st.integers(0, 6)) for _ in events]
    pieces = [piece for event, cut in zip(events, cuts, strict=True) for piece in _split(event, cut)]

    assert _told(pieces, mode) == _told(events, mode)


@given(ANY, MODES)
def test_merging_text_events_changes_no_text(events: list[Event], mode: Reasoning) -> None:
    assert _told(_merged(events), mode) == _told(events, mode)


@given(said(PLAIN_TEXTS), MODES)
def test_what_was_said_can_be_restored(events: list[Event], mode: Reasoning) -> None:
    stream = played([*events, e.stop()], mode)

    assert restore(stream.visible) == "".join(e.text for e in events if isinstance(e, Text))


@given(said(PLAIN_TEXTS))
def test_the_thoughts_of_each_block_can_be_restored(events: list[Event]) -> None:
    quiet = [event for event in events if not isinstance(event, ToolCalled)]
    stream = played([*quiet, e.stop()])

    assert [restore(thought) for thought in stream.thoughts] == _blocks(quiet)


def _blocks(events: Sequence[Event]) -> list[str]:
    """The thoughts that belong together: of one step, with nothing of the answer between them."""
    blocks: list[str] = []
    step: str | None = None
    for event in events:
        if isinstance(event, Text) and event.text:
            step = None
        elif isinstance(event, Thought) and event.text:
            if event.step != step:
                blocks.append("")
            blocks[-1] += event.text
            step = event.step
    return blocks


@given(said(PLAIN_TEXTS))
def test_every_thought_and_tool_is_told_in_reasoning_content(events: list[Event]) -> None:
    lines = restore(played([*events, e.stop()], "reasoning_content").reasoning).replace("\n", "")
    spoken = [event for event in events if isinstance(event, Thought | ToolCalled)]
    names = {call.id: call.name for call in e.calls_of(spoken) if call.name}

    assert all(event.text.replace("\n", "") in lines for event in spoken if isinstance(event, Thought))
    assert all(f"Using {name}…" in lines for name in names.values())


class _Reads:
    """A run whose events come in reads of several, and that may break at its end."""

    def __init__(self, reads: list[list[Event]], failure: UpstreamError | None) -> None:
        self._reads = [*reads]
        self._failure = failure

    def take(self) -> Told | None:
        if self._reads:
            return Told(self._reads.pop(0), ())
        if self._failure:
            raise self._failure
        return None


def _answered(run: _Reads, mode: Reasoning, include_usage: bool) -> bytes:
    """The frames of an answer, read to its end as a response does."""
    narrator = Narrator(Look(mode, "thoughts"), awaits_usage=include_usage)
    answer = Answer(cast(Reader, run), narrator, encoder(mode, include_usage), Record("req_1"))
    frames, more = b"", True
    while more:
        news, more = answer.take_frames_or_failure()
        frames += news
    return frames


FAULTS = st.sampled_from([None, letta.BrokenStream("cut"), letta.TimedOut("silent"), letta.Stopped("shutting down")])


@given(st.lists(ANY, max_size=4), FAULTS, MODES, st.booleans())
def test_any_reads_and_any_fault_make_a_well_formed_answer(
    reads: list[list[Event]], fault: UpstreamError | None, mode: Reasoning, include_usage: bool
) -> None:
    frames = _answered(_Reads(reads, fault), mode, include_usage)
    stream = check_stream(frames, include_usage=include_usage)

    check_tags(stream, mode)


@given(st.lists(said(TEXTS), max_size=4), FAULTS.filter(bool), MODES)
def test_a_fault_before_the_finish_reason_is_told_after_what_was_said(
    reads: list[list[Event]], fault: UpstreamError, mode: Reasoning
) -> None:
    stream = check_stream(_answered(_Reads(reads, fault), mode, False))
    whole = played([event for read in reads for event in read], mode)

    assert stream.error == check_stream(frame(to_response(UpstreamFailure(fault))) + DONE_FRAME).error
    assert (stream.content, stream.reasoning) == (whole.content, whole.reasoning)


@given(good_runs, st.integers(1, 5), MODES)
def test_the_size_of_the_reads_changes_nothing(events: list[Event], size: int, mode: Reasoning) -> None:
    reads = [events[start : start + size] for start in range(0, len(events), size)]
    stream = check_stream(_answered(_Reads(reads, None), mode, False))

    assert stream == played(events, mode)
