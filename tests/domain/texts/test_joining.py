"""Texts that Letta cuts anywhere, in the middle of a character, too: they come out whole, each in its place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.events import CallWaits, Event, Remark, SignOfLife, Text, Thought, ToolCalled
from gateway.domain.texts.joining import Joiner
from tests import events as e

HIGH, LOW, ALONE = "\ud83d", "\ude00", "\ufffd"
# A text as (the type of its events, its words), in the order in which they are told.
Told = list[tuple[type[Event], str]]


def told(events: list[Event]) -> Told:
    return [(type(event), _words(event)) for event in events]


def _words(event: Event) -> str:
    match event:
        case Text(text) | Thought(text):
            return text
        case ToolCalled(call) | CallWaits(call):
            return call.arguments
        case _:
            return ""


def said(events: list[Event]) -> Told:
    """What is told of each text, one after the other; events without words left out."""
    texts: Told = []
    for kind, words in told(events):
        if texts and texts[-1][0] == kind:
            texts[-1] = (kind, texts[-1][1] + words)
        elif words:
            texts.append((kind, words))
    return texts


def joined(events: list[Event]) -> list[Event]:
    joiner = Joiner()
    return [*joiner.join(events), *joiner.end()]


def piece(arguments: str, call_id: str = "call-1") -> Event:
    return e.approval_request(None, call_id, arguments=arguments)


RUNS: dict[str, tuple[list[Event], Told]] = {
    "a pair over two pieces": ([e.answer(HIGH), e.answer(LOW)], [(Text, "😀")]),
    "a pair over two pieces with a ping between": ([e.answer(HIGH), e.ping(), e.answer(LOW)], [(Text, "😀")]),
    "a pair with an empty piece between": ([e.answer(HIGH), e.answer(""), e.answer(LOW)], [(Text, "😀")]),
    "a pair over two parts of one": (
        [e.answer([{"type": "text", "text": f"a{HIGH}"}, {"type": "text", "text": f"{LOW}b"}])],
        [(Text, "a😀b")],
    ),
    "thoughts": ([e.reasoning(f"a{HIGH}"), e.reasoning(f"{LOW}b")], [(Thought, "a😀b")]),
    "arguments": ([piece(f'"{HIGH}'), piece(f'{LOW}"')], [(CallWaits, '"😀"')]),
    "a half at the end": ([e.answer(f"a{HIGH}")], [(Text, f"a{ALONE}")]),
    "a half before its text goes on": ([e.answer(HIGH), e.answer("a")], [(Text, f"{ALONE}a")]),
    "a second half that nothing comes before": ([e.answer(LOW)], [(Text, ALONE)]),
    "a half before thoughts": (
        [e.answer(HIGH), e.reasoning(LOW), e.answer(LOW)],
        [(Text, ALONE), (Thought, ALONE), (Text, ALONE)],
    ),
    "a half before the next step": ([e.answer(HIGH), e.answer(LOW, "step-2")], [(Text, ALONE * 2)]),
}


@pytest.mark.parametrize(("events", "expected"), RUNS.values(), ids=RUNS)
def test_halves_of_one_text_are_put_together_and_others_replaced(events: list[Event], expected: Told) -> None:
    assert said([event for event in joined(events) if not isinstance(event, SignOfLife)]) == expected


@pytest.mark.parametrize(
    "end",
    [e.stop(), e.tool_return(), e.usage(), e.error(), e.refused("Bash"), Remark("It failed.")],
    ids=lambda event: type(event).__name__,
)
def test_what_is_held_is_told_before_what_ends_its_text(end: Event) -> None:
    events = Joiner().join([e.answer(f"a{HIGH}"), end])

    assert told(events[:2]) == [(Text, "a"), (Text, ALONE)]
    assert events[2:] == [end]


def test_arguments_of_several_calls_may_take_turns() -> None:
    events = joined([piece(HIGH, "call-1"), piece(HIGH, "call-2"), piece(LOW, "call-1"), piece(LOW, "call-2")])
    arguments = [(call.id, call.arguments) for call in e.calls_of(events) if call.arguments]

    assert arguments == [("call-1", "😀"), ("call-2", "😀")]


def test_a_half_that_arguments_end_with_is_a_piece_of_their_call() -> None:
    events = joined(e.tool_calls("a", "b", arguments=HIGH))

    assert events[:2] == e.tool_calls("a", "b", arguments="")
    assert events[2:] == [e.tool_call(None, "call-0", arguments=ALONE), e.tool_call(None, "call-1", arguments=ALONE)]


def test_what_nobody_reads_does_not_end_a_text() -> None:
    events = joined([e.answer(HIGH), e.unknown(), e.answer(LOW)])

    assert said([one for one in events if isinstance(one, Text)]) == [(Text, "😀")]


CHARACTERS = st.one_of(st.sampled_from(["😀", "a", HIGH, LOW]), st.characters())


@given(st.lists(CHARACTERS, max_size=12).map("".join), st.lists(st.integers(0, 24), max_size=8))
@pytest.mark.parametrize("made", [e.answer, e.reasoning, piece])
def test_any_text_comes_out_whole_wherever_its_utf_16_is_cut(made: object, text: str, cuts: list[int]) -> None:
    assert callable(made)
    units = text.encode("utf-16-le", "surrogatepass")
    at = sorted({0, len(units), *(2 * cut for cut in cuts if 2 * cut < len(units))})
    pieces = [units[a:b].decode("utf-16-le", "surrogatepass") for a, b in zip(at, at[1:], strict=False)]
    events = joined([made(one) for one in pieces])

    assert "".join(words for _, words in told(events)) == units.decode("utf-16-le", "replace")
    assert all(words.encode() for _, words in told(events) if words)
