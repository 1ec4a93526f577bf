"""Signed tokens (JWT) that name the user: verifies the header of a `jwt:` source. The only module that knows PyJWT."""

from collections.abc import Mapping

import jwt

from gateway.domain.errors import InvalidUserToken
from gateway.domain.halves import whole
from gateway.domain.named import Claims
from gateway.frontends.headers import read_header
from gateway.settings import Key

# https://docs.openwebui.com/reference/env-configuration#forward_user_info_header_jwt_secret
ISSUER = "open-webui"
ALGORITHMS = ["HS256"]
LEEWAY_SECONDS = 30


def read_claims(key: Key, headers: Mapping[str, str]) -> Claims | None:
    """The claims of the request's token; None if it has none. Raises InvalidUserToken, which does not repeat it."""
    if key.jwt_secret is None:
        return None
    for source in key.user_from:
        if source.kind == "jwt" and (token := read_header(headers, source.name)):
            return _verified(token, key.jwt_secret.reveal(), source.name)
    return None


def _verified(token: str, secret: str, header: str) -> Claims:
    try:
        said = jwt.decode(
            token,
            secret,
            algorithms=ALGORITHMS,
            issuer=ISSUER,
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "iss", "sub"]},
        )
    except jwt.ExpiredSignatureError:
        raise InvalidUserToken(f"The token in the header `{header}` has expired.") from None
    except jwt.InvalidTokenError:
        raise InvalidUserToken(f"The header `{header}` holds no token that this key's secret has signed.") from None
    return Claims(whole(said["sub"]), _text(said.get("name")), _text(said.get("email")))


def _text(claim: object) -> str:
    return whole(claim) if isinstance(claim, str) else ""
