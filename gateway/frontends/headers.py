"""Headers by which frontends say who asks, and where. Performs no I/O."""

from collections.abc import Mapping

from gateway.domain.named import Id
from gateway.frontends import open_webui
from gateway.frontends.header_text import former
from gateway.frontends.librechat import decode_header, is_placeholder
from gateway.settings import Key

# `X-Chat-Id` is anybody's.
CHAT_HEADERS = (open_webui.CHAT_HEADER, "x-chat-id")
# So is this: `true` for a chat that nobody keeps.
TEMPORARY_HEADER = "x-temporary-chat"


def names(key: Key) -> tuple[str, ...]:
    """All headers in which a request of this key may tell something of that, in lower case."""
    sources = [source.name for source in key.user_from if source.kind != "body"]
    person = (open_webui.NAME_HEADER, open_webui.EMAIL_HEADER)
    named = (key.task_header, key.message_id_header, key.user_message_id_header, key.parent_id_header)
    return (*sources, *person, *CHAT_HEADERS, TEMPORARY_HEADER, *map(str.lower, named))


def read_header(headers: Mapping[str, str], name: str) -> str | None:
    """A header's value; None, too, where a frontend left its placeholder in."""
    value = headers.get(name.lower())
    return None if value is None or is_placeholder(value) else value


def read_id(headers: Mapping[str, str], name: str) -> Id | None:
    """An id that a header holds, which may be empty; None where there is none."""
    value = read_header(headers, name)
    return None if value is None else Id(value, name.lower(), former(value))


def read_person(headers: Mapping[str, str]) -> tuple[str, str]:
    """Name and email of the user, as plain headers tell them; empty where they do not."""
    name, email = (read_header(headers, one) or "" for one in (open_webui.NAME_HEADER, open_webui.EMAIL_HEADER))
    return decode_header(name), decode_header(email)
