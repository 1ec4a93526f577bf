"""The headers of a request that name its user, its chat and its kind: each may come once, and is read as text."""

from collections.abc import Mapping

from litestar.datastructures import Headers

from gateway.domain.errors import AmbiguousHeader, InvalidRequest
from gateway.domain.request import Resend
from gateway.frontends import headers as frontends
from gateway.frontends.header_text import as_text
from gateway.settings import Key

# In it OpenAI's SDK says how often it has sent the request before: https://github.com/openai/openai-python
RETRY_HEADER = "x-stainless-retry-count"
IDEMPOTENCY_HEADER = "idempotency-key"
LONGEST_IDEMPOTENCY_KEY = 512


def read_headers(key: Key, headers: Headers) -> dict[str, str]:
    """The headers that count, by their lower-case names: `{"x-task": ""}`.

    Raises AmbiguousHeader for one that comes twice: which of the two is true cannot be told.
    """
    found = {}
    for name in (*frontends.names(key), IDEMPOTENCY_HEADER, RETRY_HEADER):
        values = headers.getall(name, [])
        if len(values) > 1:
            raise AmbiguousHeader(name)
        if values:
            found[name] = as_text(values[0].encode("latin-1"))
    return found


def read_accepted(headers: Headers) -> str:
    """The encodings that the client takes an answer in, of all lines of that header: `gzip, br;q=0.5`; may be empty."""
    return ",".join(headers.getall("accept-encoding", []))


def read_resend(headers: Mapping[str, str]) -> Resend:
    """How the request says that it was sent before. Raises InvalidRequest for an idempotency key that is too long."""
    named, tries = headers.get(IDEMPOTENCY_HEADER, ""), headers.get(RETRY_HEADER)
    if len(named) > LONGEST_IDEMPOTENCY_KEY:
        problem = f"`{IDEMPOTENCY_HEADER}` is longer than {LONGEST_IDEMPOTENCY_KEY} characters."
        raise InvalidRequest(problem, IDEMPOTENCY_HEADER)
    # A count that is no number says, too, that the request was sent before.
    return Resend(named, None if tries is None else int(tries not in ("", "0")))
