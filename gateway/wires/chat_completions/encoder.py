"""Sayings in, server-sent events of a chat completion out, or the completion whole. Performs no I/O.

https://developers.openai.com/api/reference/resources/chat/subresources/completions/streaming-events

Each saying becomes some chunks, and each chunk a frame. A whole completion is folded from the same chunks, so that it
says what the stream says. Clock and id are given to the encoder.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from msgspec import UNSET, Struct

from gateway.domain.errors import GatewayError
from gateway.domain.events import StopReason, Text, Thought, TokensCounted
from gateway.domain.look import Reasoning
from gateway.wires.chat_completions.response import (
    DONE_FRAME,
    ChatCompletion,
    ChatCompletionChunk,
    ChunkChoice,
    ChunkDelta,
    CompletionTokensDetails,
    CompletionUsage,
    FinishReason,
    FunctionChunk,
    PromptTokensDetails,
    ToolCallChunk,
    frame,
    to_completion,
)
from gateway.wires.chat_completions.think_tags import Defuser
from gateway.wires.envelope import to_response
from gateway.wires.sayings import (
    BrokenOff,
    ClientCallBegun,
    ClientCallContinued,
    Finished,
    Saying,
    TextPaused,
    ThoughtsClosed,
    ThoughtsOpened,
)

OPEN_TAG, CLOSE_TAG = "<think>", "</think>"
FINISH_REASONS: dict[StopReason, FinishReason] = {
    StopReason.END: "stop",
    StopReason.LIMIT: "length",
    StopReason.WAITING: "tool_calls",
}
# The role comes before the first of these, in a delta of its own.
_NEED_ROLE = frozenset({Text, ThoughtsOpened, ClientCallBegun, Finished})
# These are chunks for every client, whatever a frontend is told besides.
_ALWAYS_CHUNKS = frozenset({ClientCallBegun, ClientCallContinued, Finished, TokensCounted})


class Additions(Protocol):
    """The frames that a frontend takes beside chunks; any other client takes each for a chunk, and breaks at it.

    They tell texts, thoughts and Letta's own tools in place of chunks. Calls of the client's tools, the end and the
    usage are chunks all the same, before which these may have frames, too.
    """

    def frames(self, saying: Saying) -> Sequence[Struct]:
        """The frames of the saying that follows those before; none where there is nothing to tell."""
        ...


class ChatCompletionEncoder:
    """The `Encoder` of one chat completion.

    `ChatCompletionEncoder(id="chatcmpl-1", created=1_790_000_000, model="tutor", reasoning="think_tags")`
    """

    def __init__(
        self,
        *,
        id: str,
        created: int,
        model: str,
        reasoning: Reasoning,
        include_usage: bool = False,
        additions: Additions | None = None,
    ) -> None:
        self._id, self._created, self._model = id, created, model
        self._tags = reasoning == "think_tags"
        self._include_usage = include_usage
        # Asked for usage, every chunk says `usage: null` but the last; not asked, none has the field.
        self._no_usage = None if include_usage else UNSET
        self._additions = additions
        self._begun = False
        self._text = Defuser()
        self._thoughts = Defuser()

    def begin(self) -> bytes:
        return b""

    def encode(self, sayings: Iterable[Saying]) -> bytes:
        return b"".join([frame(chunk) for saying in sayings for chunk in self.chunks(saying)])

    def fail(self, error: GatewayError) -> bytes:
        return frame(to_response(error)) + DONE_FRAME

    def end(self) -> bytes:
        return DONE_FRAME

    def whole(self, sayings: Iterable[Saying]) -> ChatCompletion:
        return to_completion(chunk for saying in sayings for chunk in self.chunks(saying))

    def chunks(self, saying: Saying) -> Sequence[Struct]:
        """The chunks of a saying, with what a frontend is told besides, or in place of them."""
        if not self._begun and type(saying) in _NEED_ROLE:
            self._begun = True
            return [self._delta(ChunkDelta(role="assistant", content="")), *self.chunks(saying)]
        if not self._additions:
            return self._own_chunks(saying)
        if type(saying) in _ALWAYS_CHUNKS:
            return [*self._additions.frames(saying), *self._own_chunks(saying)]
        return self._additions.frames(saying)

    def _own_chunks(self, saying: Saying) -> list[ChatCompletionChunk]:
        match saying:
            case Text():
                return self._content(self._text.feed(saying.text))
            case Thought():
                return self._thought(self._thoughts.feed(saying.text))
            case ThoughtsOpened():
                return [*self._pause(), *self._content(OPEN_TAG if self._tags else "")]
            case ThoughtsClosed():
                return [*self._thought(self._thoughts.flush()), *self._content(CLOSE_TAG if self._tags else "")]
            case TextPaused():
                return self._pause()
            case ClientCallBegun() | ClientCallContinued():
                return [*self._pause(), self._delta(ChunkDelta(tool_calls=(_piece(saying),)))]
            case BrokenOff():
                return self._content(self._text.flush())
            case Finished(reason):
                return [*self._content(self._text.flush()), self._delta(ChunkDelta(), FINISH_REASONS[reason])]
            case TokensCounted() if self._include_usage:
                return [ChatCompletionChunk(self._id, self._created, self._model, [], to_usage(saying))]
        return []

    def _pause(self) -> list[ChatCompletionChunk]:
        """The chunk of what was held back of the text: more of it may follow elsewhere."""
        return self._content(self._text.interrupt())

    def _content(self, text: str) -> list[ChatCompletionChunk]:
        return [self._delta(ChunkDelta(content=text))] if text else []

    def _thought(self, text: str) -> list[ChatCompletionChunk]:
        if self._tags or not text:
            return self._content(text)
        return [self._delta(ChunkDelta(reasoning_content=text, reasoning=text))]

    def _delta(self, delta: ChunkDelta, finish_reason: FinishReason | None = None) -> ChatCompletionChunk:
        choices = [ChunkChoice(delta, finish_reason)]
        return ChatCompletionChunk(self._id, self._created, self._model, choices, self._no_usage)


def _piece(saying: ClientCallBegun | ClientCallContinued) -> ToolCallChunk:
    if isinstance(saying, ClientCallBegun):
        return ToolCallChunk(saying.index, saying.id, "function", FunctionChunk(name=saying.name, arguments=""))
    return ToolCallChunk(saying.index, function=FunctionChunk(arguments=saying.arguments))


def to_usage(tokens: TokensCounted) -> CompletionUsage:
    """The usage of a run in OpenAI's words."""
    return CompletionUsage(
        tokens.prompt,
        tokens.completion,
        tokens.total,
        PromptTokensDetails(tokens.cached),
        CompletionTokensDetails(tokens.reasoning),
    )
