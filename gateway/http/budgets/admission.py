"""The way of a request through the gate: past the limits of its key and user, until its answer is over."""

from collections.abc import Awaitable, Callable
from typing import cast

from litestar.types import ASGIApp, Receive, Scope, Send

from gateway.http.record import Record
from gateway.limits.gate import Admission, Gate
from gateway.limits.refusals import LimitReached
from gateway.settings import Key
from gateway.turns.chats.markers import user_digest
from gateway.turns.people.identity import User


async def let_in(
    gate: Gate, key: Key, user: User | None, record: Record, background_per_hour: int | None = None
) -> Admission:
    """Let a new run of a user in; without a user, a background task that a plain model answers.

    `background_per_hour`: the run goes on in the background, of which the user may begin so many within an hour.
    Raises LimitReached, and has the record name the limit.
    """
    try:
        if user is None:
            return await gate.admit_task(key)
        return await gate.admit(key, user_digest(user.scope, user.id), background_per_hour)
    except LimitReached as error:
        record.limit = error.limit
        raise


def until_over(response: ASGIApp, leave: Callable[[], Awaitable[None]]) -> ASGIApp:
    """The response, after which its admission is left: it is complete, or its client has gone."""

    async def counted(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await response(scope, receive, send)
        finally:
            await leave()

    return cast(ASGIApp, counted)
