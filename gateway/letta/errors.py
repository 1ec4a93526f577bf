"""What can go wrong with a Letta, named for what happened. Performs no I/O.

UpstreamError
  Unreachable         no connection: Letta has nothing of the request
  NotFound            an agent or a conversation that is not (or no longer) there
  Busy                another run of the conversation is under way, or waits for an approval
    QueueFull         too many turns wait for those before them, or one has waited too long
    Stuck             an earlier turn of the conversation has no end, and lets none begin
    Abandoned         the run under way may be one that nobody listens to any more
  Garbled             Letta cannot read its own file of the agent
  Refused             Letta does not take what it was sent, or answers what it should not
    KeyRefused        Letta does not take the gateway's key
    TooLong           a message is longer than Letta takes: nothing of it was kept
  RunFailed           Letta, or the model behind it, failed
    NoSpace           the disk of Letta is full: it cannot keep what is said
    BrokenStream      the stream ended early or held what is no event
    TimedOut          no sign of life, or of progress
    Stopped           somebody, or the gateway's own end, stopped the run
    RateLimited       the model provider's limit
    OutOfCredits      Letta's account is empty
    ModelRefused      the model provider does not take Letta's key
    ModelFailed       the model provider failed
    ModelTimedOut     the model provider did not answer
    ContextOverflow   more than the model's context window holds
    PictureRefused    Letta cannot read a picture
"""

import re


class UpstreamError(Exception):
    """Base of them all. The text is for logs and names no content of a request.

    `taken`: whether Letta has, or may have, the message of the turn, so that sending it again could store it twice.
    """

    taken = False


class Unreachable(UpstreamError): ...


class NotFound(UpstreamError): ...


class Busy(UpstreamError): ...


class QueueFull(Busy): ...


class Stuck(Busy): ...


class Abandoned(Busy): ...


class Garbled(UpstreamError): ...


class Refused(UpstreamError): ...


class KeyRefused(Refused): ...


class TooLong(Refused): ...


class Locked(Refused):
    """Something else works on an agent's memory at this moment."""


class RunFailed(UpstreamError):
    taken = True


class NoSpace(RunFailed): ...


class BrokenStream(RunFailed): ...


class TimedOut(RunFailed): ...


class Stopped(RunFailed): ...


class RateLimited(RunFailed): ...


class OutOfCredits(RunFailed): ...


class ModelRefused(RunFailed): ...


class ModelFailed(RunFailed): ...


class ModelTimedOut(RunFailed): ...


class ContextOverflow(RunFailed): ...


class PictureRefused(RunFailed): ...


# `error_type` of an `error_message`. Those not listed (`internal_error`, `stream_incomplete`, …) are RunFailed.
ERROR_TYPES: dict[str, type[RunFailed]] = {
    "llm_error": ModelFailed,
    "llm_rate_limit": RateLimited,
    "llm_authentication": ModelRefused,
    "llm_timeout": ModelTimedOut,
    "llm_empty_response": ModelFailed,
}
# Reasons to stop without an answer; an `error_message` that follows tells more.
# https://docs.letta.com/api/python/resources/runs
STOP_REASONS: dict[str, type[RunFailed]] = {
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
    return ERROR_TYPES.get(error_type or "", RunFailed)(f"error_type {error_type}")


def from_stop_reason(stop_reason: str) -> RunFailed:
    """The error that one of STOP_REASONS tells of."""
    return STOP_REASONS[stop_reason](f"stop_reason {stop_reason}")
