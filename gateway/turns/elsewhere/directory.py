"""The directory of runs: by what names all gateways know those that are under way, or were a moment ago.

A request that is sent again may come to another process than its run. There it finds the run's name, joins it by a
letter to its process, and follows its log. A joined run has a reader more, who leaves by a letter, too.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct

from gateway.domain.errors import AnsweredElsewhere, IdempotencyKeyReused
from gateway.shared.asking import Away, Script
from gateway.shared.redis_link import RedisLink
from gateway.turns.elsewhere.log_follower import LogFollower
from gateway.turns.elsewhere.log_writer import LogWriter, head_in
from gateway.turns.runs.driver import Run
from gateway.turns.runs.log import Reader
from gateway.turns.runs.resend import Sent

logger = logging.getLogger(__name__)
# A name that nobody changes for so long is forgotten; those of runs under way are told again.
NAME_MS = 600_000
TELL_NAMES_SECONDS = 120.0
# The time for which a process is waited for that is asked to let one join.
JOIN_SECONDS = 1.0
# The last: it has ended, and nobody has had its answer.
UNDER_WAY, ENDED, BROKEN, MISSED = "u", "e", "x", "m"
OVER = (ENDED, MISSED)

# Take names for a run, unless the first of them is taken, and is not to be taken over: then who has it.
_CLAIM = Script.of("""#!lua flags=allow-oom
local taken = redis.call('GET', KEYS[1])
if taken and ARGV[3] == '0' then return taken end
for _, name in ipairs(KEYS) do redis.call('SET', name, ARGV[1], 'PX', ARGV[2]) end
return false
""")
# Change what names say of a run, where they are still its names: another state, or nothing more.
_CHANGE = Script.of("""#!lua flags=allow-oom
for _, name in ipairs(KEYS) do
  local said = redis.call('GET', name)
  if said == false and ARGV[4] == '1' or said and string.sub(said, 1, #ARGV[1]) == ARGV[1] then
    if ARGV[2] == '' then redis.call('DEL', name) else redis.call('SET', name, ARGV[2], 'PX', ARGV[3]) end
  end
end
return 1
""")
# Of runs whose answer nobody has had, names say from now on that they have ended.
_GIVE = Script.of(f"""#!lua flags=allow-oom
for _, name in ipairs(KEYS) do
  local said = redis.call('GET', name)
  if said then redis.call('SET', name, (string.gsub(said, ' {MISSED} ', ' {ENDED} ', 1)), 'KEEPTTL') end
end
return 1
""")


class Entry(Struct, frozen=True):
    """An entry of the directory: `Entry("3f…", "run_1", "u", "9a…")` is a run under way of the process `3f…`."""

    process: str
    run_id: str
    state: str
    request: str
    """The digest of the request."""

    @property
    def begin(self) -> str:
        """The begin of the entry's text, by which a run knows its own."""
        return f"{self.process} {self.run_id} "

    def __str__(self) -> str:
        return f"{self.begin}{self.state} {self.request}"


class _Listed:
    """A run of this process that has entries, by all its names."""

    def __init__(self, run: Run, sent: Sent, entry: Entry, at: float) -> None:
        self.run, self.sent, self.entry, self.told_at = run, sent, entry, at
        self.readers: dict[str, Reader] = {}
        """Process → the reader that stands for those there."""
        self.ending: asyncio.Future[Any] | None = None
        """Done once its entries say that it has ended; None before its end."""


class RunDirectory:
    """The directory, as a process sees it."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._writer = LogWriter(link)
        self._follower = LogFollower(link)
        self._listed: dict[str, _Listed] = {}
        self.forgetting: Callable[[str], None] = _nobody_forgets
        self.giving: Callable[[str], None] = _nobody_forgets
        self._joining: dict[str, asyncio.Future[bool]] = {}
        link.hear("join", self._hear_join)
        link.hear("come_for", self._hear_come_for)
        link.hear("read", self._hear_read)
        link.hear("end", self._hear_end)
        link.hear("forget", self._hear_forget)
        link.hear("given", self._hear_given)
        link.hear("joined", self._hear_joined)
        link.hear("leave", self._hear_leave)
        link.hear("broken", self._hear_broken)
        link.at_pulse(self._look_after)

    def _names(self, sent: Sent) -> list[str]:
        """The keys of a request's names; what decides comes first."""
        return [self._key(name) for name in reversed(sent.names)]

    def _key(self, name: str) -> str:
        return self._link.key("sent", name)

    # Runs elsewhere

    async def find(self, sent: Sent) -> bool:
        """Tell if another process has a run that answers the request. Raises IdempotencyKeyReused."""
        try:
            said = await self._link.ask("GET", self._names(sent)[0])
        except Away:
            return False
        entry = _read(said)
        return entry is not None and entry.process != self._link.process and _answers(entry, sent)

    async def claim(self, sent: Sent, run_id: str) -> Reader | None:
        """Take the names of a request for a new run; where another has them that answers it, a reader of that.

        Raises IdempotencyKeyReused, AnsweredElsewhere.
        """
        mine = str(Entry(self._link.process, run_id, UNDER_WAY, sent.request))
        try:
            seen = None
            # What has ended since it was looked at says so by now.
            while (said := await self._link.run(_CLAIM, self._names(sent), mine, NAME_MS, 0)) != seen:
                entry, seen = _read(said), said
                if entry is None or entry.process == self._link.process:
                    break
                if reader := await self._answer(entry, sent):
                    return reader
            if said is None:
                return None
            await self._link.run(_CLAIM, self._names(sent), mine, NAME_MS, 1)
        except Away:
            pass  # As if the gateway were alone.
        return None

    async def _answer(self, entry: Entry, sent: Sent) -> Reader | None:
        """A reader of the run elsewhere that answers a request; None if none does.

        Raises IdempotencyKeyReused, AnsweredElsewhere, Away.
        """
        if _answers(entry, sent):
            return await self._join(entry)
        if not sent.may_be_missed or entry.state not in (UNDER_WAY, MISSED):
            return None
        reader = await self._join(entry, "come_for")
        if reader and entry.state == MISSED:
            await self.give(sent)
            self._link.drop_letter(entry.process, "given", sent.again_names)
        return reader

    async def give(self, sent: Sent) -> None:
        """The answer that nobody had is given now: the next request alike is a new one."""
        with suppress(Away):
            await self._link.run(_GIVE, [*map(self._key, sent.again_names)])

    def _hear_given(self, sender: str, content: msgspec.Raw) -> None:
        for name in msgspec.msgpack.decode(content, type=list[str]):
            self.giving(name)

    async def follow(self, name: str) -> Reader | None:
        """A reader of the run that another process has, or had, under a name. Raises AnsweredElsewhere."""
        try:
            seen = None
            while (said := await self._link.ask("GET", self._key(name))) != seen:
                entry, seen = _read(said), said
                if entry is None or entry.process == self._link.process:
                    return None
                if reader := await self._join(entry, "read"):
                    return reader
            return None
        except Away:
            raise AnsweredElsewhere("Redis is away") from None

    async def cancel(self, name: str) -> bool:
        """Have another process end the run that it has under a name; False if none has one."""
        try:
            entry = _read(await self._link.ask("GET", self._key(name)))
            if entry is None or entry.state in OVER or not self._link.is_alive(entry.process):
                return False
            return await self._is_heard(entry.process, "end", entry.run_id)
        except Away:
            return False

    async def forget(self, name: str) -> None:
        """Have any process forget the run that it has had under a name: its log goes, too."""
        with suppress(Away):
            if entry := _read(await self._link.ask("GET", self._key(name))):
                await self._link.ask("DEL", self._key(name), self._writer.stream_of(entry.run_id))
                self._link.drop_letter(entry.process, "forget", name)

    def _hear_forget(self, sender: str, content: msgspec.Raw) -> None:
        self.forgetting(msgspec.msgpack.decode(content, type=str))

    async def _join(self, entry: Entry, letter: str = "join") -> Reader | None:
        """A reader of a run elsewhere; None if it is no more. Raises AnsweredElsewhere, Away.

        By the letter `join` nobody joins a run that was given up; by `read` it is read all the same; by `come_for` it
        is joined if nobody reads it, and nobody has had its answer.
        """
        process = None if entry.state in OVER else entry.process
        if process and not self._link.is_alive(process):
            return None
        if entry.state == BROKEN:
            raise AnsweredElsewhere("its log is broken")
        if process and not await self._is_heard(process, letter, entry.run_id):
            return None
        leave = partial(self._link.drop_letter, process, "leave", entry.run_id) if process else _nobody_is_told
        stream = self._writer.stream_of(entry.run_id)
        # What the run is shown by comes before all events, and there may be none yet.
        first = await self._link.ask("XRANGE", stream, "-", "+", "COUNT", 1)
        log = await self._follower.follow(entry.run_id, stream, process, leave)
        log.head = head_in(first)
        return log.follow()

    async def _is_heard(self, process: str, letter: str, run_id: str) -> bool:
        """Ask a process to do what a letter says with a run; False if it has no such run. Raises Away."""
        number = secrets.token_hex(8)
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._joining[number] = answer
        try:
            if not await self._link.tell(process, letter, (number, run_id)):
                return False
            async with asyncio.timeout(JOIN_SECONDS):
                return await answer
        except TimeoutError:
            raise AnsweredElsewhere("the gateway that gives the answer does not say so") from None
        finally:
            del self._joining[number]

    def _hear_joined(self, sender: str, content: msgspec.Raw) -> None:
        number, is_let = msgspec.msgpack.decode(content, type=tuple[str, bool])
        if (answer := self._joining.get(number)) and not answer.done():
            answer.set_result(is_let)

    def _hear_broken(self, sender: str, content: msgspec.Raw) -> None:
        self._follower.give_up(msgspec.msgpack.decode(content, type=str))

    # Runs of this process

    def list(self, run: Run, sent: Sent) -> None:
        """A run has begun whose names were claimed: others may follow it."""
        entry = Entry(self._link.process, run.id, UNDER_WAY, sent.request)
        self._listed[run.id] = _Listed(run, sent, entry, asyncio.get_running_loop().time())
        self._writer.copy(run.id, run.log, partial(self._break, run.id))

    def end(self, run: Run, kept: Mapping[str, float]) -> None:
        """A run has ended; `kept`: each of its names by which it may still be asked for, and for how many seconds."""
        listed = self._listed.get(run.id)
        if listed is None:
            return
        for reader in listed.readers.values():
            reader.leave()
        listed.readers.clear()
        kept = {} if listed.entry.state == BROKEN else kept
        over = MISSED if listed.sent.may_be_missed and not run.log.is_had else ENDED
        changes = [
            self._change(listed, over if name in kept else None, [name], kept.get(name)) for name in listed.sent.names
        ]
        listed.ending = asyncio.gather(*changes, return_exceptions=True)
        listed.ending.add_done_callback(lambda _: self._listed.pop(run.id, None))
        if listed.entry.state != BROKEN:
            self._writer.close(run.id, max(kept.values(), default=0.0))

    def _change(
        self,
        listed: _Listed,
        state: str | None,
        names: Sequence[str],
        seconds: float | None = None,
        again: bool = False,
    ) -> "asyncio.Task[Any]":
        """Say another thing of a run by some of its names, for so long, or nothing more.

        `again`: also where nothing is said.
        """
        entry = msgspec.structs.replace(listed.entry, state=state or "")
        milliseconds = NAME_MS if seconds is None else int(seconds * 1000)
        said = (entry.begin, str(entry) if state else "", max(milliseconds, 1), int(again))
        task = asyncio.ensure_future(self._link.run(_CHANGE, [*map(self._key, names)], *said))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    def _break(self, run_id: str) -> None:
        """A run's log cannot be followed any more."""
        if listed := self._under_way(run_id):
            listed.entry = msgspec.structs.replace(listed.entry, state=BROKEN)
            self._change(listed, BROKEN, listed.sent.names, again=True)
            for process in listed.readers:
                self._link.drop_letter(process, "broken", run_id)

    def _under_way(self, run_id: str) -> _Listed | None:
        listed = self._listed.get(run_id)
        return listed if listed and not listed.ending else None

    def _hear_come_for(self, sender: str, content: msgspec.Raw) -> None:
        number, run_id = msgspec.msgpack.decode(content, type=tuple[str, str])
        listed = self._under_way(run_id)
        lets = listed is not None and not listed.run.left and listed.run.log.is_missed
        self._let_in(sender, number, run_id, lets=lets)

    def _hear_join(self, sender: str, content: msgspec.Raw) -> None:
        number, run_id = msgspec.msgpack.decode(content, type=tuple[str, str])
        listed = self._under_way(run_id)
        self._let_in(sender, number, run_id, lets=listed is not None and not listed.run.left)

    def _hear_read(self, sender: str, content: msgspec.Raw) -> None:
        number, run_id = msgspec.msgpack.decode(content, type=tuple[str, str])
        self._let_in(sender, number, run_id, lets=self._under_way(run_id) is not None)

    def _let_in(self, sender: str, number: str, run_id: str, *, lets: bool) -> None:
        listed = self._listed.get(run_id)
        if listed and lets and sender not in listed.readers:
            reader = listed.readers[sender] = listed.run.follow()
            reader.listen(partial(_pass_by, reader))
            _pass_by(reader)
        answer = partial(self._link.drop_letter, sender, "joined", (number, lets))
        if listed and listed.ending:
            # Whoever is told no looks again, and is to see then that it has ended.
            listed.ending.add_done_callback(lambda _: answer())
        else:
            answer()

    def _hear_end(self, sender: str, content: msgspec.Raw) -> None:
        number, run_id = msgspec.msgpack.decode(content, type=tuple[str, str])
        if listed := self._under_way(run_id):
            listed.run.cancel()
        self._link.drop_letter(sender, "joined", (number, listed is not None))

    def _hear_leave(self, sender: str, content: msgspec.Raw) -> None:
        if (listed := self._listed.get(msgspec.msgpack.decode(content, type=str))) and sender in listed.readers:
            listed.readers.pop(sender).leave()

    def _look_after(self) -> None:
        """Readers in a process that is gone have left; names of runs that take long are told again."""
        now = asyncio.get_running_loop().time()
        for listed in list(self._listed.values()):
            for process in [one for one in listed.readers if not self._link.is_alive(one)]:
                listed.readers.pop(process).leave()
            if not listed.ending and now - listed.told_at > TELL_NAMES_SECONDS:
                listed.told_at = now
                self._change(listed, listed.entry.state, listed.sent.names, again=True)

    async def aclose(self) -> None:
        """Write the ends of all logs, and follow no other."""
        await self._follower.aclose()
        await self._writer.aclose()


def _read(said: bytes | None) -> Entry | None:
    """The entry that Redis has; None if it has none, or one of an unknown shape."""
    parts = said.decode().split(" ") if said else []
    return Entry(*parts) if len(parts) == len(Entry.__struct_fields__) else None


def _answers(entry: Entry, sent: Sent) -> bool:
    """True if a run answers the request. Raises IdempotencyKeyReused."""
    if sent.idempotency_key and entry.request != sent.request:
        raise IdempotencyKeyReused
    return bool(sent.idempotency_key or sent.again or (sent.alive and entry.state != ENDED))


def _pass_by(reader: Reader) -> None:
    """Take what has come, for those who read it elsewhere."""
    with suppress(Exception):
        while (told := reader.take()) and told.events:
            pass


def _nobody_is_told() -> None: ...


def _nobody_forgets(name: str) -> None: ...
