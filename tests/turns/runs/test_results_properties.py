"""Whatever a client with tools does in its chat: the agent knows what is on screen, and no call is answered twice."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.events import answer, calls_of, ping, stop, text_in
from tests.turns.calling import assistant, request, result, user, waits
from tests.turns.memory_letta import MemoryLetta, Step
from tests.turns.store import Store
from tests.turns.turns import AGAIN, FIRST, play, runs_for
from tests.turns.virtual_time import VirtualTimeLoop

Json = dict[str, Any]
ACTIONS = ("say", "regenerate", "edit", "send again", "restart", "forget", "answered elsewhere", "leave out")
# What the client does, and whether the agent then calls its tools
SCRIPT = st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 2)), max_size=8)


class Client:
    """A chat as a program keeps it: it answers every call, and tells all of its history each time."""

    def __init__(self, letta: MemoryLetta, chat: str | None) -> None:
        self.letta = letta
        self.chat = chat
        self.runs = runs_for(letta)
        self.history: list[Json] = []
        self.said = 0

    async def do(self, action: str, calls: int) -> None:
        match action:
            case "restart":
                self.runs = runs_for(self.letta)
            case "forget":
                self.runs.means.forget(request(*self.history or [user("x")], chat=self.chat))
            case "answered elsewhere":
                for kept in self.letta.store.conversations.values():
                    kept.pending = ()
            case "send again" if self.history:
                await self._ask(calls, AGAIN)
            case _:
                self._change(action)
                await self._ask(calls, FIRST)

    def _change(self, action: str) -> None:
        """What is on screen before the agent is asked."""
        if action in ("regenerate", "edit") and self.history:
            while self.history[-1]["role"] != "user":
                self.history.pop()
            if action == "edit":
                self.history[-1] = self._new()
        elif action == "leave out" and self.history and self.history[-1]["role"] == "tool":
            self.history.pop()
            self.history.append(self._new())
        elif not self.history or self.history[-1]["role"] != "tool":
            self.history.append(self._new())

    def _new(self) -> Json:
        self.said += 1
        return user(f"question {self.said}")

    async def _ask(self, calls: int, sent: Any) -> None:
        self.said += 1
        says: Sequence[Step] = [[ping()], [answer(f"answer {self.said}")], [stop()]]
        self.letta.scripts = [waits(*["weather", "clock"][:calls]) if calls else says]
        if self.history[-1]["role"] == "assistant":
            self.history.append(self._new())
        asked = request(*self.history, chat=self.chat)
        events = await play(self.runs, asked, sent)
        self._check([message.content for message in asked.asked.path])
        called = {call.id: call.name for call in calls_of(events)}
        text = text_in(events)
        self.history.append(assistant(text or None, **called))
        self.history += [result(id, f"result {self.said}") for id in called]

    def _check(self, path: list[str]) -> None:
        assert self.letta.store.received[-1].texts == path


@pytest.mark.parametrize("forks", [False, True], ids=["v1", "app-server"])
@given(SCRIPT, st.sampled_from(["chat", None]))
@example([("say", 1), ("say", 0), ("say", 0)], "chat")
@example([("say", 2), ("restart", 0), ("say", 1), ("regenerate", 1), ("say", 0)], "chat")
@example([("say", 1), ("answered elsewhere", 0), ("say", 0), ("say", 0)], "chat")
def test_the_agent_knows_what_is_on_screen_whatever_its_client_does(
    forks: bool, script: list[tuple[str, int]], chat: str | None
) -> None:
    letta = MemoryLetta(Store(forks=forks))

    async def talk() -> None:
        client = Client(letta, chat)
        for action, calls in script:
            await client.do(action, calls)
            await asyncio.sleep(200)  # nothing is kept for a request that is sent again

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(talk())
    elsewhere = sum(action == "answered elsewhere" for action, _ in script)
    assert len(letta.sent) - len(letta.store.received) <= elsewhere, "a turn that Letta did not take"
