"""Pictures that messages show by their addresses: fetched, and put as data URLs in the addresses' places.

Clients send all of a chat with every message: what was fetched is kept for a while. Losing it costs another fetch.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence

import msgspec
from msgspec import Struct

from gateway.domain.cache import Cache
from gateway.domain.errors import BodyTooLarge, InvalidRequest
from gateway.domain.messages import last_answer
from gateway.domain.request import Piece, Request, RequestMessage, ShownPicture, Unusable
from gateway.pictures.data_urls import MEGABYTE, to_data_url, to_image

# Of all that is kept, in characters.
KEPT = 64 * MEGABYTE
# For so long an address is not asked again.
FRESH_SECONDS = 600.0
MAX_ADDRESSES = 50
_ADDRESS = re.compile("https?:", re.IGNORECASE)
# What stands for a picture that is not fetched yet.
STAND_IN = "A picture"


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

    async def bring(self, request: Request) -> Request:
        """The request with its pictures in the places of their addresses, or `Unusable` where there is none.

        Raises InvalidRequest for more addresses or larger pictures than one request may have.
        """
        asked = dict(_addresses(request.messages))
        if not asked:
            return request
        if len(asked) > MAX_ADDRESSES:
            place = request.place
            raise InvalidRequest(f"`{place}` shows more than {MAX_ADDRESSES} pictures by address.", place)
        found = await asyncio.gather(*(self._get(url, new) for url, new in asked.items()))
        if sum(len(one.picture) for one in found) > self._max_mb * MEGABYTE:
            raise BodyTooLarge(f"The pictures of this request are larger than {self._max_mb} MB together.")
        shown = {url: (one, asked[url]) for url, one in zip(asked, found, strict=True)}

        def filled(piece: Piece) -> Piece:
            return _shown(piece, *shown[piece.url]) if isinstance(piece, ShownPicture) and piece.url in shown else piece

        return _with_pieces(request, filled)

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


def shows_addresses(request: Request) -> bool:
    """True for a request that shows a picture by its address."""
    return any(True for _ in _addresses(request.messages))


def without_addresses(request: Request) -> Request:
    """The request with a word in the place of each such picture: all else of it can be looked at before a fetch."""
    return _with_pieces(request, lambda piece: STAND_IN if _is_address(piece) else piece)


def look_at(request: Request, max_mb: int) -> Request:
    """The request with its pictures read, each at most `max_mb` MiB; one that is none becomes `Unusable`.

    A picture that an earlier result showed is told of in words: it is left as it is.
    """
    after = last_answer(request.messages)
    return _with_pieces(
        request,
        lambda piece: to_image(piece, max_mb) if isinstance(piece, ShownPicture) else piece,
        results_after=after,
    )


def _with_pieces(request: Request, change: Callable[[Piece], Piece], results_after: int = -1) -> Request:
    """The request with each piece of what persons and tools show changed."""
    messages = [
        msgspec.structs.replace(message, pieces=tuple(map(change, message.pieces)))
        if any(isinstance(piece, ShownPicture) for piece in message.pieces)
        and (message.role == "user" or i > results_after)
        else message
        for i, message in enumerate(request.messages)
    ]
    return msgspec.structs.replace(request, messages=tuple(messages))


def _checked(fetched: bytes) -> str:
    """The data URL of what was fetched. Raises FetchFailed."""
    try:
        return to_data_url(fetched)
    except ValueError as error:
        raise FetchFailed(str(error)) from None


def _addresses(messages: Sequence[RequestMessage]) -> Iterator[tuple[str, bool]]:
    """Every address that a person or a tool shows, and True if it came after the last answer; the new ones last."""
    after = last_answer(messages)
    for i, message in enumerate(messages):
        # What a tool showed for an earlier answer is told in words, if at all.
        for piece in message.pieces if message.role == "user" or i > after else ():
            if isinstance(piece, ShownPicture) and _is_address(piece):
                yield piece.url, i > after


def _is_address(piece: Piece) -> bool:
    return isinstance(piece, ShownPicture) and _ADDRESS.match(piece.url) is not None


def _shown(piece: ShownPicture, found: _Found, new: bool) -> Piece:
    """The picture of an address; each is looked at as its own part says."""
    if found.picture and not (new and found.problem):
        return msgspec.structs.replace(piece, url=found.picture)
    return Unusable(piece.place, found.problem, is_picture=True)
