"""The key that a request carries, found among those of the settings."""

import hmac

from litestar.datastructures import Headers

from gateway.domain.errors import AmbiguousHeader, Forbidden, InvalidApiKey
from gateway.settings import OPEN_KEY, Key, Settings


def authenticate(settings: Settings, headers: Headers) -> Key:
    """The key of a request.

    Raises InvalidApiKey, AmbiguousHeader if more than one came, or Forbidden if the request comes from a web page
    (`Origin`) that may use another key only.
    """
    if settings.open:
        return OPEN_KEY
    shown = headers.getall("authorization", [])
    values = [value for value in map(_bearer, shown) if value]
    if not values:
        raise InvalidApiKey("You didn't provide an API key: send the header `Authorization: Bearer KEY`.")
    key = next((found for value in values if (found := _match(settings, value))), None)
    if key is None:
        raise InvalidApiKey("Incorrect API key provided.")
    if len(shown) > 1:
        raise AmbiguousHeader("authorization")
    for origin in headers.getall("origin", []):
        if origin not in key.origins and origin in all_origins(settings):
            raise Forbidden("This key may not be used from this origin.", code="origin_not_allowed")
    return key


def all_origins(settings: Settings) -> list[str]:
    """The origins of all web pages that may use some key: `["https://chat.example.org"]`."""
    return sorted({origin for key in settings.keys for origin in key.origins})


def _bearer(authorization: str) -> str:
    """The key in a header `Authorization: Bearer KEY`; empty if it holds none."""
    scheme, _, value = authorization.partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


def _match(settings: Settings, value: str) -> Key | None:
    """The key with this value; None if there is none. Every key is compared, each in constant time."""
    found, shown = None, value.encode("latin-1")
    for key in settings.keys:
        if key.key is not None and hmac.compare_digest(key.key.reveal().encode(), shown):
            found = key
    return found
