"""What holds for cards and status lines, whatever the events."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.events import CallRefused, Event, ToolCalled, ToolReturned
from gateway.domain.look import Reasoning
from gateway.frontends.open_webui.frames import StatusFrame
from gateway.wires.chat_completions.response import frame
from gateway.wires.chat_completions.think_tags import restore
from tests.frontends.open_webui.cards import part
from tests.wires.oracle import check_stream, machine_for, play, played
from tests.wires.strategies import ANY, CALLS, MODES, REFUSALS, RETURNS

TOOLS = st.lists(st.one_of(CALLS, REFUSALS, RETURNS), max_size=12)


@given(st.one_of(ANY, TOOLS), MODES, st.booleans())
def test_any_events_make_whole_items_that_say_what_others_are_told_without_tools(
    events: list[Event], mode: Reasoning, include_usage: bool
) -> None:
    parted = part(play(events, mode, include_usage, "rich"))
    chunks = check_stream(parted.frames, include_usage=include_usage)
    others = played(events, "hidden" if mode == "hidden" else "think_tags", include_usage, "hidden")

    # Texts may hold what restoring takes out.
    told = restore("".join(parted.texts)), [*map(restore, parted.thoughts)]
    assert told == (restore(others.visible), [*map(restore, others.thoughts)])
    assert (chunks.finish_reason, chunks.usage, chunks.error) == (others.finish_reason, others.usage, others.error)
    assert (chunks.content, chunks.reasoning, chunks.calls) == ("", "", others.calls)


def _follow(event: Event, running: dict[str, str]) -> list[str]:
    """Keep which calls run after `event`; gives those that it ends."""
    if isinstance(event, ToolCalled | CallRefused) and event.call.name:
        running.setdefault(event.call.id, event.call.name)
    if isinstance(event, ToolReturned) and event.call_id in running:
        return [running.pop(event.call_id)]
    return []


@given(TOOLS)
def test_the_last_status_line_is_done_unless_a_tool_runs(events: list[Event]) -> None:
    machine = machine_for(tools="rich")
    running: dict[str, str] = {}
    last = b'"done":true'
    for event in events:
        for told in machine.receive(event):
            last = frame(told) if isinstance(told, StatusFrame) else last
        _follow(event, running)

        assert bool(running) == (b'"done":false' in last)


@given(TOOLS)
def test_every_call_has_its_card_in_the_order_of_the_returns(events: list[Event]) -> None:
    running: dict[str, str] = {}
    ended = [name for event in events for name in _follow(event, running)]

    assert [card.name for card in part(play(events, tools="rich")).cards] == [*ended, *running.values()]
