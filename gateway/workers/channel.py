"""The channel between the gateway's parent process and one of its workers: JSON, a line for each word, both ways.

Either side asks and tells. It ends when either process does, however that dies.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

logger = logging.getLogger(__name__)
# Thousands of metrics come in one line, and so do all settings.
MAX_LINE_BYTES = 256 * 1024 * 1024
_NOTHING = Raw(b"null")

Hear = Callable[[Raw], Awaitable[object]]
"""A callback that takes the content of a word; what it gives is the answer, if the other side has asked."""


class Unheard(Exception):
    """A question has no answer: the other side has gone, is too slow, or failed; the text says which."""


class Word(Struct, frozen=True, omit_defaults=True):
    """A line: `Word("numbers", asks=7)` is a question, `Word(answers=7, content=…)` is its answer."""

    kind: str = ""
    asks: int = 0
    """The number of a question; 0 is told, and has no answer."""
    answers: int = 0
    """The number of the question that it answers."""
    content: Raw = _NOTHING
    error: str = ""
    """The reason why an answer has no content; empty if it has."""


_decode = msgspec.json.Decoder(Word).decode
_encode = msgspec.json.Encoder().encode


class Channel:
    """One end of a channel; `hear` has a callback for each kind of word that may come."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hear: Mapping[str, Hear]) -> None:
        self._reader = reader
        self._writer = writer
        self._hear = hear
        self._asked: dict[int, asyncio.Future[Raw]] = {}
        self._numbers = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def over(cls, ours: socket.socket, hear: Mapping[str, Hear]) -> "Channel":
        """The end of a channel that is this socket, one of a pair."""
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=MAX_LINE_BYTES)
        return cls(reader, writer, hear)

    def tell(self, kind: str, content: object = None) -> None:
        """Say something, and do not wait; it is lost where the other side has gone."""
        self._say(Word(kind, content=Raw(_encode(content))))

    async def ask(self, kind: str, content: object = None, seconds: float | None = None) -> Raw:
        """The answer to a question, awaited for so many seconds, or for as long as the channel stands.

        Raises Unheard.
        """
        if self._reading.done():
            raise Unheard("it has gone")
        self._numbers += 1
        number = self._numbers
        answer: asyncio.Future[Raw] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        self._say(Word(kind, asks=number, content=Raw(_encode(content))))
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            raise Unheard(f"no answer in {seconds:g} s") from None
        finally:
            self._asked.pop(number, None)

    async def wait_closed(self) -> None:
        """Return once the other side has gone."""
        await asyncio.wait([self._reading])

    async def aclose(self) -> None:
        """Go; the other side hears of that."""
        self._reading.cancel()
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.wait([self._reading, *self._tasks])
        self._writer.close()

    def _say(self, word: Word) -> None:
        if not self._writer.is_closing():
            self._writer.write(_encode(word) + b"\n")

    async def _read(self) -> None:
        try:
            # A process that was killed may have said half of a line.
            while (line := await self._reader.readline()).endswith(b"\n"):
                self._take(_decode(line))
        except OSError:
            pass
        finally:
            for answer in self._asked.values():
                if not answer.done():
                    answer.set_exception(Unheard("it has gone"))
                    # Who has asked may have gone meanwhile.
                    answer.exception()

    def _take(self, word: Word) -> None:
        if not word.answers:
            task = asyncio.create_task(self._answer(word))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif (answer := self._asked.get(word.answers)) and not answer.done():
            if word.error:
                answer.set_exception(Unheard(word.error))
            else:
                answer.set_result(word.content)

    async def _answer(self, word: Word) -> None:
        try:
            content = Raw(_encode(await self._hear[word.kind](word.content)))
        except Unheard as error:
            self._say(Word(answers=word.asks, error=str(error)))
        except Exception as error:
            # A bug; the other side must not wait for ever.
            logger.exception("a word of the gateway's own could not be heard: %s", word.kind)
            self._say(Word(answers=word.asks, error=type(error).__name__))
        else:
            if word.asks:
                self._say(Word(answers=word.asks, content=content))


def read(content: Raw, kind: type[Any]) -> Any:
    """The content of a word, as what it was."""
    return msgspec.json.decode(content, type=kind)
