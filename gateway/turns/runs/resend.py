"""Whether a request was sent before. Performs no I/O."""

from collections.abc import Mapping
from hashlib import sha256

import msgspec
from msgspec import Struct

from gateway.domain.errors import InvalidRequest
from gateway.settings import Key
from gateway.turns.people.identity import MAX_ID_LENGTH
from gateway.turns.turn import Turn

# https://github.com/openai/openai-python: how often the SDK has sent the request before.
RETRY_HEADER = "x-stainless-retry-count"
IDEMPOTENCY_HEADER = "idempotency-key"


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


def to_sent(key: Key, headers: Mapping[str, str], turn: Turn, body: bytes) -> Sent:
    """Raises InvalidRequest for an idempotency key that is too long."""
    caller, ids, retries = turn.caller, turn.ids, headers.get(RETRY_HEADER)
    named = headers.get(IDEMPOTENCY_HEADER, "")
    if len(named) > MAX_ID_LENGTH:
        raise InvalidRequest(f"`{IDEMPOTENCY_HEADER}` is longer than {MAX_ID_LENGTH} characters.", IDEMPOTENCY_HEADER)
    who = [key.name, caller.user.scope, caller.user.id]
    what = [caller.chat, turn.agent_type.id, ids.answer, ids.user, ids.parent, sha256(body).hexdigest()]
    return Sent(
        request=_digest([*who, *what]),
        idempotency_key=_digest([*who, named]) if named else "",
        again=retries not in (None, "", "0"),
        may_come_again=bool(named) or retries is not None,
        alive=ids.answer is not None and ids.user is not None,
    )


def _digest(parts: list[str | None]) -> str:
    return sha256(msgspec.json.encode(parts)).hexdigest()
