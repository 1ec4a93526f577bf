"""What Open WebUI is told of texts, thoughts and tools, by example; and what others are told of the same runs."""

import json

import pytest

from gateway.domain import errors
from gateway.domain.events import MAX_SHOWN, Event, Remark
from gateway.domain.look import Reasoning, ToolActivity
from gateway.wires.chat_completions.response import frame
from gateway.wires.chat_completions.think_tags import restore
from gateway.wires.envelope import UpstreamFailure, to_response
from tests import events as e
from tests.frontends.open_webui.cards import part
from tests.wires.oracle import check_stream, check_tags, machine_for, play, played

SEARCH = [e.tool_call("web_search"), e.tool_call(None, arguments='{"q":'), e.tool_call(None, arguments=' "tea"}')]
TWO = e.tool_calls("one", "two")
TAGGED = [
    "<think>",
    "</think>",
    "`<think>`",
    "<thinking>hm</thinking>",
    "<reason>",
    "<|begin_of_solution|>",
    "a < b",
    "<",
]

# events -> all that Open WebUI is told, in order
RICH: dict[str, tuple[list[Event], list[str]]] = {
    "a tool": (
        [*SEARCH, e.tool_return(), e.answer("Tea."), e.stop()],
        ["(Using web_search…)", "(Used web_search.)", '[web_search {"q": "tea"} gave found]', "Tea.", "= stop"],
    ),
    "thoughts, a tool, thoughts, an answer": (
        [
            *(e.reasoning("Hm.", "s1"), e.tool_call("x", step="s1", arguments="{}"), e.tool_return("s1")),
            *(e.reasoning("So.", "s2"), e.answer("Yes.", "s2"), e.stop()),
        ],
        [
            *("<think>", "Hm.", "(Using x…)", "</think>", "(Used x.)", "[x {} gave found]"),
            *("<think>", "So.", "</think>", "Yes.", "= stop"),
        ],
    ),
    "thoughts while the tool runs": (
        [e.reasoning("a"), e.tool_call("x"), e.reasoning("b"), e.tool_return(), e.reasoning("c"), e.stop()],
        [
            *("<think>", "a", "(Using x…)", "b", "</think>", "(Used x.)", "[x  gave found]"),
            *("<think>", "c", "</think>", "= stop"),
        ],
    ),
    "a tool after the answer began": (
        [e.answer("Wait. "), e.tool_call("x"), e.tool_return(), e.answer("Done."), e.stop()],
        ["Wait. ", "(Using x…)", "(Used x.)", "[x  gave found]", "Done.", "= stop"],
    ),
    "what may be a tag before a tool": (
        [e.answer("a <"), e.tool_call("x"), e.tool_return(), e.answer("think>"), e.stop()],
        ["a <", "(Using x…)", "(Used x.)", "[x  gave found]", "think>", "= stop"],
    ),
    "what may be a tag in the thoughts before a tool": (
        [e.reasoning("a <"), e.tool_call("x"), e.tool_return(), e.stop()],
        ["<think>", "a <", "(Using x…)", "</think>", "(Used x.)", "[x  gave found]", "= stop"],
    ),
    "a tool that fails": (
        [e.tool_call("x"), e.tool_return(content="No such page.", status="error"), e.answer("Sorry."), e.stop()],
        ["(Using x…)", "(x failed.)", "[x  failed No such page.]", "Sorry.", "= stop"],
    ),
    "a tool that says nothing": (
        [e.tool_call("x"), e.tool_return(content=None), e.stop()],
        ["(Using x…)", "(Used x.)", "[x  gave ]", "= stop"],
    ),
    "a return in parts": (
        [e.tool_call("x"), e.tool_return(content=[{"type": "text", "text": "a"}, {"text": "b"}]), e.stop()],
        ["(Using x…)", "(Used x.)", "[x  gave ab]", "= stop"],
    ),
    "two tools at once": (
        [*TWO, e.tool_return(call_id="call-0"), e.tool_return(call_id="call-1", content="too"), e.stop()],
        [
            *("(Using one…)", "(Using two…)", "(Used one.)", "[one {} gave found]"),
            *("(Using two…)", "(Used two.)", "[two {} gave too]", "= stop"),
        ],
    ),
    "two tools of which the second is done first": (
        [*TWO, e.tool_return(call_id="call-1"), e.tool_return(call_id="call-0"), e.stop()],
        [
            *("(Using one…)", "(Using two…)", "(Used two.)", "[two {} gave found]"),
            *("(Using one…)", "(Used one.)", "[one {} gave found]", "= stop"),
        ],
    ),
    "two tools whose returns come in one event": (
        [
            *TWO,
            e.tool_return(call_id="call-0", content="a"),
            e.tool_return(call_id="call-1", content="b", status="error"),
            e.stop(),
        ],
        [
            *("(Using one…)", "(Using two…)", "(Used one.)", "[one {} gave a]"),
            *("(Using two…)", "(two failed.)", "[two {} failed b]", "= stop"),
        ],
    ),
    "two tools whose arguments come mixed": (
        [
            *(e.tool_call("one", "c1", arguments="{"), e.tool_call("two", "c2", arguments="[")),
            *(e.tool_call(None, "c1", arguments="}"), e.tool_call(None, "c2", arguments="]")),
            *(e.tool_return(call_id="c1"), e.tool_return(call_id="c2"), e.stop()),
        ],
        [
            *("(Using one…)", "(Using two…)", "(Used one.)", "[one {} gave found]"),
            *("(Using two…)", "(Used two.)", "[two [] gave found]", "= stop"),
        ],
    ),
    "a call whose pieces all name it": (
        [e.tool_call("x", arguments="{"), e.tool_call("x", arguments="}"), e.tool_return(), e.stop()],
        ["(Using x…)", "(Used x.)", "[x {} gave found]", "= stop"],
    ),
    "a call without an id": (
        [e.tool_call("x", None), e.tool_call(None, None, arguments="{}"), e.tool_return(call_id=None), e.stop()],
        ["(Using x…)", "(Used x.)", "[x {} gave found]", "= stop"],
    ),
    "an id that is used again": (
        [e.tool_call("x"), e.tool_return(), e.tool_call("x"), e.tool_return(content="more"), e.stop()],
        ["(Using x…)", "(Used x.)", "[x  gave found]", "(Using x…)", "(Used x.)", "[x  gave more]", "= stop"],
    ),
    "a tool of the memory": (
        [e.tool_call("memory_insert", arguments="{}"), e.tool_return(content="Done."), e.stop()],
        ["(Using memory_insert…)", "(Used memory_insert.)", "[memory_insert {} gave Done.]", "= stop"],
    ),
    "a tool that is not allowed": (
        [e.refused("Bash"), e.tool_return(content="Denied.", status="error"), e.answer("I may not."), e.stop()],
        [
            *("(Bash is not allowed here: nothing was done.)", "(Bash is not allowed here: nothing was done.)"),
            *("[Bash {} failed Denied.]", "I may not.", "= stop"),
        ],
    ),
    "a line that is about no tool stays in the thoughts": (
        [e.reasoning("a"), Remark("The model's provider failed.", "step-1"), e.error()],
        ["<think>", "a", "\nThe model's provider failed.\n", "</think>", "! model_error"],
    ),
    "a return that nothing called": ([e.tool_return(), e.answer("a"), e.stop()], ["a", "= stop"]),
    "arguments that nothing called": ([e.tool_call(None, arguments="{}"), e.answer("a"), e.stop()], ["a", "= stop"]),
    "a return of no shape": (
        [e.tool_call("x"), e.unknown(), e.tool_return(), e.stop()],
        ["(Using x…)", "(Used x.)", "[x  gave found]", "= stop"],
    ),
    "a call without a return": (
        [e.reasoning("a"), *SEARCH, e.answer("b"), e.stop()],
        [
            *("<think>", "a", "(Using web_search…)", "</think>", "b", "(web_search failed.)"),
            *('[web_search {"q": "tea"} failed Nothing came back.]', "= stop"),
        ],
    ),
    "the limit of steps within a tool": (
        [e.tool_call("x"), e.stop("max_steps")],
        ["(Using x…)", "(x failed.)", "[x  failed Nothing came back.]", "= length"],
    ),
    "a run that fails within a tool": (
        [e.reasoning("a"), e.tool_call("x", arguments="{}"), e.stop("error"), e.error()],
        [
            *("<think>", "a", "(Using x…)", "</think>", "(x failed.)", "[x {} failed Nothing came back.]"),
            "! model_error",
        ],
    ),
    "a run that fails within two tools": (
        [*TWO, e.error()],
        [
            *("(Using one…)", "(Using two…)", "(one failed.)", "[one {} failed Nothing came back.]"),
            *("(two failed.)", "[two {} failed Nothing came back.]", "! model_error"),
        ],
    ),
    "a run that fails after a tool": (
        [e.tool_call("x"), e.tool_return(), e.error()],
        ["(Using x…)", "(Used x.)", "[x  gave found]", "! model_error"],
    ),
    "a run that is cancelled within a tool": (
        [e.tool_call("x"), e.stop("cancelled"), e.tool_return()],
        ["(Using x…)", "(x failed.)", "[x  failed Nothing came back.]", "! run_cancelled"],
    ),
    "a run that breaks off within a tool": (
        [e.tool_call("x")],
        ["(Using x…)", "(x failed.)", "[x  failed Nothing came back.]", "! upstream_broken"],
    ),
    "a reason to stop that nobody knows within a tool": (
        [e.tool_call("x"), e.stop("tired")],
        ["(Using x…)", "(x failed.)", "[x  failed Nothing came back.]", "! upstream_error"],
    ),
    "a call after the end": ([e.answer("a"), e.stop(), e.tool_call("x"), e.tool_return()], ["a", "= stop"]),
}


@pytest.mark.parametrize(("events", "timeline"), RICH.values(), ids=RICH)
def test_open_webui_is_told_of_tools_in_its_own_words(events: list[Event], timeline: list[str]) -> None:
    parted = part(play(events, tools="rich"))

    assert parted.timeline == timeline
    assert check_stream(parted.frames).content == ""


@pytest.mark.parametrize("reasoning", ["think_tags", "reasoning_content", "hidden"])
@pytest.mark.parametrize("events", [events for events, _ in RICH.values()], ids=RICH)
def test_open_webui_is_told_what_others_are_where_tools_are_hidden(events: list[Event], reasoning: Reasoning) -> None:
    parted = part(play(events, reasoning, tools="rich"))
    others = played(events, "hidden" if reasoning == "hidden" else "think_tags", tools="hidden")

    assert ("".join(parted.texts), parted.thoughts) == (restore(others.visible), [*map(restore, others.thoughts)])


@pytest.mark.parametrize("text", TAGGED)
def test_open_webui_is_told_texts_that_look_like_tags_to_the_letter(text: str) -> None:
    pieces = [*text]
    events = [*(e.reasoning(piece) for piece in pieces), *(e.answer(piece) for piece in pieces), e.stop()]
    parted = part(play(events, tools="rich"))

    assert (parted.thoughts, parted.texts) == ([text], [text])


def test_a_question_to_open_webui_stands_in_the_item_of_what_was_said_before() -> None:
    events = [e.answer("Let me see."), e.approval_request("Bash", arguments="{}"), e.stop("requires_approval")]
    parted = part(play([*events, e.usage()], include_usage=True, tools="rich"))

    (text,) = parted.texts
    assert text.startswith("Let me see.\n\n**May I do this?**")
    assert check_stream(parted.frames, include_usage=True).usage


def test_open_webui_is_told_how_long_each_thought_took() -> None:
    def durations(seconds: list[float]) -> list[int]:
        clock = iter(seconds)
        machine = machine_for(tools="rich", clock=lambda: next(clock))
        events = [e.reasoning("a", "s1"), e.reasoning("b", "s2"), e.answer("c", "s2"), e.stop()]
        told = [json.loads(frame(one)[6:]) for event in events for one in machine.receive(event)]
        return [one["item"]["duration"] for one in told if "duration" in one.get("item", {})]

    assert durations([10.0, 13.9, 14.0, 14.5, 20.0]) == [3, 0]


@pytest.mark.parametrize("tools", ["thoughts", "hidden"])
@pytest.mark.parametrize("events", [events for events, _ in RICH.values()], ids=RICH)
def test_where_tools_are_not_rich_every_frame_is_a_chunk(events: list[Event], tools: ToolActivity) -> None:
    assert part(play(events, tools=tools)).lines == []
    check_tags(played(events, tools=tools))


def test_a_card_of_megabytes_is_shortened() -> None:
    long = "x" * 5_000_000
    stream = play([e.tool_call("x", arguments=long), e.tool_return(content=long), e.stop()], tools="rich")
    (card,) = part(stream).cards

    assert card.arguments == card.output == "x" * MAX_SHOWN + "… [shortened: 5000000 characters]"
    assert len(stream) < 3 * MAX_SHOWN


def test_cards_of_two_answers_have_ids_of_their_own() -> None:
    def ids(completion: str) -> set[str]:
        machine = machine_for(tools="rich", id=completion)
        machine.receive(e.tool_call("x"))
        told = [json.loads(frame(one)[6:]) for one in machine.receive(e.tool_return())]
        return {one["item"][name] for one in told if "item" in one for name in ("id", "call_id")}

    assert len(ids("chatcmpl-1")) == len(ids("chatcmpl-2")) == 3
    assert not ids("chatcmpl-1") & ids("chatcmpl-2")


def test_a_run_that_is_stopped_from_this_side_leaves_no_call_open() -> None:
    machine = machine_for(tools="rich")
    frames = [*map(frame, machine.receive(e.tool_call("x"))), *map(frame, machine.receive_error())]
    frames.append(frame(to_response(UpstreamFailure(errors.Stopped("shutting down")))))

    assert part(b"".join(frames)).timeline == [
        *("(Using x…)", "(x failed.)", "[x  failed Nothing came back.]", "! run_cancelled"),
    ]
    assert machine.receive_error() == []
