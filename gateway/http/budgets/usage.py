"""`GET /v1/usage`: what the caller has used today and this month, and what remains of the limits."""

from typing import Literal

from litestar import Request, get
from litestar.datastructures import State
from msgspec import Struct

from gateway.domain.errors import InvalidRequest
from gateway.domain.request import Request as NeutralRequest
from gateway.frontends.reading import read_named
from gateway.http.incoming.headers import read_headers
from gateway.http.incoming.tokens import read_claims
from gateway.http.parts import admit, parts_of
from gateway.limits.counters import Payer, Spent
from gateway.limits.gate import Standing
from gateway.limits.periods import at, begin_of_day, begin_of_month, day_of, month_of, next_day, next_month
from gateway.limits.refusals import LimitName, Scope
from gateway.settings import Key, Settings
from gateway.turns.chats.markers import user_digest
from gateway.turns.people.identity import identify


class UsedTokens(Struct, frozen=True):
    """The use within a time, in the words of OpenAI's own usage.

    https://developers.openai.com/api/reference/resources/admin/subresources/organization/subresources/usage
    """

    start_time: int
    """The begin of the time, in seconds since 1970 (UTC)."""
    end_time: int
    answers: int
    input_tokens: int
    output_tokens: int
    total_tokens: int
    estimated_tokens: int
    """The part of the total that Letta has not told, as of an answer that was stopped."""


class LimitObject(Struct, frozen=True):
    """One limit, of the caller's own (`user`) or of all who use the key (`key`)."""

    scope: Scope
    name: LimitName
    limit: int
    remaining: int
    reset_seconds: float
    """The seconds until all of it remains; 0 for answers under way."""


class Usage(Struct, frozen=True):
    """The body of the answer."""

    today: UsedTokens
    month: UsedTokens
    limits: list[LimitObject]
    counted_since: int | None
    """The moment from which on is counted, where nothing is kept over a restart; else null."""
    object: Literal["usage"] = "usage"


@get("/v1/usage", name="tell_usage")
async def tell_usage(request: Request[None, None, State]) -> Usage:
    """Tell the caller's own usage: nobody else's can be asked for."""
    parts = parts_of(request)
    key = admit(request).key
    person, gate = _person(request, parts.settings, key), parts.gate
    now = at(gate.clock())
    today = await gate.spent(Payer(key.name, person), day_of(now))
    month = await gate.spent(Payer(key.name, person), month_of(now))
    since = gate.counters.since
    return Usage(
        _used(today, begin_of_day(now).timestamp(), next_day(now).timestamp()),
        _used(month, begin_of_month(now).timestamp(), next_month(now).timestamp()),
        [_limit(standing) for standing in await gate.standings(key, person)],
        int(since.timestamp()) if since else None,
    )


def _person(request: Request[None, None, State], settings: Settings, key: Key) -> str:
    """The digest of the user whom the request names, as its key takes it: by header, by token, or as `?user=`.

    Raises InvalidRequest for a name that comes twice, and what `identify` raises.
    """
    headers = read_headers(key, request.headers)
    users = {}
    for source in key.user_from if key.user is None else ():
        if source.kind == "body" and (values := request.query_params.getall(source.name, [])):
            if len(values) > 1:
                raise InvalidRequest(f"`{source.name}` came more than once: expected it once.", source.name)
            users[source.name] = values[0]
    nothing_asked = NeutralRequest(model="", messages=(), users=users)
    named = read_named(key, headers, nothing_asked, read_claims(key, headers))
    user = identify(key, named, settings.former_scope(key)).user
    return user_digest(user.scope, user.id)


def _used(spent: Spent, start: float, end: float) -> UsedTokens:
    return UsedTokens(int(start), int(end), spent.answers, spent.prompt, spent.completion, spent.total, spent.estimated)


def _limit(standing: Standing) -> LimitObject:
    return LimitObject(
        standing.scope, standing.limit, standing.allowed, standing.remaining, round(standing.resets_after, 3)
    )
