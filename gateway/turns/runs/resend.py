"""The names by which a request that is sent again is recognized. Performs no I/O."""

from hashlib import sha256

import msgspec
from msgspec import Struct

from gateway.domain.request import Resend
from gateway.settings import Key
from gateway.turns.turn import Turn


class Sent(Struct, frozen=True):
    """The names of a request, and what its client tells of sending it again; `Sent()` is new, and has no name."""

    request: str = ""
    """The digest of its key, user, chat, model, ids and messages."""
    idempotency_key: str = ""
    """The digest of the client's own name for it, with its key and user; empty if it has none."""
    again: bool = False
    """True: the client says that it sends the request again."""
    may_come_again: bool = False
    """True: its client marks requests that it sends again, so its answer is worth keeping."""
    alive: bool = False
    """True: it names its messages by ids, so the same request is the same turn while that turn is under way."""
    may_be_missed: bool = False
    """True: its run goes on without its client, and answers the same request if nobody has had the answer."""
    response: str = ""
    """The name of its response (`name_of_response`); empty if nobody can ask for that."""

    @property
    def again_names(self) -> list[str]:
        """The names by which the request is known: `request` and `idempotency_key`, if they are not empty."""
        return [name for name in (self.request, self.idempotency_key) if name]

    @property
    def names(self) -> list[str]:
        """All names by which its run is known; what decides if it is sent again comes last."""
        return [self.response, *self.again_names] if self.response else self.again_names


NEW = Sent()


def name_of_response(turn_id: str, part: str = "") -> str:
    """The name by which the run of a turn, or of a part of one, is known to those who ask for its response."""
    return f"response:{turn_id}{part}"


def response_of(turn: Turn) -> str:
    """The name of the response to a turn; empty for one that nobody can ask for."""
    return name_of_response(turn.id, turn.part) if turn.id and turn.keeps else ""


def to_sent(key: Key, resend: Resend, turn: Turn, body: bytes, background: bool = False) -> Sent:
    """The names of the request with this body, which asks for `turn`.

    One in the `background` misses nothing when it leaves, and asks anew with each request alike.
    """
    caller, ids = turn.caller, turn.ids
    who = [key.name, caller.user.scope, caller.user.id]
    what = [caller.chat, turn.agent_type.id, ids.answer, ids.user, ids.parent, sha256(body).hexdigest()]
    return Sent(
        request=_digest([*who, *what]),
        idempotency_key=_digest([*who, resend.idempotency_key]) if resend.idempotency_key else "",
        again=bool(resend.tries),
        may_come_again=bool(resend.idempotency_key) or resend.tries is not None,
        alive=ids.answer is not None and ids.user is not None,
        may_be_missed=turn.outlives and not background,
        response=response_of(turn),
    )


def _digest(parts: list[str | None]) -> str:
    return sha256(msgspec.json.encode(parts)).hexdigest()
