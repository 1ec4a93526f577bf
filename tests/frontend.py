"""A frontend that shows chats as Open WebUI does: a tree of messages, of which it sends the branch on screen.

https://github.com/open-webui/open-webui: each request has the chat's id, and the ids of the messages it is about.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from openai import OpenAI
from openai.types.chat import ChatCompletionChunk

from gateway.wires.chat_completions.think_tags import restore
from tests.pictures.drawn import Picture

Said = tuple[str, str]


class Message:
    """A message on screen, with the one before it. `shown` is all of it, thoughts included; pictures come after it."""

    def __init__(self, role: str, shown: str, parent: "Message | None", pictures: "tuple[Picture, ...]" = ()) -> None:
        self.id = str(uuid.uuid4())
        self.role = role
        self.shown = shown
        self.parent = parent
        self.pictures = pictures

    @property
    def text(self) -> str:
        """What is sent of it later: thoughts are not."""
        thoughts, end, answer = self.shown.rpartition("</think>")
        return restore(answer if end or not thoughts.startswith("<think>") else "")

    @property
    def content(self) -> Any:
        """As Open WebUI sends it: with pictures, its parts."""
        text = {"type": "text", "text": self.text}
        return [text, *(picture.part for picture in self.pictures)] if self.pictures else self.text

    @property
    def said(self) -> Said:
        """Role and text, without the spaces at its ends, and the names of the pictures."""
        texts = [self.text.strip(), *(picture.name for picture in self.pictures)]
        return self.role, "\n".join(text for text in texts if text)

    @property
    def path(self) -> "list[Message]":
        return [*(self.parent.path if self.parent else []), self]


class Frontend:
    """One chat of one user."""

    def __init__(self, client: OpenAI, user: str, *, chat: str | None = None, ids: bool = True) -> None:
        self.client = client
        self.user = user
        self.chat: str | None = chat or str(uuid.uuid4())
        self.ids = ids
        self.system: str | None = None
        self.model = "tutor"
        self.last: Message | None = None
        """The last message on screen."""

    def clone(self) -> "Frontend":
        """The same branch as a chat of its own."""
        other = Frontend(self.client, self.user, ids=self.ids)
        other.model, other.last = self.model, self.last
        return other

    def said(self, upto: Message | None = None) -> list[Said]:
        """Role and text of every message on screen, without the spaces at their ends."""
        return [message.said for message in self._sent(upto or self.last)]

    def _sent(self, end: Message | None) -> list[Message]:
        return [message for message in (end.path if end else []) if message.text or message.pictures]

    def say(self, text: str, *pictures: Picture) -> Message:
        """The next message; gives the answer."""
        return self._answer(Message("user", text, self.last, pictures))

    def edit(self, message: Message, text: str, *pictures: Picture) -> Message:
        """Another message in the place of one that the user wrote; its pictures stay unless there are others."""
        return self._answer(Message("user", text, message.parent, pictures or message.pictures))

    def regenerate(self, answer: Message, wish: str | None = None) -> Message:
        """Another answer to the same message, with a wish that is not kept on screen."""
        assert answer.parent
        more: list[tuple[str, Any]] = [("assistant", answer.text), ("user", wish)] if wish else []
        return self._answer(answer.parent, more)

    def go_on(self, answer: Message) -> Message:
        """More of an answer."""
        assert answer.parent
        self.last = answer
        with self._stream(answer.parent, answer, [("assistant", answer.text)]) as chunks:
            answer.shown = f"{answer.text}{Message('assistant', _shown(chunks), None).text}"
        return answer

    def stop(self, text: str, *pictures: Picture, after: str = "") -> Message:
        """The next message, stopped when `after` has come; before the first byte without it."""
        return self._stop(Message("user", text, self.last, pictures), after)

    @contextmanager
    def asking(self, text: str) -> Iterator[Iterator[ChatCompletionChunk]]:
        """The next message, whose answer comes piece by piece, and is stopped by leaving."""
        question = Message("user", text, self.last)
        self.last = Message("assistant", "", question)
        with self._stream(question, self.last, []) as chunks:
            yield chunks

    def _stop(self, question: Message, after: str) -> Message:
        answer = self.last = Message("assistant", "", question)
        with self._stream(question, answer, []) as chunks:
            for chunk in chunks if after else ():
                answer.shown += _piece(chunk)
                if after in answer.text:
                    break
        return answer

    def _answer(self, question: Message, more: list[tuple[str, Any]] | None = None) -> Message:
        answer = self.last = Message("assistant", "", question)
        with self._stream(question, answer, more or []) as chunks:
            answer.shown = _shown(chunks)
        return answer

    @contextmanager
    def _stream(
        self, question: Message, answer: Message, more: list[tuple[str, Any]]
    ) -> Iterator[Iterator[ChatCompletionChunk]]:
        said = [*((message.role, message.content) for message in self._sent(question)), *more]
        messages: list[Any] = [{"role": role, "content": content} for role, content in said]
        if self.system:
            messages.insert(0, {"role": "system", "content": self.system})
        stream = self.client.chat.completions.create(
            model=self.model, messages=messages, stream=True, extra_headers=self._headers(question, answer)
        )
        with stream as chunks:
            yield iter(chunks)

    def _headers(self, question: Message, answer: Message) -> dict[str, str]:
        headers = {"X-OpenWebUI-User-Id": self.user}
        if self.chat:
            headers["X-OpenWebUI-Chat-Id"] = self.chat
        if self.ids:
            headers["X-Message-Id"], headers["X-User-Message-Id"] = answer.id, question.id
            headers["X-Parent-Id"] = question.parent.id if question.parent else ""
        return headers


def _piece(chunk: ChatCompletionChunk) -> str:
    return (chunk.choices[0].delta.content or "") if chunk.choices else ""


def _shown(chunks: Iterator[ChatCompletionChunk]) -> str:
    return "".join(_piece(chunk) for chunk in chunks)
