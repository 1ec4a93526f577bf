"""The signatures of tokens (JWT). The only module that knows PyJWT; it is imported where some key takes tokens."""

from typing import Any

import jwt

from gateway.domain.errors import InvalidUserToken

# https://docs.openwebui.com/reference/env-configuration#forward_user_info_header_jwt_secret
ISSUER = "open-webui"
ALGORITHMS = ["HS256"]
LEEWAY_SECONDS = 30


def verified(token: str, secret: str, header: str) -> dict[str, Any]:
    """The claims of the token in this header. Raises InvalidUserToken, which does not repeat it."""
    try:
        return jwt.decode(
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
