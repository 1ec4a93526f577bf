"""Which key a request carries."""

import hmac

from gateway.openai_wire.errors import Forbidden, InvalidApiKey
from gateway.settings import OPEN_KEY, Key, Settings


def authenticate(settings: Settings, authorization: str | None, origin: str | None) -> Key:
    """The key of a request. Raises InvalidApiKey, or Forbidden for a key that a web page elsewhere may use only."""
    if settings.open:
        return OPEN_KEY
    scheme, _, value = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not value.strip():
        raise InvalidApiKey("You didn't provide an API key: send the header `Authorization: Bearer KEY`.")
    key = _match(settings, value.strip())
    if key is None:
        raise InvalidApiKey("Incorrect API key provided.")
    if origin is not None and origin not in key.origins and origin in all_origins(settings):
        raise Forbidden("This key may not be used from this origin.", code="origin_not_allowed")
    return key


def all_origins(settings: Settings) -> list[str]:
    """The web pages that may use some key."""
    return sorted({origin for key in settings.keys for origin in key.origins})


def _match(settings: Settings, value: str) -> Key | None:
    """The key with this value; every key is compared, each in constant time."""
    found = None
    for key in settings.keys:
        if key.key is not None and hmac.compare_digest(key.key.reveal().encode(), value.encode()):
            found = key
    return found
