"""The refusals of limits, in words for the person in the chat. Performs no I/O.

GatewayError
  LimitReached        429 what is common to them
    TooManyRequests   429 rate_limit_exceeded
    TooManyStreams    429 rate_limit_exceeded
    TooManyBackground 429 rate_limit_exceeded
    BudgetSpent       429 insufficient_quota
"""

from datetime import datetime
from http import HTTPStatus
from typing import Literal

from gateway.domain.errors import RETRY_AFTER_SECONDS, GatewayError
from gateway.limits.periods import whole_seconds

SECONDS_A_MINUTE = 60
Scope = Literal["user", "key"]
LimitName = Literal["requests_per_minute", "streams", "tokens_per_day", "tokens_per_month", "background_per_hour"]


class LimitReached(GatewayError):
    """A limit of the key, or of its user, is reached."""

    status_code = HTTPStatus.TOO_MANY_REQUESTS
    # OpenAI's `type` of an error says what was limited: https://developers.openai.com/api/docs/guides/rate-limits
    type = "requests"
    code = "rate_limit_exceeded"

    def __init__(self, scope: Scope, limit: LimitName, message: str, retry_after: str) -> None:
        super().__init__(message)
        self.limit = f"{scope}.{limit}"
        """The limit in a word: `user.tokens_per_day`."""
        self.headers["retry-after"] = retry_after


class TooManyRequests(LimitReached):
    """More requests came within a minute than may; an SDK that waits as it is told gets its answer."""

    def __init__(self, scope: Scope, allowed: int, seconds: float) -> None:
        wait = whole_seconds(seconds)
        when = "1 second" if wait == 1 else f"{wait} seconds"
        many = "1 message a minute" if allowed == 1 else f"{allowed:,} messages a minute"
        if scope == "user":
            words = f"You can send {many}. You can go on in {when}."
        else:
            words = f"All who use this key can send {many} together. It goes on in {when}."
        super().__init__(scope, "requests_per_minute", words, str(wait))


class TooManyStreams(LimitReached):
    """More answers are under way than may be at one time."""

    def __init__(self, scope: Scope, allowed: int) -> None:
        many = "1 answer" if allowed == 1 else f"{allowed:,} answers"
        if scope == "user":
            words = f"You can have {many} under way at one time. You can go on when one has ended."
        else:
            words = f"All who use this key can have {many} under way at one time. It goes on when one has ended."
        super().__init__(scope, "streams", words, RETRY_AFTER_SECONDS)


class TooManyBackground(LimitReached):
    """More responses were begun in the background within an hour than one person may."""

    def __init__(self, allowed: int, seconds: float) -> None:
        wait = whole_seconds(seconds)
        many = "1 answer" if allowed == 1 else f"{allowed:,} answers"
        minutes = -(-wait // SECONDS_A_MINUTE)
        when = "1 minute" if minutes == 1 else f"{minutes} minutes"
        words = f"You can begin {many} an hour in the background. You can begin the next one in {when}."
        if not allowed:
            words = "Nothing can be begun in the background here."
        super().__init__("user", "background_per_hour", words, str(wait))
        self.param = "background"


class BudgetSpent(LimitReached):
    """The tokens of a day or a month are used up: it goes on at `resets`. No SDK need try again before that."""

    type = "insufficient_quota"
    code = "insufficient_quota"

    def __init__(self, scope: Scope, limit: LimitName, allowed: int, now: datetime, resets: datetime) -> None:
        if limit == "tokens_per_day":
            period, when = "today", "tomorrow at 00:00 UTC"
        else:
            period, when = "this month", f"at 00:00 UTC on {resets.day} {resets:%B}"
        if scope == "user":
            words = f"Your {allowed:,} tokens for {period} are used up. You can go on {when}."
        else:
            words = f"The {allowed:,} tokens of all who use this key are used up for {period}. It goes on {when}."
        super().__init__(scope, limit, words, str(whole_seconds((resets - now).total_seconds())))
        # SDKs would send it again and again, in vain: https://github.com/openai/openai-python#retries
        self.headers["x-should-retry"] = "false"
