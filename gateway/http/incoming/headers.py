"""The headers of a request that say who asks, where it belongs and what it is: each once, as text."""

from collections.abc import Mapping

from litestar.datastructures import Headers

from gateway.domain.errors import AmbiguousHeader, InvalidRequest
from gateway.domain.request import Resend
from gateway.frontends import headers as frontends
from gateway.frontends.header_text import as_text
from gateway.settings import Key

# https://github.com/openai/openai-python: how often the SDK has sent the request before.
RETRY_HEADER = "x-stainless-retry-count"
IDEMPOTENCY_HEADER = "idempotency-key"
LONGEST_IDEMPOTENCY_KEY = 512


def read_headers(key: Key, headers: Headers) -> dict[str, str]:
    """By their lower-case names. Raises AmbiguousHeader for one that comes twice: which is true cannot be told."""
    found = {}
    for name in (*frontends.names(key), IDEMPOTENCY_HEADER, RETRY_HEADER):
        values = headers.getall(name, [])
        if len(values) > 1:
            raise AmbiguousHeader(name)
        if values:
            found[name] = as_text(values[0].encode("latin-1"))
    return found


def read_resend(headers: Mapping[str, str]) -> Resend:
    """What a request says of having been sent before. Raises InvalidRequest for an idempotency key that is too long."""
    named, tries = headers.get(IDEMPOTENCY_HEADER, ""), headers.get(RETRY_HEADER)
    if len(named) > LONGEST_IDEMPOTENCY_KEY:
        problem = f"`{IDEMPOTENCY_HEADER}` is longer than {LONGEST_IDEMPOTENCY_KEY} characters."
        raise InvalidRequest(problem, IDEMPOTENCY_HEADER)
    # Whatever is no number says that it was sent before, too.
    return Resend(named, None if tries is None else int(tries not in ("", "0")))
