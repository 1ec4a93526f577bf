"""The gateway's own answers to background tasks: made without a model, and always the same. Performs no I/O."""

import re
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from gateway.domain import tasks
from gateway.domain.request import Request
from gateway.domain.tasks import Task

TITLE_WORDS, TITLE_CHARACTERS = 6, 50
QUERY_CHARACTERS = 200
MOST_READ = 100_000
SMILE = "🙂"
_PERSON = ("user", "human")
# A message within a prompt: `USER: …` on a line of its own, or `<user>…</user>`.
_SPEAKER = re.compile(r"^(user|human|assistant|ai):[ \t]*|^<(user|assistant)>\n|\n</(?:user|assistant)>", re.I | re.M)
_CHAT, _CHAT_END = "<chat_history>", "</chat_history>"
_RESPONSE = re.compile(r'"""(.*?)"""', re.DOTALL)
# The words behind which a prompt without `<chat_history>` tells of the chat.
_AFTER = ("\nConversation:\n", "punctuation.\n\n")
_MARKS = re.compile(r"^\s*(?:(?:#+|>|[*-])\s+)+|\*\*|`+")


class ToldChat(Struct, frozen=True):
    """The messages of a person in the chat that a task's prompt tells: `ToldChat(["Hi", "Tell me of cats."])`."""

    said: list[str]

    @property
    def first(self) -> str:
        return self.said[0] if self.said else ""

    @property
    def last(self) -> str:
        return self.said[-1] if self.said else ""


def to_answer(task: Task, request: Request) -> str:
    """The answer to a task, in the form that the request or the task wants: `{"title":"Cats in Rome"}`."""
    prompt = request.messages[-1].text if request.messages else ""
    return _formed(task, request, _ANSWERS[task.kind](prompt) if task.kind in _ANSWERS else "")


def to_empty_answer(task: Task, request: Request) -> str:
    """An empty answer, in the same form: `{"title":""}`."""
    answer = _ANSWERS[task.kind]("") if task.kind in _ANSWERS else ""
    return _formed(task, request, "" if isinstance(answer, str) else type(answer)())


def _formed(task: Task, request: Request, answer: str | list[str]) -> str:
    """`answer` as the object that the request's schema describes, or as the task's own."""
    key = _KEYS.get(task.kind)
    if key and request.wants_json:
        others = [name for name in _properties(request.options.format) if name != key]
        return _to_json({key: answer, **dict.fromkeys(others, "")})
    if key and task.in_json:
        return _to_json({key: answer})
    return answer if isinstance(answer, str) else _to_json(answer)


def _properties(response_format: Any) -> list[str]:
    """The properties of the object that is asked for; none if any will do."""
    try:
        return list(response_format["json_schema"]["schema"]["properties"])
    except (KeyError, TypeError):
        return []


def _to_json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def read_chat(prompt: str) -> ToldChat:
    """The person's messages in the chat that `prompt` tells; if it names no speakers, all of it as one message."""
    told = _told(prompt)
    said, by_person = [], False
    pieces = _SPEAKER.split(told)
    for i in range(0, len(pieces), 3):
        if by_person and (text := pieces[i].strip()):
            said.append(text)
        by_person = any(name and name.lower() in _PERSON for name in pieces[i + 1 : i + 3])
    return ToldChat(said or ([told.strip()] if len(pieces) == 1 and told.strip() else []))


def _told(prompt: str) -> str:
    """The text of the chat in a prompt: between its two marks, behind one of _AFTER, or else all of the prompt."""
    begins, ends = prompt.find(_CHAT), prompt.rfind(_CHAT_END)
    if 0 <= begins < ends:
        return _clipped(prompt[begins + len(_CHAT) : ends].removeprefix("\n"))
    return _clipped(next((prompt.partition(mark)[2] for mark in _AFTER if mark in prompt), prompt))


def _clipped(chat: str) -> str:
    """The beginning and the end of a long chat; no answer tells anything of the part between."""
    return chat if len(chat) <= 2 * MOST_READ else f"{chat[:MOST_READ]}\n{chat[-MOST_READ:]}"


def to_title(text: str) -> str:
    """The first words of a message, as a title: `to_title("# Tell me of cats.")` is `Tell me of cats`."""
    line = next((bare for line in text.splitlines() if (bare := _MARKS.sub("", line).strip())), "")
    words = line.split()
    kept = words[:TITLE_WORDS]
    while len(" ".join(kept)) > TITLE_CHARACTERS and len(kept) > 1:
        kept.pop()
    title = " ".join(kept)[:TITLE_CHARACTERS]
    return title.rstrip(".,;:") + ("" if title == " ".join(words) else "…")


def _merge(prompt: str) -> str:
    """All of the answers that are to be merged, one after the other: no rule can tell which of them is right."""
    answers = _RESPONSE.findall(prompt.partition("Responses from models:")[2])
    return "\n\n---\n\n".join(answer.strip() for answer in answers)


def _query(prompt: str) -> list[str]:
    query = " ".join(read_chat(prompt).last.split())[:QUERY_CHARACTERS]
    return [query] if query else []


# Kind of task → the key of the object that its answer is read as; answers to other kinds are read as text.
_KEYS = {
    tasks.TITLE: "title",
    tasks.TAGS: "tags",
    tasks.FOLLOW_UPS: "follow_ups",
    tasks.QUERIES: "queries",
    tasks.AUTOCOMPLETE: "text",
    tasks.IMAGE_PROMPT: "prompt",
    tasks.FUNCTIONS: "tool_calls",
    tasks.MEMORY_REVIEW: "operations",
}
_ANSWERS: dict[str, Callable[[str], str | list[str]]] = {
    tasks.TITLE: lambda prompt: to_title(read_chat(prompt).first),
    # The tag that the prompt asks for if nothing certain can be said.
    tasks.TAGS: lambda prompt: ["General"],
    tasks.FOLLOW_UPS: lambda prompt: [],
    tasks.QUERIES: _query,
    tasks.AUTOCOMPLETE: lambda prompt: "",
    tasks.EMOJI: lambda prompt: SMILE,
    tasks.IMAGE_PROMPT: lambda prompt: read_chat(prompt).last,
    tasks.MERGE: _merge,
    tasks.FUNCTIONS: lambda prompt: [],
    # Given an empty answer, Open WebUI makes a summary of its own, of all messages.
    tasks.COMPACTION: lambda prompt: "",
    tasks.MEMORY_REVIEW: lambda prompt: [],
}
