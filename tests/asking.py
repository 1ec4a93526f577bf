"""Requests as Chat Completions is read, the paths that they show, and who they say asks."""

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.domain.named import Claims
from gateway.domain.request import Request
from gateway.domain.texts.client_texts import ClientTexts
from gateway.frontends.reading import read_named
from gateway.http.texts import TEXTS
from gateway.pictures.shown import look_at
from gateway.settings import Images, Key
from gateway.turns.chats.path import RequestedPath, read_path
from gateway.turns.chats.reconcile import Ids
from gateway.turns.people.identity import Caller, identify, message_ids
from gateway.wires.chat_completions.read import to_request
from gateway.wires.chat_completions.request import ChatCompletionRequest, ChatMessage

IMAGES = Images()


def asking(messages: Sequence[ChatMessage], **more: Any) -> Request:
    """The request of these messages."""
    return to_request(ChatCompletionRequest("tutor", list(messages), **more))


def path_shown(messages: Sequence[ChatMessage], images: Images = IMAGES, texts: ClientTexts = TEXTS) -> RequestedPath:
    """The path that these messages show."""
    return read_path(look_at(asking(messages), images.max_mb), texts)


def called_by(
    key: Key, headers: Mapping[str, str], request: ChatCompletionRequest, claims: Claims | None = None
) -> tuple[Caller, Ids]:
    """Who asks in which chat, and for which message."""
    named = read_named(key, headers, to_request(request), claims)
    caller = identify(key, named)
    return caller, message_ids(named, caller)
