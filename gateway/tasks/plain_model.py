"""The plain model that answers background tasks. The only module that knows the openai client."""

import logging
import re
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import httpx2
import openai
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletionChunk

from gateway.domain.errors import TaskModelFailed
from gateway.domain.events import Event, Stop, StopReason, Text, TokensCounted
from gateway.domain.texts.halves import decode
from gateway.domain.texts.joining import Joiner
from gateway.settings import Tasks

logger = logging.getLogger(__name__)
TIMEOUT_SECONDS = 60.0
# The fields of a request that are passed on to the model, beside its messages.
PASSED = ("max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "seed", "response_format")
LIMITS = ("max_tokens", "max_completion_tokens")
# A name that a provider has for an error: words of letters in one.
NAME = re.compile(r"(?=.{2,48}\Z)[A-Za-z]+(?:[_.][A-Za-z]+)*")
# `finish_reason` → stop reason; every other reason is a good end.
STOP_REASONS = {"length": StopReason.LIMIT}


class PlainModel:
    """A `TaskModel` at any address with OpenAI's API. No field that names a person or a chat is passed on to it."""

    def __init__(self, settings: Tasks) -> None:
        assert settings.model
        self._model = settings.model
        key = settings.api_key.reveal() if settings.api_key else "none-needed"
        self._client = openai.AsyncOpenAI(base_url=settings.base_url, api_key=key, timeout=TIMEOUT_SECONDS)
        # Its first use imports it.
        self._completions = self._client.chat.completions

    async def answer(self, body: bytes) -> AsyncGenerator[Event, None]:
        """The model's answer to the request in `body`. Raises TaskModelFailed, also if the answer breaks off."""
        ended, joiner = False, Joiner()
        try:
            async for told in self._stream(decode(body, dict[str, Any])):
                for event in joiner.join([told]):
                    ended = ended or isinstance(event, Stop)
                    yield event
            if not ended:
                raise ValueError("no finish_reason")
        # The client passes on the errors of a stream that has begun: a broken connection, or a line that is not JSON.
        except (openai.APIError, httpx2.HTTPError, ValueError) as error:
            logger.warning("the model for background tasks failed: %s", _told(error))
            raise TaskModelFailed from error

    async def _stream(self, asked: dict[str, Any]) -> AsyncGenerator[Event, None]:
        passed = {name: asked[name] for name in PASSED if asked.get(name) is not None and not _is_no_limit(name, asked)}
        stream = await self._completions.create(
            model=self._model,
            messages=asked["messages"],
            stream=True,
            stream_options={"include_usage": True},
            **passed,
        )
        async with stream:
            async for chunk in stream:
                for event in _to_events(chunk):
                    yield event

    async def aclose(self) -> None:
        await self._client.close()


def _is_no_limit(name: str, asked: dict[str, Any]) -> bool:
    """True for a limit of tokens of 0 or less, which says that there is none; OpenAI refuses it."""
    return name in LIMITS and asked[name] <= 0


def _to_events(chunk: ChatCompletionChunk) -> Iterator[Event]:
    for choice in chunk.choices:
        if choice.delta.content:
            yield Text(choice.delta.content)
        if choice.finish_reason:
            yield Stop(STOP_REASONS.get(choice.finish_reason, StopReason.END))
    if chunk.usage:
        yield _counted(chunk.usage)


def _counted(usage: CompletionUsage) -> TokensCounted:
    return TokensCounted(usage.prompt_tokens, usage.completion_tokens, usage.total_tokens)


def _told(error: Exception) -> str:
    """The error as it is logged, `HTTP 401 invalid_api_key`: its sentence may repeat the prompt, and is left out."""
    if not isinstance(error, openai.APIStatusError):
        return type(error).__name__
    names = [str(name) for name in (error.code, error.type) if NAME.fullmatch(str(name or ""))]
    return " ".join([f"HTTP {error.status_code}", *names[:1]])
