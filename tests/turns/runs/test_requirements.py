"""What a request demands of its answer, where Letta does not see to it: told, checked, asked once more, refused."""

from collections.abc import Sequence

import pytest

from gateway.domain import errors
from gateway.domain.errors import InvalidModelOutput
from gateway.domain.events import CallWaits, Stop, StopReason, Text, TokensCounted
from gateway.domain.json_format import JsonFormat
from gateway.domain.request import ClientTool, ClientTools
from gateway.settings import Chats
from gateway.turns.runs.registry import Runs
from gateway.turns.runs.requirements import AGAIN
from tests.events import answer, approval_request, calls_of, ping, reasoning, stop, stops_of, usage
from tests.turns.memory_letta import MemoryLetta, Step
from tests.turns.store import Store
from tests.turns.turns import in_conversations, play, read, runs_for, spoken, turn

pytestmark = pytest.mark.anyio

SCHEMA = JsonFormat({"type": "object", "required": ["a"]})
TOOL = ClientTools((ClientTool("weather"),), required=True)
CALLED: Sequence[Step] = [
    [ping()],
    [reasoning("Hm.")],
    [approval_request("weather")],
    [stop("requires_approval"), usage()],
]


def says(text: str) -> Sequence[Step]:
    return [[ping()], [reasoning("Hm.")], [answer(text[:2]), answer(text[2:])], [stop(), usage()]]


@pytest.fixture
def letta() -> MemoryLetta:
    """One that cannot be told what an answer is to be."""
    return MemoryLetta(Store(forks=True))


@pytest.fixture
def runs(letta: MemoryLetta) -> Runs:
    return runs_for(letta)


async def test_json_is_told_whole_and_bare_once_it_is_known_to_be_right(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [says('```json\n{"a": 1}\n```')]
    events = await play(runs, turn("Hi", json=SCHEMA))

    assert [event.text for event in events if isinstance(event, Text)] == ['{"a": 1}']
    assert [type(event) for event in events][-2:] == [Text, Stop]
    assert "JSON Schema" in letta.store.received[-1].instructions


async def test_half_a_surrogate_pair_in_json_is_replaced(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [says(r'{"a": "\ud83d", "b": "\ud83d\ude00"}')]
    events = await play(runs, turn("Hi", json=SCHEMA))

    assert spoken(events) == r'{"a": "\ufffd", "b": "\ud83d\ude00"}'


async def test_what_is_not_as_demanded_is_asked_for_once_more_and_never_seen(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [says("Well, no."), says('{"a": 1}')]
    events = await play(runs, turn("Hi", json=SCHEMA))

    assert spoken(events) == '{"a": 1}'
    assert stops_of(events) == [StopReason.END]
    assert [event.total for event in events if isinstance(event, TokensCounted)] == [18, 18]
    assert [AGAIN in received.instructions for received in letta.store.received] == [False, True]
    # The model does not see the answer that was thrown away.
    assert [received.texts for received in letta.store.received] == [["Hi"], ["Hi"]]

    letta.scripts = []
    await play(runs, turn("Hi", '{"a": 1}', "More"))
    assert letta.store.received[-1].texts == ["Hi", '{"a": 1}', "More"]
    assert letta.store.received[-1].instructions == ""


async def test_after_two_tries_the_request_fails_and_the_chat_goes_on(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [says("No."), says("Never.")]
    reader = runs.start(turn("Hi", json=SCHEMA))
    with pytest.raises(InvalidModelOutput):
        await read(reader)
    assert letta.count("run") == 2

    assert spoken(await play(runs, turn("Hi", "More", roles="uu"))) == "Hello"


async def test_a_tool_that_must_be_called_may_be_spoken_before_and_is_told_as_it_comes(
    letta: MemoryLetta, runs: Runs
) -> None:
    letta.scripts = [[[ping()], [answer("Let me see.")], *CALLED[2:]]]
    events = await play(runs, turn("Hi", tools=TOOL))

    assert [type(event) for event in events][:3] == [Text, CallWaits, Stop]
    assert "`weather`" in letta.store.received[-1].instructions


async def test_an_answer_in_words_is_no_call(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [says("It is sunny."), CALLED]
    events = await play(runs, turn("Hi", tools=TOOL))

    assert (spoken(events), [call.name for call in calls_of(events)]) == ("", ["weather"])
    assert letta.count("run") == 2


async def test_a_call_is_no_json_and_need_not_be(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [CALLED]
    tools = ClientTools((ClientTool("weather"),))
    events = await play(runs, turn("Hi", json=SCHEMA, tools=tools))

    assert [call.name for call in calls_of(events)] == ["weather"]


async def test_a_run_that_fails_is_not_asked_for_again(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [[[ping()], [answer("{")], errors.BrokenStream("cut")]]
    reader = runs.start(turn("Hi", json=SCHEMA))
    with pytest.raises(errors.BrokenStream):
        await read(reader)
    assert in_conversations(letta).count("run") == 1


async def test_where_letta_sees_to_the_form_of_an_answer_it_streams() -> None:
    letta = MemoryLetta()
    letta.scripts = [says("No JSON.")]
    events = await play(runs_for(letta, Chats()), turn("Hi", json=SCHEMA))

    assert [event.text for event in events if isinstance(event, Text)] == ["No", " JSON."]
