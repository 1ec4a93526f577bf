"""Writes an answer as chunks: the role first, thoughts in blocks of their own, no literal tag. Performs no I/O."""

from msgspec import UNSET

from gateway.domain.look import Reasoning
from gateway.wires.chat_completions.open_webui import ItemFrame
from gateway.wires.chat_completions.response import (
    ChatCompletionChunk,
    ChunkChoice,
    Delta,
    FinishReason,
    ToolCallChunk,
    Usage,
)
from gateway.wires.chat_completions.think_tags import Defuser

OPEN_TAG, CLOSE_TAG = "<think>", "</think>"
Said = ChatCompletionChunk | ItemFrame


class Writer:
    """Gives the chunks that each thing said makes; thoughts only as `reasoning` says."""

    def __init__(self, *, id: str, created: int, model: str, reasoning: Reasoning, include_usage: bool) -> None:
        self._id, self._created, self._model = id, created, model
        self._reasoning = reasoning
        self._include_usage = include_usage
        self._begun = False
        self._thinking = False
        self._answered = False
        self._text = Defuser()
        self._thoughts = Defuser()
        self._step: str | None = None
        # Whether the thoughts shown last end a line, so that a line of its own can begin there.
        self._at_line_start = True

    def answer(self, text: str) -> list[Said]:
        if not text:
            return []
        chunks = self._begin() + self._close_thoughts()
        self._answered = True
        return chunks + self._content(self._text.feed(text))

    def think(self, text: str, step: str | None) -> list[Said]:
        if not text or self._reasoning == "hidden":
            return []
        chunks = self._open_thoughts(step)
        if shown := self._thoughts.feed(text):
            self._at_line_start = shown.endswith("\n")
            chunks += self._thought(shown)
        return chunks

    def note(self, text: str, step: str | None) -> list[Said]:
        """A line of its own in the thoughts."""
        if not text or self._reasoning == "hidden":
            return []
        chunks = self._open_thoughts(step)
        rest = self._thoughts.flush()
        newline = "" if self._at_line_start and not rest else "\n"
        self._at_line_start = True
        return chunks + self._thought(rest + newline + self._thoughts.feed(f"{text}\n"))

    def ask(self, question: str) -> list[Said]:
        """A question of the gateway's own, apart from what the agent said."""
        return self.interrupt() + self.answer(f"\n\n{question}" if self._answered else question) if question else []

    def call(self, piece: ToolCallChunk) -> list[Said]:
        """A call of a client's tool, or a piece of one."""
        return [*self._begin(), *self.interrupt(), self._delta(Delta(tool_calls=(piece,)))]

    def interrupt(self) -> list[Said]:
        """The chunks that end what is being said, before something else comes between."""
        return self._close_thoughts() + self._content(self._text.interrupt())

    def close(self) -> list[Said]:
        """The chunks that end what is being said, after which nothing is."""
        return self._close_thoughts() + self._content(self._text.flush())

    def finish(self, reason: FinishReason) -> list[Said]:
        return [*self._begin(), *self.close(), self._chunk([ChunkChoice(Delta(), reason)])]

    def tell_usage(self, usage: Usage) -> list[Said]:
        return [self._chunk([], usage)]

    def _begin(self) -> list[Said]:
        """The role, in the first delta and nowhere else."""
        if self._begun:
            return []
        self._begun = True
        return [self._delta(Delta(role="assistant", content=""))]

    def _open_thoughts(self, step: str | None) -> list[Said]:
        """Open a block of thoughts; each step of the run has a block of its own."""
        chunks = self._begin()
        if self._thinking and step == self._step:
            return chunks
        chunks += self.interrupt()
        self._thinking = True
        self._step = step
        if self._reasoning == "think_tags":
            self._at_line_start = True
        return chunks + self._tag(OPEN_TAG)

    def _close_thoughts(self) -> list[Said]:
        if not self._thinking:
            return []
        rest = self._thoughts.flush()
        self._at_line_start = self._at_line_start and not rest
        self._thinking = False
        return self._thought(rest) + self._tag(CLOSE_TAG)

    def _tag(self, tag: str) -> list[Said]:
        return self._content(tag) if self._reasoning == "think_tags" else []

    def _thought(self, text: str) -> list[Said]:
        if self._reasoning == "think_tags":
            return self._content(text)
        return [self._delta(Delta(reasoning_content=text, reasoning=text))] if text else []

    def _content(self, text: str) -> list[Said]:
        return [self._delta(Delta(content=text))] if text else []

    def _delta(self, delta: Delta) -> ChatCompletionChunk:
        return self._chunk([ChunkChoice(delta)])

    def _chunk(self, choices: list[ChunkChoice], usage: Usage | None = None) -> ChatCompletionChunk:
        # Asked for usage, every chunk says `usage: null` but the last; not asked, none has the field.
        shown = usage if self._include_usage else UNSET
        return ChatCompletionChunk(self._id, self._created, self._model, choices, shown)
