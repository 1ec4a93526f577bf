"""The lock of a state directory: one gateway at a time has it, and tells the others who and where it is."""

import asyncio
import logging
import os
from http import HTTPStatus
from pathlib import Path

import msgspec
from msgspec import Struct

from gateway.domain import errors

logger = logging.getLogger(__name__)
# A child outlives a gateway that was killed by what its keeper grants it, and holds the lock for so long.
LOCK_SECONDS = 5.0
LOCK_LOOK_SECONDS = 0.1
HOLDER_SECONDS = 2.0
# More than any holder says of itself.
MAX_BYTES = 4096


class Holder(Struct, frozen=True):
    """The gateway that holds a lock, in its own words: `Holder(4711, "http://127.0.0.1:8000", "ws://…/ws")`."""

    pid: int
    address: str = ""
    """The address at which it serves; empty before it does."""
    letta: str = ""
    """The address of its App Server; empty before that is up."""

    def __str__(self) -> str:
        return f"process {self.pid} at {self.address}" if self.address else f"process {self.pid}, which is not up yet"

    async def answers(self) -> bool:
        """True if a gateway answers at its address."""
        if not self.address:
            return False
        # A client of the web, of which a gateway that finds no other has no need.
        from gateway.letta.embedded.provider import NoAnswer, status_of

        try:
            async with asyncio.timeout(HOLDER_SECONDS):
                return await status_of(f"{self.address}/healthz", proxied=False) == HTTPStatus.OK
        except (NoAnswer, TimeoutError):
            return False


class StateInUse(errors.CannotStart):
    """Another gateway has the state directory."""

    letta = ""
    """The address of its App Server; empty if it tells none."""


def in_use(state: Path, holder: Holder | None, answers: bool) -> StateInUse:
    """The error of a directory that another gateway has: `holder`, where that tells who it is; `answers` if it does."""
    who = f": {holder}" if holder else ""
    if holder and holder.address:
        who += ", which answers" if answers else ", which does not answer"
    error = StateInUse(f"Another gateway uses the state directory {state}{who}")
    error.letta = holder.letta if holder else ""
    return error


class StateLock:
    """The lock of a state directory, while it is held; a child that is given `file` holds it, too."""

    def __init__(self, file: int) -> None:
        self.file = file
        self._holder = Holder(os.getpid())
        self.tell()

    def tell(self, **known: str) -> None:
        """Tell who comes meanwhile what is known of this gateway, as a field of Holder's each."""
        self._holder = msgspec.structs.replace(self._holder, **known)
        words = msgspec.json.encode(self._holder)
        os.pwrite(self.file, words, 0)
        os.ftruncate(self.file, len(words))

    def release(self) -> None:
        os.ftruncate(self.file, 0)
        os.close(self.file)


async def take_lock(state: Path) -> StateLock:
    """Take the lock of this directory; waits for a gateway that does not answer, for it may be about to end.

    Raises StateInUse, OSError.
    """
    import fcntl  # Not on Windows.

    file = os.open(state / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    deadline, told = asyncio.get_running_loop().time() + LOCK_SECONDS, False
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return StateLock(file)
        except BlockingIOError:
            holder = _read_holder(file)
        answers = await holder.answers() if holder else False
        if answers or asyncio.get_running_loop().time() > deadline:
            os.close(file)
            raise in_use(state, holder, answers)
        if not told:
            who = holder or "an earlier version"
            logger.warning("%s has the state directory %s, and gets %.0f s to end", who, state, LOCK_SECONDS)
            told = True
        await asyncio.sleep(LOCK_LOOK_SECONDS)


async def find_holder(state: Path) -> StateInUse | None:
    """The gateway that has this directory now, if it tells who it is; the directory need not be there."""
    try:
        file = os.open(state / "lock", os.O_RDONLY)
    except OSError:
        return None
    try:
        holder = _read_holder(file)
    finally:
        os.close(file)
    return in_use(state, holder, True) if holder and await holder.answers() else None


def _read_holder(file: int) -> Holder | None:
    """The holder, in as far as it has told; None for an older version, which tells nothing."""
    try:
        return msgspec.json.decode(os.pread(file, MAX_BYTES, 0), type=Holder)
    except msgspec.DecodeError:
        return None
