"""The headers of a request that say who asks, where it belongs and what it is: each once, as text."""

from collections.abc import Iterator

from litestar.datastructures import Headers

from gateway.domain.errors import AmbiguousHeader
from gateway.settings import Key
from gateway.turns.people.identity import CHAT_HEADERS, EMAIL_HEADER, NAME_HEADER
from gateway.turns.people.readings import as_text
from gateway.turns.runs.resend import IDEMPOTENCY_HEADER, RETRY_HEADER


def read_headers(key: Key, headers: Headers) -> dict[str, str]:
    """By their lower-case names. Raises AmbiguousHeader for one that comes twice: which is true cannot be told."""
    found = {}
    for name in _names(key):
        values = headers.getall(name, [])
        if len(values) > 1:
            raise AmbiguousHeader(name)
        if values:
            found[name] = as_text(values[0].encode("latin-1"))
    return found


def _names(key: Key) -> Iterator[str]:
    """All that a request of this key may tell in a header."""
    yield from (source.name for source in key.user_from if source.kind != "body")
    yield from (NAME_HEADER, EMAIL_HEADER, *CHAT_HEADERS, IDEMPOTENCY_HEADER, RETRY_HEADER)
    named = (key.task_header, key.message_id_header, key.user_message_id_header, key.parent_id_header)
    yield from (name.lower() for name in named)
