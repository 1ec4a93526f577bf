"""A Letta, a gateway in front of it, and what may come of the requests that its clients send."""

import asyncio
import itertools
from collections.abc import Sequence
from typing import Literal, NamedTuple

from gateway.domain import errors
from gateway.domain.events import Text
from gateway.settings import Chats
from gateway.turns.runs.log import Reader
from tests.events import answer, approval_request, error, ping, stop, usage
from tests.turns.memory_letta import MemoryLetta, Step
from tests.turns.screen import Client, Line, Request, Screen, Shown, heard, is_path
from tests.turns.store import Received, Store
from tests.turns.turns import runs_for, told_next
from tests.turns.virtual_time import Gate, now

SILENCE = 300.0


class Script(NamedTuple):
    """What Letta does, and what is seen of it."""

    steps: Sequence[Step]
    shown: str
    """What the client sees of the answer."""
    leaves: Literal["at once", "before a word", "after a word"] | None = None
    """When the client leaves, if it does."""
    whole: str | None = None
    """What Letta keeps of the answer, if that is not what is shown."""
    well: bool = False
    """Whether the answer has an end."""
    failure: errors.UpstreamError | None = None
    """What sending it ends with."""
    killed: bool = False
    """Whether the gateway is killed meanwhile, and another takes its place."""

    @property
    def taken(self) -> bool:
        return self.failure is None or self.failure.taken


def scripts_for(text: str, forks: bool) -> dict[str, Script]:
    """Each way in which an answer with this text, of more than two letters or none, may go."""
    part, rest = text[:2], text[2:]
    begun: list[Step] = [[ping()], [answer(part)]]
    all_of_it: list[Step] = [[answer(rest)], [stop(), usage()]]
    silent: list[Step] = [[ping()], [stop(), usage()]]
    waiting: list[Step] = [[approval_request("search")], [stop("requires_approval")]]
    failed: list[Step] = [[stop("llm_api_error")], [error()]]
    cut = errors.BrokenStream("cut")
    return {
        "answered": Script([*begun, *all_of_it], text, well=True),
        "answered in steps": Script([*begun, [answer(rest)], [answer(text, "step-2")], *silent], text * 2, well=True),
        "nothing said": Script(silent, "", well=True),
        "stopped at once": Script([[ping()], 0.5, [answer(text)], Gate()], "", "at once"),
        "stopped before a word": Script([[ping()], Gate()], "", "before a word"),
        "stopped": Script([*begun, Gate()], part, "after a word"),
        "stopped late": Script(["deaf", *begun, 1.5, *all_of_it], part, "after a word", text),
        "failed": Script([*begun, *failed], part),
        "failed before a word": Script([[ping()], *failed], ""),
        "cut off": Script([*begun, cut], part),
        "cut off late": Script(["deaf", *begun, cut, *all_of_it], part, whole=text),
        # An App Server denies such a call at once.
        "approval": Script([*begun, *(failed if forks else waiting)], part),
        "killed": Script([*begun, "killed", *all_of_it], part, whole=text, killed=True),
        "killed before a word": Script([[ping()], "killed", [answer(text)], [stop()]], "", whole=text, killed=True),
        # Who tells all again does not wait for what hangs.
        "killed while it hangs": Script([*begun, "killed", Gate()], part, killed=True),
        "not taken": Script([], "", failure=errors.Unreachable("no")),
        "lost": Script([], "", failure=errors.BrokenStream("cut")),
    }


class Asked(NamedTuple):
    """A request that was sent, and the answer it was for, as that was before."""

    request: Request
    answer: Shown
    before: Line
    script: Script
    at: float


class World:
    """Two people with three chats. With `forgets` nothing is remembered from one request to the next.

    With `restarts` each request comes to a gateway that has just been started.
    """

    def __init__(self, client: Client, forks: bool, forgets: bool, restarts: bool) -> None:
        self.store = Store(forks)
        self.screens = [Screen(client, user, chat) for user, chat in (("ada", "1"), ("ada", "2"), ("bob", "1"))]
        self.last: dict[Screen, Asked] = {}
        self._forgets = forgets
        self._restarts = restarts
        self._clones = itertools.count(1)
        self._unbegun: Screen | None = None
        self._unsent: set[Screen] = set()
        """Where a message was given up that may be kept nowhere but in the gateway."""
        self._begin()

    def _begin(self) -> None:
        self.letta = MemoryLetta(self.store)
        self._runs = runs_for(self.letta)
        self._began = now()

    def clone(self, screen: Screen) -> None:
        """A chat's place is taken by a clone of it."""
        self.screens[self.screens.index(screen)] = screen.clone(f"clone-{next(self._clones)}")

    async def settle(self) -> None:
        """Nothing is left of what was stopped."""
        await asyncio.sleep(10)

    async def ask(self, screen: Screen, request: Request, shown: Shown, script: Script) -> None:
        """Send a request, show what comes, and see what the agent has heard."""
        await self._prepare(screen, request, script)
        asked = Asked(request, shown, Line("assistant", shown.text, shown.held), script, now())
        before = len(self.store.received)
        self.letta.scripts = [script.steps]
        if script.failure:
            self.letta.fail("run", script.failure)
        text = await self._read(self._runs.start(request.turn, request.sent), script)
        assert text == script.shown
        _show(asked)
        if script.killed:
            shown.lost = not screen.client.tells_all
            await self._die()
        self.last[screen] = asked
        if script.leaves == "at once":
            self._unbegun = screen
            self._unsent.add(screen)
        else:
            self._check(self.store.received[before:], request, int(script.taken))

    async def _die(self) -> None:
        """Another gateway takes the place of one that was killed."""
        for screen in self._unsent:
            question = self.last[screen].answer.parent
            assert question
            question.lost = not screen.client.tells_all
        self._unsent.clear()
        await self._runs.aclose()
        self._begin()

    async def ask_again(self, screen: Screen, script: Script) -> None:
        """Send the same request again: for the answer it has, or for another, if that was left or never begun."""
        asked = self.last[screen]
        request = asked.request._replace(sent=asked.request.resent)
        await self.settle()
        ended = asked.script.leaves is None and asked.script.taken and not asked.script.killed
        finished = ended and asked.at >= self._began and now() - asked.at < Chats().resend_seconds
        if request.sent.again and finished and not self._restarts:
            before = len(self.store.received)
            assert await self._read(self._runs.start(request.turn, request.sent)) == asked.script.shown
            assert len(self.store.received) == before
        elif not screen.client.lone_is_next:
            shown = asked.answer
            shown.text, shown.held, shown.replaced = asked.before.text, asked.before.held, True
            await self.ask(screen, request, shown, script)

    async def _prepare(self, screen: Screen, request: Request, script: Script) -> None:
        # What was stopped at once may begin yet, beside another chat; and the same request would be the same turn.
        unbegun, self._unbegun = self._unbegun, None
        beside = unbegun and (unbegun is not screen or not screen.client.chat_header)
        same = any(asked.request.sent.request == request.sent.request for asked in self.last.values())
        if beside or same or self._restarts or script.killed:
            await self.settle()
        if self._restarts:
            await self.aclose()
            self._begin()
        # What was never sent is kept nowhere else.
        if self._forgets and not (screen in self._unsent and screen.client.lone_is_next):
            self._runs.means.conversations.forget(request.turn.marker)
        self._unsent.discard(screen)

    async def _read(self, reader: Reader, script: Script | None = None) -> str:
        """The part of an answer that is seen, up to its end or as far as the script says."""
        leaves = script.leaves if script else None
        if script and leaves == "before a word":
            await self._begun(reader, script)
        text = ""
        while leaves in (None, "after a word") and not (leaves and text):
            try:
                events = await told_next(reader)
            except errors.UpstreamError:
                break
            if events is None:
                break
            text += "".join(event.text for event in events if isinstance(event, Text))
        reader.leave()
        return text

    async def _begun(self, reader: Reader, script: Script) -> None:
        """Return once Letta is at the script's gate, or the run has ended."""
        (gate,) = (step for step in script.steps if isinstance(step, Gate))
        either = [asyncio.ensure_future(one) for one in (gate.reached(), reader.news())]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        for one in either:
            one.cancel()

    def _check(self, received: list[Received], request: Request, runs: int) -> None:
        assert len(received) == runs
        for one in received:
            assert is_path(one.context, request.wanted), f"{heard(one.context)} for {request.wanted}"
            assert one.instructions == request.turn.asked.instructions

    async def aclose(self) -> None:
        await self._runs.aclose()


def _show(asked: Asked) -> None:
    """Add to an answer what was seen of it."""
    shown, script, before = asked.answer, asked.script, asked.before
    held = {before.text, *before.held}
    shown.held = frozenset(one + more for one in held for more in (script.shown, script.whole or script.shown))
    shown.text = before.text + script.shown
    shown.ended_well = script.well
    shown.cut |= not script.well
