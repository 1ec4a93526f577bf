"""The registry of runs: starts them, and finds the run that answers a request which was sent before."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

from msgspec import Struct

from gateway.domain import errors
from gateway.domain.cache import Cache
from gateway.domain.errors import IdempotencyKeyReused
from gateway.turns.runs.driver import Run, new_run_id
from gateway.turns.runs.log import Reader, RunLog
from gateway.turns.runs.means import Means
from gateway.turns.runs.requirements import to_requirement
from gateway.turns.runs.resend import NEW, Sent
from gateway.turns.turn import Turn

CLOSE_SECONDS = 10.0
# The most characters of finished answers that are kept for requests that are sent again.
KEPT_CHARACTERS = 32_000_000


class Known(Struct, frozen=True):
    """The answer to a request that is sent again: its run, or the log of a run that has ended."""

    request: str
    """The digest of the request, whatever name it is known by."""
    log: RunLog
    run: Run | None = None
    until: float = 0.0
    """The moment at which the log is forgotten, by the loop's clock."""

    @property
    def under_way(self) -> bool:
        return self.run is not None and not self.run.answered and not self.run.task.done()

    def follow(self) -> Reader:
        return (self.run or self.log).follow()


class Directory(Protocol):
    """The runs of other gateways, as far as requests that are sent again are answered by them."""

    async def find(self, sent: Sent) -> bool:
        """Tell if another process has a run that answers the request. Raises IdempotencyKeyReused."""
        ...

    async def claim(self, sent: Sent, run_id: str) -> Reader | None:
        """Take the names of a request for a new run; where another has them that answers it, a reader of that.

        Raises IdempotencyKeyReused, AnsweredElsewhere.
        """
        ...

    def list(self, run: Run, sent: Sent) -> None:
        """A run has begun whose names were claimed."""
        ...

    def end(self, run: Run, kept: Mapping[str, float]) -> None:
        """A run has ended; `kept`: each of its names by which it may still be asked for, and for how many seconds."""
        ...

    async def follow(self, name: str) -> Reader | None:
        """A reader of the run that another process has, or had, under a name. Raises AnsweredElsewhere."""
        ...

    async def give(self, sent: Sent) -> None:
        """The answer that nobody had is given now: the next request alike is a new one."""
        ...

    forgetting: Callable[[str], None]
    """Called with a name whose run is to be forgotten, for another process says so; set by whoever has the runs."""

    giving: Callable[[str], None]
    """Called with a name whose answer another process gives; set by whoever has the runs."""

    async def forget(self, name: str) -> None:
        """Have any process forget the run that it has had under a name."""
        ...

    async def cancel(self, name: str) -> bool:
        """Have another process end the run that it has under a name; False if none has one."""
        ...


class Runs:
    """The runs under way, and the answers that are kept for `resend_seconds`; `directory` has those elsewhere."""

    def __init__(
        self, means: Means, resend_seconds: float, directory: Directory | None = None, keep_seconds: float = 0.0
    ) -> None:
        """`keep_seconds`: for so long a run is kept for those who ask for its response."""
        self.means = means
        self._directory = directory
        if directory:
            directory.forgetting, directory.giving = self._drop, self._give
        self._resend_seconds = resend_seconds
        self._keep_seconds = keep_seconds
        self._under_way: dict[str, set[Run]] = {}
        self._sent: dict[str, Known] = {}
        """Request digest or idempotency key → the run under way."""
        self._kept: Cache[str, Known] = Cache(KEPT_CHARACTERS)
        """The same names → the log of a run that has ended; nothing else of the run is kept."""

    async def has(self, sent: Sent) -> bool:
        """True if a request was sent before, and gets the run that it has, or its answer. Raises GatewayError."""
        if self._find(sent) is not None:
            return True
        # Any other need not be asked for: it will be found when it is to begin.
        asks = self._directory and (sent.again or sent.idempotency_key)
        return bool(self._directory and asks and await self._directory.find(sent))

    async def take(self, turn: Turn, sent: Sent, head: bytes = b"") -> Reader:
        """The run that answers a request: the one that it has, here or in another process, or a new one.

        `head` is the `RunLog.head` of a new one. Raises GatewayError, AnsweredElsewhere.
        """
        found = self._find(sent)
        if self._directory and found and found.log.ended and found.log.is_missed:
            await self._directory.give(sent)
        if not self._directory or not sent.names or found:
            return self.start(turn, sent, head=head)
        run_id = new_run_id()
        if reader := await self._directory.claim(sent, run_id):
            reader.joined = True
            return reader
        return self.start(turn, sent, run_id, head)

    async def prepare(self, turn: Turn) -> None:
        """Find, or make, the agent of a turn that is to come. Raises UpstreamError."""
        await self.means.agents.get(turn.agent_type, turn.caller.user)

    async def question_of(self, turn: Turn) -> tuple[str, int]:
        """The turn whose calls wait for the answers that this one brings: its id, and the second of it; or ("", 0).

        Raises UpstreamError.
        """
        agent = await self.means.agents.get(turn.agent_type, turn.caller.user)
        return await self.means.conversations.question_of(agent, turn)

    async def follow(self, name: str, after: int = 0) -> Reader | None:
        """A reader of the run that is, or was, known by a name (of `Sent.names`), here or in another process.

        It has all but the first `after` events. None if there is none. Raises AnsweredElsewhere.
        """
        if known := self._sent.get(name) or self._kept.get(name):
            return (known.run or known.log).follow(after)
        return await self._directory.follow(name) if self._directory else None

    async def cancel(self, name: str) -> Reader | None:
        """End the run with a name if it is under way, wherever it is; its readers are told.

        Gives a reader of all that it has told, to its end; None if there is no such run. Raises AnsweredElsewhere.
        """
        reader = await self.follow(name)
        if (known := self._sent.get(name)) and known.run:
            known.run.cancel()
            await asyncio.wait([known.run.task])
        elif reader and self._directory:
            try:
                if await self._directory.cancel(name):
                    async with asyncio.timeout(CLOSE_SECONDS):
                        await reader.end()
            except TimeoutError:
                pass  # It is shown as it stands.
            except BaseException:
                reader.leave()
                raise
        return reader

    async def forget(self, name: str) -> None:
        """Forget the run that was known by a name, wherever it is kept."""
        self._drop(name)
        if self._directory:
            await self._directory.forget(name)

    def _drop(self, name: str) -> None:
        self._kept.drop(name)

    def _give(self, name: str) -> None:
        if known := self._kept.get(name):
            known.log.give()

    def start(self, turn: Turn, sent: Sent = NEW, claimed: str = "", head: bytes = b"") -> Reader:
        """The run of a turn: a new one, or for a request that was sent again the one it has. Raises GatewayError.

        `claimed` is the id for which its names were claimed among all processes, if they were.
        """
        found = self._find(sent)
        if found:
            reader = found.follow()
            reader.joined = True
            return reader
        requirement = to_requirement(turn, self.means.upstream.capabilities.applies)
        # A run that nobody reads any more gives way to the next turn of its chat.
        for other in [] if turn.scratch else list(self._under_way.get(turn.marker, ())):
            other.give_way()
        run, marker = Run(turn, self.means, requirement, claimed, head), turn.marker
        self._under_way.setdefault(marker, set()).add(run)
        self._know(sent, run)
        if self._directory and claimed:
            self._directory.list(run, sent)
        run.task.add_done_callback(lambda _: self._end(run, marker, sent))
        reader = run.follow()
        reader.account = run.account
        return reader

    def _find(self, sent: Sent) -> Known | None:
        """The run or the log that answers the request; None if it is new, or a new run must answer it.

        Raises IdempotencyKeyReused.
        """
        name = sent.idempotency_key or sent.request
        known = self._sent.get(name) or self._kept.get(name)
        if known is None:
            return None
        if sent.idempotency_key and known.request != sent.request:
            raise IdempotencyKeyReused
        if known.run and known.run.left:
            return None
        same = sent.idempotency_key or sent.again or (sent.alive and known.under_way)
        return known if same or (sent.may_be_missed and known.log.is_missed) else None

    def _know(self, sent: Sent, run: Run) -> None:
        for name in sent.names:
            self._sent[name] = Known(sent.request, run.log, run)
            self._kept.drop(name)

    def _end(self, run: Run, marker: str, sent: Sent) -> None:
        others = self._under_way[marker]
        others.discard(run)
        if not others:
            del self._under_way[marker]
        may_come_again = sent.may_come_again or (sent.may_be_missed and not run.log.is_had)
        keeps = may_come_again and _is_answered(run)
        kept = dict.fromkeys(sent.again_names, self._resend_seconds) if keeps else {}
        if sent.response and not run.is_let_go:
            # Of one that Letta goes on with alone, Letta tells.
            kept[sent.response] = self._keep_seconds
        if self._directory:
            self._directory.end(run, kept)
        if kept:
            run.log.keep()
        for name in sent.names:
            known = self._sent.get(name)
            if known and known.run is run:
                del self._sent[name]
                if name in kept:
                    self._keep(name, known, kept[name])

    def _keep(self, name: str, known: Known, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        self._kept.put(name, Known(known.request, known.log, until=until), known.log.weight)
        loop.call_at(until, self._forget, name, until)

    def _forget(self, name: str, until: float) -> None:
        """Forget a log whose time is over.

        The timer holds a name and a moment, and not the log: it would keep alive what was dropped for its weight.
        """
        known = self._kept.get(name)
        if known and known.until <= until:
            self._kept.drop(name)

    def stop(self) -> None:
        """End every run under way; their readers are told."""
        for run in self.under_way:
            run.stop()

    async def aclose(self, seconds: float = CLOSE_SECONDS) -> None:
        """Stop every run, and wait until each has ended (in Letta, too), for at most so many seconds."""
        self.stop()
        if tasks := [run.task for run in self.under_way]:
            _, late = await asyncio.wait(tasks, timeout=seconds)
            for task in late:
                task.cancel()

    @property
    def under_way(self) -> list[Run]:
        return [run for runs in self._under_way.values() for run in runs]


def _is_answered(run: Run) -> bool:
    """True if a new run for the same request would have Letta do again what it has done, or begun."""
    failure = run.log.failure
    taken = failure is None or (isinstance(failure, errors.UpstreamError) and failure.taken)
    return taken and not run.left
