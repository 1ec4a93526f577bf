"""The command `letta-gateway key`: makes a key, or tells the digest of one, for a configuration that holds no key."""

import secrets
from collections.abc import Iterator
from datetime import date

from gateway.settings import digest_of

# As OpenAI's keys begin, which some clients look for; then 256 random bits.
PREFIX, RANDOM_BYTES = "sk-gw-", 32


def new_key() -> str:
    """A key that nobody can guess: `sk-gw-` and 43 characters."""
    return PREFIX + secrets.token_urlsafe(RANDOM_BYTES)


def tell_new(key: str, expires: date | None) -> Iterator[str]:
    """The lines about a key that was just made."""
    yield "The key, which is shown this once:"
    yield ""
    yield f"  {key}"
    yield ""
    yield "For its entry in [[keys]] of the configuration, beside others that stand there:"
    yield ""
    yield f"  {hash_line(key, expires)}"


def hash_line(key: str, expires: date | None) -> str:
    """The line of a configuration by which a key is known: `sha256 = ["9f86…"]`."""
    digest = digest_of(key.encode())
    value = f'"{digest}"' if expires is None else f'{{ hash = "{digest}", expires = {expires.isoformat()} }}'
    return f"sha256 = [{value}]"
