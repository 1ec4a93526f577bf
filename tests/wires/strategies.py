"""Any events whatever, and runs as a Letta may have them."""

from typing import cast

from hypothesis import strategies as st

from gateway.domain.events import Event
from gateway.domain.look import Reasoning
from gateway.letta import error_words
from gateway.letta.error_words import STREAM_ERRORS
from tests import events as e

PIECES = ("<think>", "</think>", "<", "</", "<th", "think>", "/think>", "ink>", ">", "a", "b ", "\n", "ü", "\u200b")
TEXTS = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=4).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
)
PLAIN_TEXTS = TEXTS.map(lambda text: text.replace("\u200b", ""))
STEPS = st.sampled_from([None, "s1", "s2", "s3"])
CALL_IDS = st.sampled_from([None, "c1", "c2", "c3"])
NAMES = st.one_of(st.none(), st.sampled_from(["web_search", "memory_insert", "</think>", "<think>"]), TEXTS)
COUNTS = st.one_of(st.none(), st.integers(0, 10_000))
PARTS = st.lists(
    st.fixed_dictionaries({"type": st.sampled_from(["text", "image"])}, optional={"text": TEXTS}), max_size=3
)
GOOD_STOPS = ["end_turn", "tool_rule", "no_tool_call", "max_steps", "max_tokens_exceeded", "requires_approval"]
STOPS = st.sampled_from([*GOOD_STOPS, *error_words.FAILED_STOPS, "tired", ""])
MODES = st.sampled_from(cast(tuple[Reasoning, ...], ("think_tags", "reasoning_content", "hidden")))
NOISE = st.sampled_from([e.ping(), e.unknown(), e.tool_return()])

ANSWERS = st.builds(e.answer, st.one_of(TEXTS, PARTS, st.none()), STEPS)
THOUGHTS = st.builds(e.reasoning, st.one_of(TEXTS, st.none()), STEPS)
CALLS = st.one_of(
    st.builds(e.tool_call, NAMES, CALL_IDS, STEPS, st.one_of(st.none(), TEXTS)),
    st.builds(e.approval_request, NAMES, CALL_IDS, STEPS),
)
REFUSALS = st.builds(e.refused, st.sampled_from(["Bash", "</think>"]), CALL_IDS, STEPS)
RETURNS = st.builds(e.tool_return, STEPS, CALL_IDS, st.one_of(TEXTS, PARTS), st.sampled_from(["success", "error"]))
USAGES = st.builds(e.usage, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)
ERRORS = st.builds(e.error, st.one_of(st.none(), st.sampled_from([*STREAM_ERRORS, "internal_error"])), TEXTS)
ENDS = st.one_of(st.builds(e.stop, STOPS), ERRORS)
# Anything at all, in any order.
CHAOS = st.lists(st.one_of(ANSWERS, THOUGHTS, CALLS, REFUSALS, RETURNS, USAGES, NOISE, ENDS), max_size=12)


@st.composite
def one_step(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> list[Event]:
    """A step as a model makes it: thoughts, calls in pieces with their returns, text; all in one step."""
    step = f"s{draw(st.integers(1, 9))}"
    thoughts = [e.reasoning(text, step) for text in draw(st.lists(texts, max_size=3))]
    calls = [
        event
        for name in draw(st.lists(st.sampled_from(["web_search", "memory_insert"]), max_size=2))
        for event in (e.tool_call(name, f"{step}-{name}", step), e.tool_call(None, f"{step}-{name}", step, "{}"))
    ]
    answers = [e.answer(text, step) for text in draw(st.lists(texts, max_size=3))]
    return [*thoughts, *calls, *([e.tool_return(step)] if calls else []), *draw(st.lists(NOISE, max_size=1)), *answers]


def said(texts: st.SearchStrategy[str]) -> st.SearchStrategy[list[Event]]:
    """The events of several steps, without their end."""
    return st.lists(one_step(texts), max_size=4).map(lambda steps: [event for step in steps for event in step])


@st.composite
def runs(draw: st.DrawFn) -> list[Event]:
    """A run of several steps with an end, good or bad, and what may come after it."""
    return draw(said(TEXTS)) + draw(st.lists(USAGES, max_size=2)) + [draw(ENDS)] + draw(CHAOS)


good_runs = st.builds(
    lambda events, usages, reason: [*events, e.stop(reason), *usages],
    said(TEXTS),
    st.lists(USAGES, max_size=2),
    st.sampled_from(GOOD_STOPS),
)
ANY = st.one_of(CHAOS, runs(), good_runs)
