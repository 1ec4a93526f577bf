"""Checks of JSON Schemas, and of answers against them, in a process that is ended when it takes too long.

A simple schema is checked at once, in this process.
"""

import asyncio
import logging
import sys
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from gateway.domain.cache import Cache
from gateway.domain.errors import InvalidRequest
from gateway.domain.json_format import JsonFormat
from gateway.domain.request import ClientTools
from gateway.turns.runs.judge import FITS, NO_SCHEMA, main

logger = logging.getLogger(__name__)
JUDGE = Path(__file__).with_name("judge.py")
# The longest time that judging an answer may take; most take a tenth of a second, nearly all of it to begin.
JUDGE_SECONDS = 10.0
# The most answers and schemas that are judged at one time.
JUDGES = 4
KNOWN_SCHEMAS = 10_000
# The most work that is judged in this process: the bytes of the schema times those of the answer. It holds only for a
# schema that says no more than it has letters (see NOT_SIMPLE).
SIMPLE = 100_000_000
# The least length that an answer counts for: to read a schema takes longer than to use it.
LEAST_ANSWER = 1_000
# References and patterns: a few letters of these may stand for much work.
NOT_SIMPLE = (b'"$', b'"pattern')


def is_simple(schema: bytes, answer: bytes) -> bool:
    """True if the schema and the answer are judged sooner than a process could begin."""
    work = len(schema) * max(len(answer), LEAST_ANSWER)
    return work <= SIMPLE and not any(word in schema for word in NOT_SIMPLE)


class Schemas:
    """Judges schemas, each once, and answers; `seconds` is the longest time for one."""

    def __init__(self, seconds: float = JUDGE_SECONDS) -> None:
        self.seconds = seconds
        self._judges = asyncio.Semaphore(JUDGES)
        self._known: Cache[bytes, bool] = Cache(KNOWN_SCHEMAS)
        """Digest of a schema → True if it is a JSON Schema."""

    async def check(self, json: JsonFormat | None) -> None:
        """Check the schema of an answer's form, if there is one.

        Raises InvalidRequest if it is no JSON Schema, or if judging it takes too long.
        """
        if json and json.schema is not None and not await self._is_one(json.schema):
            raise InvalidRequest(f"`{json.schema_place}` is not a JSON Schema.", json.place)

    async def check_strict(self, tools: ClientTools) -> None:
        """Check the parameters of `strict` functions. Raises InvalidRequest as `check` does."""
        for tool in tools.tools:
            if not tool.strict:
                continue
            # Each takes little time, but a thousand take long: let others run between them.
            await asyncio.sleep(0)
            if not await self._is_one(tool.parameters):
                raise InvalidRequest(
                    f"`{tool.place}`: the parameters of `{tool.name}` are not a JSON Schema.", tool.place
                )

    async def _is_one(self, told: dict[str, Any]) -> bool:
        schema = msgspec.json.encode(told)
        digest = sha256(schema).digest()
        is_one = self._known.get(digest)
        if is_one is None:
            is_one = await self._judge(schema) == FITS
            self._known.put(digest, is_one)
        return is_one

    async def fits(self, json: JsonFormat, answer: str) -> bool:
        """True if an answer, which must be JSON, matches the schema, or there is no schema."""
        if json.schema is None:
            return True
        return await self._judge(msgspec.json.encode(json.schema), answer.encode()) == FITS

    async def _judge(self, schema: bytes, answer: bytes = b"") -> int:
        if is_simple(schema, answer):
            return main(schema, answer)
        async with self._judges:
            judge = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # without its folder on the path: files there have names of the standard library's
                str(JUDGE),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            try:
                async with asyncio.timeout(self.seconds):
                    await judge.communicate(schema + b"\n" + answer)
                    return await judge.wait()
            except TimeoutError:
                logger.warning("a JSON Schema was not judged within %g s", self.seconds)
                return NO_SCHEMA
            finally:
                with suppress(ProcessLookupError):
                    judge.kill()
                await judge.wait()
