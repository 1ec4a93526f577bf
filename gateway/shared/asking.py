"""The words of those who ask a Redis. Performs no I/O."""

import hashlib

from msgspec import Struct


class Away(Exception):
    """Redis does not answer, or does not take what it is told; the text, for the log, says why."""


class Script(Struct, frozen=True):
    """A script that Redis carries out at once, whatever others do.

    With `#!lua flags=allow-oom` before it, it is carried out by a Redis that is full, too.
    https://redis.io/docs/latest/develop/programmability/eval-intro/
    """

    text: str
    digest: str

    @classmethod
    def of(cls, text: str) -> "Script":
        return cls(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
