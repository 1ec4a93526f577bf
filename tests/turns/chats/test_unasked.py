"""An agent that speaks first, since a client's system text has it do so: the chat goes on where it has spoken."""

import pytest

from gateway.letta.notes import GO_AHEAD
from gateway.turns.runs.registry import Runs
from tests.events import answer, ping, stop
from tests.turns.calling import Json, assistant, last, request, result, user, waits, where
from tests.turns.memory_letta import MemoryLetta, Step
from tests.turns.turns import play, runs_for

pytestmark = pytest.mark.anyio
SYSTEM: Json = {"role": "system", "content": "Greet them."}
CHATS = pytest.mark.parametrize("chat", ["chat", None], ids=["with an id", "without"])


def says(text: str) -> list[Step]:
    return [[ping()], [answer(text)], [stop()]]


def sent(letta: MemoryLetta) -> list[str]:
    return [message.content for message in last(letta).messages]


@pytest.fixture(params=[False, True], ids=["", "restarted"])
def restarts(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


class Gateway:
    """One for all requests, or another for each."""

    def __init__(self, letta: MemoryLetta, restarts: bool) -> None:
        self._letta = letta
        self._restarts = restarts
        self._runs = runs_for(letta)

    async def ask(self, script: list[Step], *messages: Json, chat: str | None) -> None:
        runs: Runs = runs_for(self._letta) if self._restarts else self._runs
        self._letta.scripts = [script]
        await play(runs, request(*messages, chat=chat))


@CHATS
async def test_the_chat_goes_on_in_the_conversation_in_which_its_agent_spoke_first(
    either: MemoryLetta, restarts: bool, chat: str | None
) -> None:
    gateway = Gateway(either, restarts)
    await gateway.ask(says("Welcome!"), SYSTEM, chat=chat)
    assert sent(either) == [GO_AHEAD]
    greeted = [SYSTEM, assistant("Welcome!"), user("Hi")]
    await gateway.ask(says("Hello"), *greeted, chat=chat)
    assert sent(either) == ["Hi"]
    await gateway.ask(says("Well"), *greeted, assistant("Hello"), user("More"), chat=chat)

    assert sent(either) == ["More"]
    assert len(set(where(either))) == 1


@CHATS
async def test_so_it_does_where_the_agent_called_a_tool_before_it_spoke(
    either: MemoryLetta, restarts: bool, chat: str | None
) -> None:
    gateway = Gateway(either, restarts and not either.store.forks)
    called = assistant(None, c1="weather")
    await gateway.ask([*waits("weather")], SYSTEM, chat=chat)
    await gateway.ask(says("Welcome!"), SYSTEM, called, result("c1"), chat=chat)
    assert (sent(either), len(last(either).results)) == ([], 1)
    await gateway.ask(says("Hello"), SYSTEM, called, result("c1"), assistant("Welcome!"), user("Hi"), chat=chat)

    assert sent(either) == ["Hi"]
    assert len(set(where(either))) == 1


@CHATS
async def test_so_it_does_where_the_agent_speaks_unasked_later(
    either: MemoryLetta, restarts: bool, chat: str | None
) -> None:
    gateway = Gateway(either, restarts)
    begun = [user("Hi"), assistant("Hello")]
    await gateway.ask(says("Hello"), *begun[:1], chat=chat)
    await gateway.ask(says("Still there?"), *begun, SYSTEM, chat=chat)
    assert sent(either) == [GO_AHEAD]
    await gateway.ask(says("Well"), *begun, assistant("Still there?"), user("Yes"), chat=chat)

    assert sent(either) == ["Yes"]
    assert len(set(where(either))) == 1


async def test_each_chat_without_an_id_in_which_the_agent_speaks_first_is_one_of_its_own(either: MemoryLetta) -> None:
    gateway = Gateway(either, restarts=False)
    await gateway.ask(says("Welcome!"), SYSTEM, chat=None)
    await gateway.ask(says("Good evening!"), SYSTEM, chat=None)
    await gateway.ask(says("Hello"), SYSTEM, assistant("Welcome!"), user("Hi"), chat=None)
    await gateway.ask(says("Hello"), SYSTEM, assistant("Good evening!"), user("Hi"), chat=None)

    first, second, *after = where(either)
    assert after == [first, second] != [first, first]
