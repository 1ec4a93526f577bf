"""The owners of responses and conversations: a call about one by its id has no body, and may name no user."""

from typing import Any

import msgspec
from litestar import Request

from gateway.domain.errors import NotFoundHere
from gateway.domain.places import short_digest
from gateway.domain.request import Request as NeutralRequest
from gateway.frontends.reading import read_named
from gateway.http.asking import Asker
from gateway.http.incoming.tokens import read_claims
from gateway.settings import AgentType
from gateway.turns.chats.markers import user_digest
from gateway.turns.people.identity import User, identify

NOTHING_ASKED = NeutralRequest(model="", messages=())
# The fields that may name the user: of a body, and of the query of a call that has none.
WHO_ASKS = ("user", "safety_identifier")


def naming(users: dict[str, str]) -> NeutralRequest:
    """A request that says nothing but who asks, by the fields that name them."""
    return msgspec.structs.replace(NOTHING_ASKED, users=users)


def in_query(request: Request[Any, Any, Any]) -> dict[str, str]:
    """The users that the query of a request names, by its fields."""
    return {name: value for name in WHO_ASKS if (value := request.query_params.get(name))}


def user_of(asker: Asker, asked: NeutralRequest = NOTHING_ASKED, needed: bool = False) -> User | None:
    """The user whom a request names by header, token, binding or body; None if it names none, and need not.

    A key whose users come by a body may name anybody there: so the id alone says whose it is, unless a user is
    `needed`. Raises UserRequired for a request of any other key that names none, and what `identify` raises.
    """
    key, settings = asker.key, asker.parts.settings
    named = read_named(key, asker.named, asked, read_claims(key, asker.named))
    by_body = key.user is None and key.user_means == "person" and any(one.kind == "body" for one in key.user_from)
    if by_body and not named.users and not needed:
        return None
    return identify(key, named, settings.former_scope(key)).user


def check_owner(
    asker: Asker, owner: str, scope: str, missing: NotFoundHere, asked: NeutralRequest = NOTHING_ASKED
) -> User | None:
    """Return the user who asks, if they may have what belongs to the one with the digest `owner`; None as `user_of`.

    An id of nobody's is for whoever has the key. Raises `missing`, UserRequired.
    """
    user = user_of(asker, asked)
    if scope != short_digest(asker.key.user_scope) or (user and owner and owner != user_digest(user.scope, user.id)):
        raise missing
    return user


def type_at(asker: Asker, digest: str, missing: NotFoundHere) -> AgentType:
    """The agent type of a place, if the key may use it. Raises `missing`."""
    for agent_type in asker.parts.settings.types_for(asker.key):
        if short_digest(agent_type.id) == digest:
            return agent_type
    raise missing
