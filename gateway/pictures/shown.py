"""Pictures that messages show by their addresses: fetched, and put as data URLs in the addresses' places.

Clients send all of a chat with every message: what was fetched is kept for a while. Losing it costs another fetch.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator

import msgspec
from msgspec import Struct

from gateway.domain.cache import Cache
from gateway.domain.errors import BodyTooLarge, InvalidRequest
from gateway.wires.chat_completions.images import MEGABYTE, Unfetched, to_data_url
from gateway.wires.chat_completions.request import ChatCompletionRequest, ChatMessage, ContentPart, ImageUrl

# Of all that is kept, in characters.
KEPT = 64 * MEGABYTE
# For so long an address is not asked again.
FRESH_SECONDS = 600.0
MAX_ADDRESSES = 50
# Who shows pictures: people, and the tools of clients.
SHOWING = ("user", "tool")
_ADDRESS = re.compile("https?:", re.IGNORECASE)
# What stands for a picture that is not fetched yet.
_STAND_IN = ContentPart("text", "A picture")


class FetchFailed(Exception):
    """Why there is no picture: for the client, and without a word of the picture's address."""


Fetch = Callable[[str], Awaitable[bytes]]
"""Gets what is at an address, or raises FetchFailed."""


class _Found(Struct, frozen=True):
    """What came of an address when it was asked for the last time."""

    picture: str
    """As a data URL, now or before; empty where there never was one."""
    problem: str
    """Why there was none this time; empty where there was."""
    fresh_until: float


class Pictures:
    """Fetches what is shown by address. `max_mb`: so large the pictures of one request may be together."""

    def __init__(self, fetch: Fetch, max_mb: int) -> None:
        self._fetch = fetch
        self._max_mb = max_mb
        self._found: Cache[str, _Found] = Cache(KEPT)
        self._under_way: dict[str, asyncio.Task[_Found]] = {}

    async def bring(self, chat: ChatCompletionRequest) -> ChatCompletionRequest:
        """The request with its pictures in the places of their addresses, or `Unfetched` where there is none.

        Raises InvalidRequest for more addresses or larger pictures than one request may have.
        """
        asked = dict(_addresses(chat.messages))
        if not asked:
            return chat
        if len(asked) > MAX_ADDRESSES:
            raise InvalidRequest(f"`messages` shows more than {MAX_ADDRESSES} pictures by address.", "messages")
        found = await asyncio.gather(*(self._get(url, new) for url, new in asked.items()))
        if sum(len(one.picture) for one in found) > self._max_mb * MEGABYTE:
            raise BodyTooLarge(f"The pictures of this request are larger than {self._max_mb} MB together.")
        shown = {url: _shown(one, asked[url]) for url, one in zip(asked, found, strict=True)}
        return msgspec.structs.replace(chat, messages=[_with(message, shown) for message in chat.messages])

    async def _get(self, url: str, new: bool) -> _Found:
        """Whoever shows a picture for the first time wants to know whether it can be seen now."""
        known = self._found.get(url)
        if known and asyncio.get_running_loop().time() < known.fresh_until and not (new and known.problem):
            return known
        # One fetch for all who ask meanwhile; it goes on if one of them leaves.
        fetching = self._under_way.get(url)
        if fetching is None:
            fetching = self._under_way[url] = asyncio.create_task(self._ask(url, known.picture if known else ""))
            fetching.add_done_callback(lambda _: self._under_way.pop(url))
        return await asyncio.shield(fetching)

    async def _ask(self, url: str, before: str) -> _Found:
        """Fetch it. What a chat has shown stays in it, if the address fails later: `before`."""
        picture, problem = before, ""
        try:
            picture = _checked(await self._fetch(url))
        except FetchFailed as error:
            problem = str(error)
        found = _Found(picture, problem, asyncio.get_running_loop().time() + FRESH_SECONDS)
        self._found.put(url, found, len(url) + len(picture) + len(problem))
        return found


def shows_addresses(chat: ChatCompletionRequest) -> bool:
    """Whether the request shows a picture by its address."""
    return any(True for _ in _addresses(chat.messages))


def without_addresses(chat: ChatCompletionRequest) -> ChatCompletionRequest:
    """The request with a word in the place of each such picture: all else of it can be looked at before a fetch."""
    messages = [
        msgspec.structs.replace(message, content=[_STAND_IN if _address(part) else part for part in _parts(message)])
        if any(map(_address, _parts(message)))
        else message
        for message in chat.messages
    ]
    return msgspec.structs.replace(chat, messages=messages)


def _checked(fetched: bytes) -> str:
    """The data URL of what was fetched. Raises FetchFailed."""
    try:
        return to_data_url(fetched)
    except ValueError as error:
        raise FetchFailed(str(error)) from None


def _addresses(messages: list[ChatMessage]) -> Iterator[tuple[str, bool]]:
    """Every address that a person or a tool shows, and whether it came after the last answer; the new ones last."""
    last_answer = max((i for i, message in enumerate(messages) if message.role == "assistant"), default=-1)
    for i, message in enumerate(messages):
        # What a tool showed for an earlier answer is told in words, if at all.
        for part in _parts(message) if message.role == "user" or i > last_answer else ():
            if url := _address(part):
                yield url, i > last_answer


def _parts(message: ChatMessage) -> list[ContentPart]:
    return message.content if message.role in SHOWING and isinstance(message.content, list) else []


def _address(part: ContentPart) -> str | None:
    shows = part.type == "image_url" and part.image_url and _ADDRESS.match(part.image_url.url)
    return part.image_url.url if shows and part.image_url else None


def _shown(found: _Found, new: bool) -> ImageUrl:
    if found.picture and not (new and found.problem):
        return ImageUrl(found.picture)
    return Unfetched("", problem=found.problem)


def _with(message: ChatMessage, shown: dict[str, ImageUrl]) -> ChatMessage:
    """The message with what is `shown` in the places of its addresses; each is looked at as its part says."""
    parts = _parts(message)
    if not any(map(_address, parts)):
        return message

    def filled(part: ContentPart) -> ContentPart:
        if not (url := _address(part)) or url not in shown or not part.image_url:
            return part
        image_url = msgspec.structs.replace(shown[url], detail=part.image_url.detail)
        return msgspec.structs.replace(part, image_url=image_url)

    return msgspec.structs.replace(message, content=[filled(part) for part in parts])
