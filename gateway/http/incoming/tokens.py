"""Signed tokens (JWT) that name the user: reads the header of a `jwt:` source."""

from collections.abc import Mapping

from gateway.domain.named import Claims
from gateway.domain.texts.halves import whole
from gateway.frontends.headers import read_header
from gateway.settings import Key


def read_claims(key: Key, headers: Mapping[str, str]) -> Claims | None:
    """The claims of the request's token; None if it has none. Raises InvalidUserToken, which does not repeat it."""
    if key.jwt_secret is None:
        return None
    for source in key.user_from:
        if source.kind == "jwt" and (token := read_header(headers, source.name)):
            from gateway.http.incoming.signatures import verified  # at the start (choices.py), unless no key needs it

            said = verified(token, key.jwt_secret.reveal(), source.name)
            return Claims(whole(said["sub"]), _text(said.get("name")), _text(said.get("email")))
    return None


def _text(claim: object) -> str:
    return whole(claim) if isinstance(claim, str) else ""
