"""The relay of turns: a process goes on with a turn for another that has the answers to its calls.

It goes by letters: `turn` asks for it, `said` brings what the App Server says, by numbers, so that a lost letter is
found out, `over` the end; `drop` is sent by whoever does not listen any more.
"""

import asyncio
import logging
import secrets
from collections.abc import Coroutine, Iterable
from typing import Any

import msgspec
from msgspec import Struct

from gateway.domain import errors
from gateway.domain.event_bytes import events_from_bytes, events_to_bytes, failure_from_bytes, failure_to_bytes
from gateway.domain.events import Event
from gateway.domain.messages import PendingCall
from gateway.letta.elsewhere.turns_elsewhere import CancelHere, RunHere
from gateway.letta.upstream import Sending, Take
from gateway.shared.asking import Away
from gateway.shared.redis_link import RedisLink

logger = logging.getLogger(__name__)
# What waits is told again before it is forgotten.
WAITS_MS = 600_000
TELL_WAITS_SECONDS = 120.0
CANCEL_SECONDS = 30.0


class _Waiting(Struct, array_like=True):
    """A turn that waits in a process."""

    process: str
    calls: list[PendingCall]


class _Asked(Struct, array_like=True):
    """The letter that asks to go on with a turn."""

    number: str
    agent_id: str
    conversation_id: str
    sending: Sending
    tools: list[str]


class _Heard(Struct, array_like=True):
    """A letter about a turn that goes on: the number of the letter, from 0, and events or the failure."""

    number: str
    count: int
    content: bytes


class _Relayed:
    """A turn with which another process goes on."""

    def __init__(self, process: str, number: str, take: Take) -> None:
        self.process, self.number, self.take = process, number, take
        self.count = 0
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def fail(self, error: Exception) -> None:
        if not self.over.done():
            self.over.set_exception(error)


class Relay:
    """The relay of one process; see `TurnsElsewhere`."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._run: RunHere | None = None
        self._cancel: CancelHere | None = None
        self._waits: dict[str, tuple[float, tuple[PendingCall, ...]]] = {}
        """Conversation → the calls that wait here, and the moment at which they were told."""
        self._relayed: dict[str, _Relayed] = {}
        self._by_conversation: dict[str, _Relayed] = {}
        self._cancelling: dict[str, asyncio.Future[None]] = {}
        self._serving: dict[str, tuple[str, asyncio.Task[None]]] = {}
        """Number → the process for which a turn goes on here, and the task of that."""
        self._tasks: set[asyncio.Task[None]] = set()
        link.hear("turn", self._hear_turn)
        link.hear("said", self._hear_said)
        link.hear("over", self._hear_over)
        link.hear("drop", self._hear_drop)
        link.hear("cancel", self._hear_cancel)
        link.hear("cancelled", self._hear_cancelled)
        link.when_back(self._tell_all)
        link.at_pulse(self._look_after)

    @property
    def serving(self) -> int:
        """The number of turns with which this process goes on for others."""
        return len(self._serving)

    def serve(self, run: RunHere, cancel: CancelHere) -> None:
        self._run, self._cancel = run, cancel

    def _key(self, conversation_id: str) -> str:
        return self._link.key("waits", conversation_id)

    # Turns that wait

    def tell(self, conversation_id: str, pending: tuple[PendingCall, ...]) -> None:
        if pending:
            self._waits[conversation_id] = asyncio.get_running_loop().time(), pending
            said = msgspec.msgpack.encode(_Waiting(self._link.process, [*pending]))
            self._link.begin("SET", self._key(conversation_id), said, "PX", WAITS_MS)
        elif self._waits.pop(conversation_id, None):
            self._link.begin("DEL", self._key(conversation_id))

    def _tell_all(self) -> None:
        for conversation_id, (_, pending) in list(self._waits.items()):
            self.tell(conversation_id, pending)

    async def _find(self, conversation_id: str) -> _Waiting | None:
        """The turn of the conversation that waits in another process that lives. Raises Away."""
        said = await self._link.ask("GET", self._key(conversation_id))
        found = msgspec.msgpack.decode(said, type=_Waiting) if said else None
        if found is None or found.process == self._link.process or not self._link.is_alive(found.process):
            return None
        return found

    async def pending(self, conversation_id: str) -> tuple[PendingCall, ...]:
        try:
            found = await self._find(conversation_id)
        except Away:
            return ()
        return tuple(found.calls) if found else ()

    # Turns with which another process goes on

    async def run(
        self, agent_id: str, conversation_id: str, sending: Sending, tools: Iterable[str], take: Take
    ) -> bool:
        relayed = None
        try:
            found = await self._find(conversation_id)
            if found is None:
                return False
            number = secrets.token_hex(8)
            relayed = self._relayed[number] = _Relayed(found.process, number, take)
            self._by_conversation[conversation_id] = relayed
            asked = _Asked(number, agent_id, conversation_id, sending, [*tools])
            if not await self._link.tell(found.process, "turn", asked):
                return False
            await relayed.over
        except Away as error:
            raise errors.BrokenStream(str(error), taken=relayed is not None) from error
        except BaseException:
            if relayed:
                self._link.drop_letter(relayed.process, "drop", relayed.number)
            raise
        finally:
            if relayed:
                self._relayed.pop(relayed.number, None)
                self._by_conversation.pop(conversation_id, None)
        return True

    def _hear_said(self, sender: str, content: msgspec.Raw) -> None:
        heard = msgspec.msgpack.decode(content, type=_Heard)
        relayed = self._relayed.get(heard.number)
        if relayed is None or not self._is_next(relayed, heard):
            return
        try:
            relayed.take(events_from_bytes(heard.content))
        except Exception as error:
            # Of the one who takes it: it does not listen any more.
            relayed.fail(error)

    def _hear_over(self, sender: str, content: msgspec.Raw) -> None:
        heard = msgspec.msgpack.decode(content, type=_Heard)
        relayed = self._relayed.get(heard.number)
        if relayed is None or not self._is_next(relayed, heard) or relayed.over.done():
            return
        if heard.content:
            relayed.fail(failure_from_bytes(heard.content))
        else:
            relayed.over.set_result(None)

    def _is_next(self, relayed: _Relayed, heard: _Heard) -> bool:
        if heard.count != relayed.count:
            relayed.fail(errors.BrokenStream("a letter of another gateway's was lost"))
            return False
        relayed.count += 1
        return True

    async def cancel(self, agent_id: str, conversation_id: str) -> bool:
        relayed = self._by_conversation.get(conversation_id)
        if relayed is None:
            return False
        cancelled = self._cancelling[relayed.number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(CANCEL_SECONDS):
                if await self._link.tell(relayed.process, "cancel", (relayed.number, agent_id, conversation_id)):
                    await cancelled
        except (TimeoutError, Away) as error:
            raise errors.TimedOut("another gateway does not answer") from error
        finally:
            self._cancelling.pop(relayed.number, None)
        return True

    def _hear_cancelled(self, sender: str, content: msgspec.Raw) -> None:
        cancelled = self._cancelling.get(msgspec.msgpack.decode(content, type=str))
        if cancelled and not cancelled.done():
            cancelled.set_result(None)

    # Turns with which this process goes on

    def _hear_turn(self, sender: str, content: msgspec.Raw) -> None:
        asked = msgspec.msgpack.decode(content, type=_Asked)
        task = asyncio.create_task(self._go_on(sender, asked))
        self._serving[asked.number] = sender, task
        task.add_done_callback(lambda _: self._serving.pop(asked.number, None))

    async def _go_on(self, process: str, asked: _Asked) -> None:
        assert self._run
        count = 0

        def tell(kind: str, content: bytes) -> None:
            nonlocal count
            self._link.drop_letter(process, kind, _Heard(asked.number, count, content))
            count += 1

        def take(events: list[Event]) -> None:
            tell("said", events_to_bytes(events))

        try:
            await self._run(asked.agent_id, asked.conversation_id, asked.sending, asked.tools, take)
        except errors.UpstreamError as error:
            tell("over", failure_to_bytes(error))
        except asyncio.CancelledError:
            tell("over", failure_to_bytes(errors.Stopped("the gateway that goes on with the turn ends")))
            raise
        else:
            tell("over", b"")

    def _hear_drop(self, sender: str, content: msgspec.Raw) -> None:
        if found := self._serving.get(msgspec.msgpack.decode(content, type=str)):
            found[1].cancel()

    def _hear_cancel(self, sender: str, content: msgspec.Raw) -> None:
        number, agent_id, conversation_id = msgspec.msgpack.decode(content, type=tuple[str, str, str])
        self._start(self._cancel_for(sender, number, agent_id, conversation_id))

    async def _cancel_for(self, process: str, number: str, agent_id: str, conversation_id: str) -> None:
        assert self._cancel
        try:
            await self._cancel(agent_id, conversation_id)
        except errors.UpstreamError as error:
            logger.warning("a run could not be cancelled: %s: %s", type(error).__name__, error)
        self._link.drop_letter(process, "cancelled", number)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _look_after(self) -> None:
        """Nobody goes on for a process that is gone, or waits for one."""
        for relayed in list(self._relayed.values()):
            if not self._link.is_alive(relayed.process):
                relayed.fail(errors.BrokenStream("the gateway that went on with the turn is gone"))
        for process, task in list(self._serving.values()):
            if not self._link.is_alive(process):
                task.cancel()
        now = asyncio.get_running_loop().time()
        for conversation_id, (told_at, pending) in list(self._waits.items()):
            if now - told_at > TELL_WAITS_SECONDS:
                self.tell(conversation_id, pending)

    async def aclose(self) -> None:
        """Go on with nothing any more; whoever waits for it is told."""
        tasks = [*(task for _, task in self._serving.values()), *self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
