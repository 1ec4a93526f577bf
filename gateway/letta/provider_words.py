"""The words of a model's provider that failed, as Letta passes them on; and what of them is told. Performs no I/O.

A provider's sentences may repeat its key, or what was said, and are told to nobody. Told are its status, and the names
that it has for errors and parameters.
"""

import re
from typing import Any

from msgspec import Struct

from gateway.domain.errors import (
    ContextOverflow,
    ModelRefused,
    OutOfCredits,
    RateLimited,
    UpstreamError,
)
from gateway.domain.texts.halves import UNREADABLE, decode, whole

# How an App Server begins what a provider said, and how OpenAI's and Anthropic's SDKs in a V1 server do.
_STATUS = re.compile(r"([45]\d\d)\b(?:: ?| )?")
_SDK_STATUS = re.compile(r"\bError code: ([45]\d\d)\b")
_SDK_STATUS_WITHIN = 120
_NO_CONNECTION = re.compile(r"(?i)connection error|connection refused|fetch failed|\b(?:ECONNREFUSED|ENOTFOUND)\b")
_NO_CONNECTION_WITHIN = 500
# Words of letters in one; a number by which some providers name errors; a parameter such as `messages[1].content`.
_NAME = re.compile(r"(?=.{2,48}\Z)(?:[A-Za-z]+(?:[_.][A-Za-z]+)*|\d{1,6})")
_PARAM = re.compile(r"(?=.{1,48}\Z)[a-z_]+(?:\[\d{1,4}\])?(?:\.[a-z_]+(?:\[\d{1,4}\])?)*")
# The fields before and behind a message that Python has written: within it they look otherwise.
_FIELD = r"'(?:code|type|status|param)': (?:None|\d{1,6}|'[\w.\[\]]{0,48}')"
_PYTHON_BEFORE = re.compile(rf"Error code: \d\d\d - \{{(?:'type': 'error', )?'error': \{{((?:{_FIELD}, ){{1,4}})")
_PYTHON_BEHIND = re.compile(rf"((?:, {_FIELD}){{1,4}})\}}\}}\Z")
_PYTHON_BEHIND_WITHIN = 300
_PYTHON_NAMED = re.compile(r"'(code|type|status|param)': '?([\w.\[\]]*)")
# Names of errors that say more than the status that comes with them.
KINDS: dict[str, type[UpstreamError]] = {
    "insufficient_quota": OutOfCredits,
    "billing_not_active": OutOfCredits,
    "context_length_exceeded": ContextOverflow,
    "invalid_api_key": ModelRefused,
    "authentication_error": ModelRefused,
    "rate_limit_exceeded": RateLimited,
    "rate_limit_error": RateLimited,
}


class ProviderSaid(Struct, frozen=True):
    """The part of a provider's words that is told: `ProviderSaid(401, "invalid_api_key")`."""

    status: int | None = None
    name: str = ""
    """Its name for the error; empty where it has none, or none that is a plain word."""
    param: str = ""
    """The parameter that it does not like."""
    unreached: bool = False
    """True: there was no connection to it."""

    @property
    def kind(self) -> type[UpstreamError] | None:
        """The kind of error, where its name tells."""
        return KINDS.get(self.name)

    def __str__(self) -> str:
        """`status 401, `invalid_api_key``; empty where nothing is known."""
        status = [f"status {self.status}"] if self.status else []
        names = [f"`{name}`" for name in (self.name, self.param) if name]
        return ", ".join([*status, *names]) or ("no connection" if self.unreached else "")


def read_provider(text: str) -> ProviderSaid:
    """The part that is told of an error as an App Server or a V1 server tells it."""
    if found := _STATUS.match(text):
        fields = _json_fields(text[found.end() :])
    elif found := _SDK_STATUS.search(text[:_SDK_STATUS_WITHIN]):
        fields = _python_fields(text)
    else:
        return ProviderSaid(unreached=_NO_CONNECTION.search(text[:_NO_CONNECTION_WITHIN]) is not None)
    status = found[1]
    names = (str(fields.get(field) or "") for field in ("code", "status", "type"))
    name = next((name for name in names if name != status and _NAME.fullmatch(name)), "")
    param = str(fields.get("param") or "")
    return ProviderSaid(int(status), name, param if _PARAM.fullmatch(param) else "")


def _json_fields(text: str) -> dict[str, Any]:
    """The fields of an error in JSON, of the innermost `error`; none where there is no JSON."""
    try:
        found: Any = decode(whole(text), Any)
    except UNREADABLE:
        return {}
    while isinstance(found, dict) and isinstance(found.get("error"), dict):
        found = found["error"]
    return found if isinstance(found, dict) else {}


def _python_fields(text: str) -> dict[str, Any]:
    """The fields of an error as Python writes it, but for those that cannot be told from words of its message."""
    before = _PYTHON_BEFORE.search(text[: _SDK_STATUS_WITHIN + _PYTHON_BEHIND_WITHIN])
    behind = _PYTHON_BEHIND.search(text[-_PYTHON_BEHIND_WITHIN:])
    found = [match[1] for match in (before, behind) if match]
    return {name: value for name, value in _PYTHON_NAMED.findall("".join(found)) if value != "None"}
