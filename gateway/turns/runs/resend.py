"""Whether a request was sent before. Performs no I/O."""

from hashlib import sha256

import msgspec
from msgspec import Struct

from gateway.domain.request import Resend
from gateway.settings import Key
from gateway.turns.turn import Turn


class Sent(Struct, frozen=True):
    """What tells whether a request was sent before."""

    request: str = ""
    """Stands for its key, user, chat, model, ids and messages."""
    idempotency_key: str = ""
    """The client's own name for it, with its key and user; empty if it has none."""
    again: bool = False
    """Whether the client says that it sends it again."""
    may_come_again: bool = False
    """Whether its client tells such requests apart, so that its answer is worth keeping."""
    alive: bool = False
    """Whether it names its messages: the same request is the same turn while that is under way."""

    @property
    def names(self) -> list[str]:
        """What it is known by."""
        return [name for name in (self.request, self.idempotency_key) if name]


NEW = Sent()


def to_sent(key: Key, resend: Resend, turn: Turn, body: bytes) -> Sent:
    caller, ids = turn.caller, turn.ids
    who = [key.name, caller.user.scope, caller.user.id]
    what = [caller.chat, turn.agent_type.id, ids.answer, ids.user, ids.parent, sha256(body).hexdigest()]
    return Sent(
        request=_digest([*who, *what]),
        idempotency_key=_digest([*who, resend.idempotency_key]) if resend.idempotency_key else "",
        again=bool(resend.tries),
        may_come_again=bool(resend.idempotency_key) or resend.tries is not None,
        alive=ids.answer is not None and ids.user is not None,
    )


def _digest(parts: list[str | None]) -> str:
    return sha256(msgspec.json.encode(parts)).hexdigest()
