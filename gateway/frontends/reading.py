"""Reads what frontends say of a request: who asks, in which chat, for which message, for which background task.

Performs no I/O.
"""

from collections.abc import Mapping
from typing import Any

from gateway.domain.errors import InvalidRequest
from gateway.domain.named import Claims, Id, Named
from gateway.domain.request import Request
from gateway.domain.tasks import TITLE, Task
from gateway.frontends import continue_dev, librechat, lobechat, n8n, open_webui, opencode, qwen_code
from gateway.frontends.header_text import former
from gateway.frontends.headers import CHAT_HEADERS, TEMPORARY_HEADER, read_header, read_id, read_person
from gateway.frontends.open_webui import prompts as open_webui_prompts
from gateway.frontends.prompts import Prompt, worded
from gateway.settings import TASK_MODEL, Key, UserSource

# The fields of a body's `metadata` that may name the chat.
CHAT_METADATA = ("chat_id", "conversation_id", "thread_id", "session_id")
# Headers and OpenAI's metadata hold strings only: https://platform.openai.com/docs/api-reference/chat/create
_WORDS = {"true": True, "false": False, "": False}
ALL_PROMPTS: tuple[Prompt, ...] = (
    *open_webui_prompts.PROMPTS,
    *librechat.PROMPTS,
    *continue_dev.PROMPTS,
    *lobechat.PROMPTS,
    *n8n.PROMPTS,
    *opencode.PROMPTS,
    *qwen_code.PROMPTS,
)


def find_task(key: Key, headers: Mapping[str, str], request: Request) -> Task | None:
    """The background task that a request is; None for a real turn.

    A header decides, also where it is empty; only without one do the words of a prompt. A client that is pointed at
    the model for tasks wants a title, if it wants nothing else that is known.
    """
    named = read_header(headers, key.task_header)
    task = Task(named) if named else None
    if named is None:
        words = worded(request)
        begun = [prompt for prompt in ALL_PROMPTS if words.text.startswith(prompt.begins)]
        task = next((Task(prompt.kind, prompt.in_json) for prompt in begun if prompt.fits(words)), None)
    return Task(TITLE, in_json=False) if task is None and request.model == TASK_MODEL else task


def read_named(key: Key, headers: Mapping[str, str], request: Request, claims: Claims | None = None) -> Named:
    """Read who asks where; `headers` has lower-case names.

    Raises InvalidRequest for a chat's id that is no text, and for a word on its lifetime that cannot be understood.
    """
    users = {
        (source.kind, source.name): id for source in key.user_from if (id := _user(source, headers, request, claims))
    }
    name, email = read_person(headers) if claims is None else (claims.name, claims.email)
    chat, shows_chat = _chat(headers, request), _shows_chat(headers)
    return Named(
        users,
        name,
        email,
        chat,
        shows_chat,
        shows_temporary=shows_chat and chat is not None and chat.value.startswith(open_webui.TEMPORARY_CHAT),
        temporary=_temporary(headers, request),
        answer=read_id(headers, key.message_id_header),
        question=read_id(headers, key.user_message_id_header),
        parent=read_id(headers, key.parent_id_header),
    )


def takes_items(key: Key, headers: Mapping[str, str]) -> bool:
    """True where answers in this chat come as the items of Open WebUI's, if they are streamed.

    With no message to show an answer in, it passes the stream on as it is, to a program that calls its API.
    """
    nowhere = read_header(headers, key.message_id_header) == ""
    return key.tool_activity == "rich" and _shows_chat(headers) and not nowhere


def _shows_chat(headers: Mapping[str, str]) -> bool:
    return bool(read_header(headers, open_webui.CHAT_HEADER))


def _user(source: UserSource, headers: Mapping[str, str], request: Request, claims: Claims | None) -> Id | None:
    """The user that a source names; None where it names none."""
    if source.kind == "body":
        value, before = request.users.get(source.name, ""), ""
    else:
        value = (claims.sub if claims else "") if source.kind == "jwt" else read_header(headers, source.name) or ""
        # Whoever a token names may have been met in a plain header before.
        before = former(value)
    return Id(value, source.name, before) if value else None


def _chat(headers: Mapping[str, str], request: Request) -> Id | None:
    for name in CHAT_HEADERS:
        if (id := read_id(headers, name)) and id.value:
            return id
    for name in CHAT_METADATA:
        value, place = request.metadata.get(name), f"metadata.{name}"
        if value is not None and not isinstance(value, str):
            raise InvalidRequest(f"`{place}`: Expected `str`.", place)
        if value:
            return Id(value, place)
    return None


def _temporary(headers: Mapping[str, str], request: Request) -> bool:
    """True if the request says that its chat is temporary.

    What cannot be understood is refused: a chat that is to be forgotten must not be kept by mistake.
    """
    told = {
        TEMPORARY_HEADER: read_header(headers, TEMPORARY_HEADER),
        "metadata.temporary": request.metadata.get("temporary"),
    }
    return any([_is_true(value, place) for place, value in told.items() if value is not None])


def _is_true(value: Any, place: str) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else None
    if word not in _WORDS:
        raise InvalidRequest(f"`{place}`: Expected `true` or `false`.", place)
    return _WORDS[word]
