"""Errors as Letta tells of them: the words, types and reasons that each kind is known by. Performs no I/O."""

import re

from gateway.domain.errors import (
    Busy,
    ContextOverflow,
    Garbled,
    Locked,
    ModelFailed,
    ModelRefused,
    ModelTimedOut,
    NoSpace,
    OutOfCredits,
    RateLimited,
    RunFailed,
    Stopped,
    Stuck,
    UpstreamError,
)

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
    return STREAM_ERRORS.get(error_type or "", RunFailed)(f"error_type {error_type}")


def from_stop_reason(stop_reason: str) -> RunFailed:
    """The error that one of FAILED_STOPS tells of."""
    return FAILED_STOPS[stop_reason](f"stop_reason {stop_reason}")
