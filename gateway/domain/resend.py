"""What a client says of a request that it may have sent before. Performs no I/O."""

from msgspec import Struct


class Resend(Struct, frozen=True):
    """How a request says that it was sent before: `Resend("order-7", tries=1)`."""

    idempotency_key: str = ""
    """The client's own name for the request; empty if it has none."""
    tries: int | None = None
    """How often the client says it has sent the request before; None if it does not count."""


NEVER_SENT = Resend()
