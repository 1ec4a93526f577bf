"""Calls of `strict` functions: told where their arguments match, asked for once more where not, refused then."""

from collections.abc import Sequence

import pytest

from gateway.domain.errors import InvalidModelOutput
from gateway.domain.events import CallWaits, Event, Stop, StopReason
from gateway.domain.request import ClientTool, ClientTools
from gateway.turns.runs.registry import Runs
from tests.events import answer, approval_request, calls_of, ping, reasoning, stop, stops_of, usage
from tests.turns.memory_letta import MemoryLetta, Step
from tests.turns.turns import play, read, runs_for, spoken, turn

pytestmark = pytest.mark.anyio

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
STRICT = ClientTools((ClientTool("weather", parameters=SCHEMA, strict=True), ClientTool("clock")))
LOOSE = ClientTools((ClientTool("weather", parameters=SCHEMA), ClientTool("clock")))
OSLO = '{"city": "Oslo"}'
# What is not as the schema says: by its value, its names, its form.
WRONG = {"another type": '{"city": 7}', "nothing": "", "another name": '{"town": "Oslo"}', "no JSON": '{"city": "Os'}


def calls(arguments: str, name: str = "weather", id: str = "c1") -> Sequence[Step]:
    """A run that calls in pieces and waits."""
    half = len(arguments) // 2
    pieces = [approval_request(None, id, arguments=piece) for piece in (arguments[:half], arguments[half:])]
    return [[ping()], [reasoning("Hm.")], [approval_request(name, id)], pieces, [stop("requires_approval"), usage()]]


@pytest.fixture
def letta() -> MemoryLetta:
    return MemoryLetta()


@pytest.fixture
def runs(letta: MemoryLetta) -> Runs:
    return runs_for(letta)


def told(events: Sequence[Event]) -> str:
    return "".join(call.arguments for call in calls_of(events))


async def test_calls_that_match_are_told_as_they_came_before_the_stop(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [calls(OSLO)]
    events = await play(runs, turn("Hi", tools=STRICT))

    assert told(events) == OSLO
    assert [type(event) for event in events if isinstance(event, CallWaits | Stop)] == [*[CallWaits] * 3, Stop]
    assert letta.count("run") == 1


@pytest.mark.parametrize("arguments", WRONG.values(), ids=WRONG)
async def test_of_calls_that_do_not_match_the_agent_hears_why_and_goes_on(
    letta: MemoryLetta, runs: Runs, arguments: str
) -> None:
    letta.scripts = [calls(arguments), calls(OSLO, id="c2")]
    events = await play(runs, turn("Hi", tools=STRICT))

    assert told(events) == OSLO
    assert {call.id for call in calls_of(events)} == {"c2"}
    assert stops_of(events) == [StopReason.WAITING]
    (_, first), (_, second) = letta.sent
    assert (first.denied, second.denied, second.messages) == ((), ("c1",), [])
    assert "`weather` do not match its JSON Schema" in second.reason


async def test_the_agent_may_answer_in_words_instead(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [calls("{}"), [[answer("I do not know where.")], [stop(), usage()]]]
    events = await play(runs, turn("Hi", tools=STRICT))

    assert (spoken(events), told(events)) == ("I do not know where.", "")


async def test_calls_that_do_not_match_twice_fail_the_request_and_the_chat_goes_on(
    letta: MemoryLetta, runs: Runs
) -> None:
    letta.scripts = [calls("{}"), calls("[]", id="c2")]
    reader = runs.start(turn("Hi", tools=STRICT))
    with pytest.raises(InvalidModelOutput):
        await read(reader)
    assert letta.count("run") == 2

    assert spoken(await play(runs, turn("Hi", "More", roles="uu"))) == "Hello"


async def test_one_call_that_does_not_match_keeps_back_those_beside_it(letta: MemoryLetta, runs: Runs) -> None:
    clock = [approval_request("clock", "c2", arguments="{}")]
    letta.scripts = [[clock, *calls("{}")], calls(OSLO, id="c3")]
    events = await play(runs, turn("Hi", tools=STRICT))

    assert {call.id for call in calls_of(events)} == {"c3"}
    assert sorted(letta.sent[1][1].denied) == ["c1", "c2"]


async def test_what_a_function_that_is_not_strict_is_called_with_is_not_looked_at(
    letta: MemoryLetta, runs: Runs
) -> None:
    letta.scripts = [calls("{}"), calls('{"city": 7}')]
    events = await play(runs, turn("Hi", tools=LOOSE))

    assert (told(events), letta.count("run")) == ("{}", 1)
