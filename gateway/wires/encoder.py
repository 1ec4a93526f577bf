"""`Encoder`: what each wire makes of the narrator's sayings. Performs no I/O."""

from collections.abc import Iterable
from typing import Protocol

from msgspec import Struct

from gateway.domain.errors import GatewayError
from gateway.wires.sayings import Saying


class Encoder(Protocol):
    """Writes one answer in a wire's format, as it comes or whole."""

    def begin(self) -> bytes:
        """The bytes that begin a stream, whatever is said; empty where the wire has none."""
        ...

    def encode(self, sayings: Iterable[Saying]) -> bytes:
        """The bytes of the sayings that follow those before; empty where the wire has no word for them."""
        ...

    def fail(self, error: GatewayError) -> bytes:
        """The bytes that end a stream with an error."""
        ...

    def end(self) -> bytes:
        """The bytes that end a stream that went well."""
        ...

    def whole(self, sayings: Iterable[Saying]) -> Struct:
        """The body of an answer that comes whole, of which these are all the sayings."""
        ...
