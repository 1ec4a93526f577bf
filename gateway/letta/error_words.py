"""Errors as Letta tells of them: the words, types and reasons that each kind is known by. Performs no I/O."""

import re
from typing import Any

from gateway.domain.errors import (
    Busy,
    ContextOverflow,
    Garbled,
    KeyRefused,
    Locked,
    ModelFailed,
    ModelRefused,
    ModelTimedOut,
    NoSpace,
    NotFound,
    OutOfCredits,
    PictureRefused,
    RateLimited,
    Refused,
    RunFailed,
    Stopped,
    Stuck,
    TimedOut,
    TooLong,
    UpstreamError,
)
from gateway.domain.texts.halves import UNREADABLE, decode
from gateway.letta.provider_words import read_provider

# `error_type` of an `error_message`. Those not listed (`internal_error`, `stream_incomplete`, …) are RunFailed.
STREAM_ERRORS: dict[str, type[RunFailed]] = {
    "llm_error": ModelFailed,
    "llm_rate_limit": RateLimited,
    "llm_authentication": ModelRefused,
    "llm_timeout": ModelTimedOut,
    "llm_empty_response": ModelFailed,
}
# Reasons to stop without an answer; an `error_message` that follows tells more.
# https://docs.letta.com/api/python/resources/runs
FAILED_STOPS: dict[str, type[RunFailed]] = {
    "error": RunFailed,
    "llm_api_error": ModelFailed,
    "invalid_llm_response": ModelFailed,
    "invalid_tool_call": ModelFailed,
    "insufficient_credits": OutOfCredits,
    "context_window_overflow_in_system_prompt": ContextOverflow,
    "cancelled": Stopped,
}


# What an App Server says where it cannot write, or cannot read what it has written: the words of Node.js.
_CANNOT_WRITE = re.compile(r"\b(?:ENOSPC|EDQUOT|EFBIG|EROFS)\b|^No space left on device")
_CANNOT_READ = re.compile(r"\bJSON\b")
# Git's words, where the App Server asks it about a repository of a memory while it commits there.
_IS_LOCKED = "index.lock': File exists"


def no_space(text: str) -> type[NoSpace] | None:
    """NoSpace, where this tells of it."""
    return NoSpace if _CANNOT_WRITE.search(text) else None


def of_files(text: str) -> type[UpstreamError] | None:
    """The kind of error of its files that an App Server tells of where it refuses; None if it is another."""
    if _IS_LOCKED in text:
        return Locked
    return no_space(text) or (Garbled if _CANNOT_READ.search(text) else None)


# What it says to answers that nothing waits for, or not for these.
NOTHING_WAITS = ("Cannot process approval response", "Invalid tool call IDs")


def from_error_message(error_type: str | None, message: str | None, detail: object = None) -> UpstreamError:
    """The error that an `error_message` event tells of.

    `internal_error` covers much; the beginning of its message is all that tells a full context window
    or a pending approval from a bug.
    """
    text = message or ""
    if text.startswith("CONTEXT_WINDOW_EXCEEDED"):
        return ContextOverflow(f"error_type {error_type}")
    if isinstance(detail, str) and detail.startswith(NOTHING_WAITS):
        return Stuck(f"error_type {error_type}")
    if text.startswith("CONFLICT"):
        return Busy(f"error_type {error_type}")
    usual = STREAM_ERRORS.get(error_type or "")
    if usual is None:
        return RunFailed(f"error_type {error_type}")
    said = read_provider(detail if isinstance(detail, str) else text)
    told = f", the model's provider: {said}" if str(said) else ""
    return (said.kind or usual)(f"error_type {error_type}{told}", said=str(said))


def from_stop_reason(stop_reason: str) -> RunFailed:
    """The error that one of FAILED_STOPS tells of."""
    return FAILED_STOPS[stop_reason](f"stop_reason {stop_reason}")


# The errors that are a provider's.
OF_PROVIDERS = (RateLimited, OutOfCredits, ModelRefused, ModelFailed, ModelTimedOut, ContextOverflow)
# The failures of a loop that are no provider's, in words that hold nothing of what it says.
_LOOP_FAILED = {
    Stuck: "an earlier turn has no end",
    NotFound: "it knows no such agent or conversation, or no such model (did the model's provider answer it?)",
    PictureRefused: "it cannot read a picture",
    Refused: "it knows no such tool",
    NoSpace: "its disk is full",
    RunFailed: "it does not say why in words known here",
}
# What the words of an error tell, the first that fits. Statuses lead a provider's error: `429: {"message": …}`.
_WORDS: tuple[tuple[re.Pattern[str], type[UpstreamError]], ...] = (
    (re.compile(r"already has an active run"), Stuck),
    (re.compile(r"^Unknown bundled client tool"), Refused),
    (re.compile(r"^Failed to prepare image"), PictureRefused),
    (re.compile(r"^Unknown model"), NotFound),
    (re.compile(r"^(?:Agent|Conversation) \S+ not found"), NotFound),
    (re.compile(r"(?i)context.{0,20}(?:length|window)|maximum context|too many tokens"), ContextOverflow),
    (re.compile(r"(?i)^429\b|rate.?limit"), RateLimited),
    (re.compile(r"(?i)^402\b|insufficient_quota|insufficient.credits"), OutOfCredits),
    (re.compile(r"(?i)^40[13]\b|api.?key|unauthorized"), ModelRefused),
    (re.compile(r"(?i)^(?:408|504)\b|timed? ?out"), ModelTimedOut),
    (re.compile(r"^[45]\d\d\b|(?i:connection|fetch failed|stream)"), ModelFailed),
)


def from_loop_error(text: str) -> UpstreamError:
    """The error that the App Server's loop tells of; of its text only what `ProviderSaid` has is repeated."""
    return _from_words(text, RunFailed)


def from_provider(text: str) -> UpstreamError:
    """The error of a model's provider."""
    return _from_words(text, ModelFailed)


def _from_words(text: str, other: type[RunFailed]) -> UpstreamError:
    """The error that these words tell of; `other` if nobody knows which."""
    said = read_provider(text)
    kind = no_space(text) or said.kind or next((kind for words, kind in _WORDS if words.search(text)), other)
    if not issubclass(kind, OF_PROVIDERS):
        return kind(f"the App Server's loop failed: {_LOOP_FAILED[kind]}")
    return kind(f"the model's provider: {said}" if str(said) else "the model's provider failed", said=str(said))


def innermost_message(text: str) -> str:
    """The innermost `message` of an error told as JSON within JSON, or the text as it is."""
    try:
        found: Any = decode(text, Any)
    except UNREADABLE:
        return text
    while isinstance(found, dict) and isinstance(found.get("error"), dict):
        found = found["error"]
    message = found.get("message") if isinstance(found, dict) else None
    return message if isinstance(message, str) else text


# HTTP statuses of Letta's, as what they mean to the gateway; others are Refused below 500 and RunFailed above.
STATUSES: dict[int, type[UpstreamError]] = {
    401: KeyRefused,
    402: OutOfCredits,
    403: KeyRefused,
    404: NotFound,
    408: TimedOut,
    409: Busy,
    413: TooLong,
    429: RateLimited,
    504: TimedOut,
}


def from_status(status: int, sending: bool) -> UpstreamError:
    """The error of an HTTP status; `sending`: of the answer to a message, which Letta may have taken all the same."""
    kind = STATUSES.get(status) or (RunFailed if status >= 500 else Refused)
    return kind(f"HTTP {status}", taken=sending and status >= 500)
