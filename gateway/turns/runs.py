"""Starts runs, knows those under way, and which of them a request that comes again is answered by."""

import asyncio

from gateway.letta import errors
from gateway.letta.upstream import Upstream
from gateway.openai_wire.errors import IdempotencyKeyReused
from gateway.settings import Chats
from gateway.turns.demands import to_demand
from gateway.turns.run import Means, Run
from gateway.turns.sent import NEW, Sent
from gateway.turns.telling import Reader
from gateway.turns.turn import Turn

CLOSE_SECONDS = 10.0


class Runs:
    def __init__(self, upstream: Upstream, settle_seconds: float, silence_seconds: float, chats: Chats) -> None:
        self.means = Means(upstream, settle_seconds, silence_seconds, chats)
        self._resend_seconds = chats.resend_seconds
        self._under_way: dict[str, set[Run]] = {}
        self._sent: dict[str, Run] = {}
        """By request, and by idempotency key: those under way, and the finished ones that are kept."""
        self._requests: dict[str, str] = {}
        """Of each idempotency key that is kept, the request it came with."""

    def start(self, turn: Turn, sent: Sent = NEW) -> Reader:
        """The run of a turn: a new one, or for a request that was sent again the one it has. Raises GatewayError."""
        found = self._find(sent)
        if found:
            return found.follow()
        demand = to_demand(turn, self.means.upstream.applies)
        # What nobody reads any more gives way to what its chat goes on with.
        for other in list(self._under_way.get(turn.marker, ())):
            if other.abandoned and not turn.scratch:
                other.leave()
        run = Run(turn, self.means, demand)
        self._under_way.setdefault(turn.marker, set()).add(run)
        self._keep(sent, run)
        run.task.add_done_callback(lambda _: self._end(run, sent))
        return run.follow()

    def _find(self, sent: Sent) -> Run | None:
        if sent.idempotency_key:
            if self._requests.get(sent.idempotency_key, sent.request) != sent.request:
                raise IdempotencyKeyReused
            return self._usable(sent.idempotency_key)
        run = self._usable(sent.request)
        under_way = run and not run.answered and not run.task.done()
        if run and (sent.again or (sent.alive and under_way)):
            return run
        return None

    def _usable(self, name: str) -> Run | None:
        run = self._sent.get(name)
        return run if run and not run.left else None

    def _keep(self, sent: Sent, run: Run) -> None:
        if sent.request:
            self._sent[sent.request] = run
        if sent.idempotency_key:
            self._sent[sent.idempotency_key] = run
            self._requests[sent.idempotency_key] = sent.request

    def _end(self, run: Run, sent: Sent) -> None:
        others = self._under_way[run.turn.marker]
        others.discard(run)
        if not others:
            del self._under_way[run.turn.marker]
        if sent.may_come_again and _is_answered(run):
            run.telling.fold()
            asyncio.get_running_loop().call_later(self._resend_seconds, self._drop, sent, run)
        else:
            self._drop(sent, run)

    def _drop(self, sent: Sent, run: Run) -> None:
        for name in (sent.request, sent.idempotency_key):
            if self._sent.get(name) is run:
                del self._sent[name]
                self._requests.pop(name, None)

    def stop(self) -> None:
        """End every run under way; their readers are told."""
        for run in self._all():
            run.stop()

    async def aclose(self) -> None:
        """Returns when every run has ended, cancelled in Letta where it had to be; or when that took too long."""
        self.stop()
        if tasks := [run.task for run in self._all()]:
            _, late = await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
            for task in late:
                task.cancel()

    def _all(self) -> list[Run]:
        return [run for runs in self._under_way.values() for run in runs]


def _is_answered(run: Run) -> bool:
    """Whether sending the request again would have Letta do again what it has done, or begun."""
    failure = run.telling.failure
    taken = failure is None or (isinstance(failure, errors.UpstreamError) and failure.taken)
    return taken and not run.left
