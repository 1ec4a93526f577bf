"""What a gateway says of itself when it starts and ends."""

import asyncio

import pytest

from gateway.commands.announcement import after, before, ended, left_out, listed, model_line, plain_address, waiting
from gateway.domain import errors
from gateway.settings import AgentType, Key, Letta, Provider, Secret, Server, Settings, Sharing
from tests.turns.memory_letta import MemoryLetta

pytestmark = pytest.mark.anyio

LETTA = AgentType(id="letta")
NAMED = AgentType(id="tutor", model="m/two")
SHARED = AgentType(id="ops", agent="agent-1")


def settings(*types: AgentType, letta: Letta | None = None, **more: object) -> Settings:
    return Settings(letta=letta or Letta(), agent_types=types or (LETTA,), **more)  # type: ignore[arg-type]


BEFORE = {
    "one of the gateway's own": (
        settings(letta=Letta(state="/srv/letta")),
        [
            "Letta: one of the gateway's own; agents and memory are kept in /srv/letta",
            "Models: the offline model, which can only repeat and remember (set OPENAI_API_KEY, ANTHROPIC_API_KEY, "
            "OPENROUTER_API_KEY, OLLAMA_BASE_URL or OPENAI_BASE_URL for a real one)",
        ],
    ),
    "with a provider": (
        settings(letta=Letta(state="/s"), provider=Provider(id="openai", api_key=Secret("sk-1"))),
        ["Letta: one of the gateway's own; agents and memory are kept in /s", "Models: of openai"],
    ),
    "with a provider at an address": (
        settings(letta=Letta(state="/s"), provider=Provider(id="ollama", base_url="http://me:sk-1@host:1/v1?k=sk-1")),
        [
            "Letta: one of the gateway's own; agents and memory are kept in /s",
            "Models: of ollama at http://host:1/v1",
        ],
    ),
    "an App Server": (
        settings(letta=Letta(base_url="ws://letta:4500", api_key=Secret("sk-1"))),
        ["Letta: an App Server at ws://letta:4500"],
    ),
    "a V1 server": (
        settings(NAMED, letta=Letta(base_url="https://me:sk-1@letta:8283")),
        ["Letta: a V1 server or Letta Cloud at https://letta:8283"],
    ),
    "one of several gateways": (
        settings(letta=Letta(base_url="ws://l:1"), shared=Sharing(url=Secret("rediss://me:sk-1@r:6380/2"), prefix="p")),
        [
            "Letta: an App Server at ws://l:1",
            "Shared: with all gateways that have the prefix `p` in the Redis at rediss://r:6380/2",
        ],
    ),
}


@pytest.mark.parametrize(("told", "lines"), BEFORE.values(), ids=BEFORE)
def test_it_says_which_letta_it_has_and_no_secret(told: Settings, lines: list[str]) -> None:
    assert [*before(told)] == lines


class Listing(MemoryLetta):
    """A Letta that lists these models; that does not answer, if there are none at all."""

    def __init__(self, models: list[str] | None) -> None:
        super().__init__()
        self.listed = models

    async def list_models(self) -> list[str]:
        if self.listed is None:
            raise errors.Unreachable("nobody")
        return self.listed


MORE = "another: --model HANDLE, or GATEWAY_MODEL; `check` lists them"
MODELS = {
    "the first of several": (settings(), ["m/one", "m/two"], f"Model: m/one, the first of 2 ({MORE})"),
    "the only one": (settings(), ["m/one"], f"Model: m/one, the first ({MORE})"),
    "none": (
        settings(),
        [],
        "Model: none, for Letta has no model: is a provider connected, and does it answer? (`check` tells)",
    ),
    "one that is named": (settings(NAMED), ["m/one", "m/two"], "Model: m/two"),
    "one that is named and not listed": (settings(NAMED), ["m/one"], "Model: m/two (Letta lists no m/two)"),
    "named and first": (settings(LETTA, NAMED), ["m/one"], f"Model: m/one, the first ({MORE}); and m/two"),
    "a shared agent's": (settings(SHARED), ["m/one"], ""),
    "of a Letta that does not answer": (settings(), None, "Model: not known yet, for Letta does not answer"),
    "a V1 server's, named": (settings(NAMED, letta=Letta(base_url="http://letta")), None, "Model: m/two"),
}


@pytest.mark.parametrize(("told", "models", "line"), MODELS.values(), ids=MODELS)
async def test_it_says_which_model_new_agents_have(told: Settings, models: list[str] | None, line: str) -> None:
    assert await model_line(told, Listing(models)) == line


async def test_a_letta_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(MemoryLetta):
        async def list_models(self) -> list[str]:
            await asyncio.Event().wait()
            return []

    monkeypatch.setattr("gateway.commands.announcement.LIST_SECONDS", 0.01)
    assert await model_line(settings(), Silent()) == "Model: not known yet, for Letta does not answer"


def test_it_says_where_it_serves_and_whom() -> None:
    keys = (Key(name="one", key=Secret("sk-1")), Key(name="two", key=Secret("sk-2")))
    with_keys = [*after(settings(keys=keys, server=Server(chat_page=True)), "http://h:1")]
    without = [*after(settings(LETTA, NAMED), "http://h:1")]

    assert with_keys == [
        "Agent types: letta",
        "Keys: one, two",
        "Page to chat on: http://h:1/",
        "Serving at http://h:1/v1 (Ctrl+C ends it)",
    ]
    assert without == [
        "Agent types: letta, tutor",
        "Keys: none, so it answers this machine only",
        "Page to chat on: none (--chat-page adds one); http://h:1/ says how to connect",
        "Serving at http://h:1/v1 (Ctrl+C ends it)",
    ]


AT_ONCE = "(Ctrl+C, or a second SIGTERM, ends it at once)"


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (0, "Ending."),
        (1, f"Ending: nothing new is taken. An answer is under way, and has 5 s to come to an end {AT_ONCE}."),
        (2, f"Ending: nothing new is taken. 2 answers are under way, and have 5 s to come to an end {AT_ONCE}."),
    ],
)
def test_it_says_what_it_waits_for(answers: int, words: str) -> None:
    assert waiting(answers, 5.0) == words


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (1, "Ending: an answer was still under way, and is ended with an error."),
        (2, "Ending: 2 answers were still under way, and are ended with an error."),
    ],
)
def test_it_says_what_it_has_not_waited_for(answers: int, words: str) -> None:
    assert ended(answers) == words


def test_a_line_lists_so_many_names_and_how_many_more_there_are() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed([str(number) for number in range(20)]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 8 more"


def test_an_address_is_shown_without_what_may_be_a_secret() -> None:
    assert plain_address("https://user:sk-1@host:8/v1?key=sk-1#sk-1") == "https://host:8/v1"
    assert plain_address("http://[::1]:8/v1") == "http://[::1]:8/v1"


async def test_it_warns_of_people_whom_no_key_reaches() -> None:
    letta = MemoryLetta()
    for number in range(2):
        letta.store.add_agent(
            ("gateway", "letta", str(number)), str(number), metadata={"letta_gateway": {"scope": "old"}}
        )
    with_key = settings(keys=(Key(name="new", key=Secret("sk-1")),))

    assert [line async for line in left_out(with_key, letta)] == [
        "Letta has 2 agents or more of people in the scope `old`, which no key has: with the keys that there are they "
        'are strangers, and begin with new agents. To keep them, add `scope = "old"` to the key whose people they are.'
    ]
    assert [line async for line in left_out(settings(), letta)] == []
