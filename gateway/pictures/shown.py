"""Pictures that messages show by their addresses: fetched, and put as data URLs in the addresses' places.

Clients send all of a chat with every message: so fetched pictures are kept for a while. Losing one costs another fetch.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import chain

import msgspec
from msgspec import Struct

from gateway.domain.cache import Cache
from gateway.domain.errors import BodyTooLarge, InvalidRequest
from gateway.domain.messages import last_answer
from gateway.domain.request import Piece, Request, RequestMessage, ShownPicture, Unusable
from gateway.pictures.data_urls import MEGABYTE, to_data_url, to_image

# The most characters of all pictures that are kept.
KEPT = 64 * MEGABYTE
# The time for which an address is not fetched again.
FRESH_SECONDS = 600.0
MAX_ADDRESSES = 50
_ADDRESS = re.compile("https?:", re.IGNORECASE)
# Stands in the place of a picture that is not fetched yet.
STAND_IN = "A picture"


class FetchFailed(Exception):
    """A picture could not be fetched. The text says why, to the client, without a word of the picture's address."""


Fetch = Callable[[str], Awaitable[bytes]]
"""A function that gets the bytes at an address, or raises FetchFailed."""


class _Found(Struct, frozen=True):
    """The outcome of the last fetch of an address."""

    picture: str
    """The picture as a data URL, of this fetch or an earlier one; empty if there never was one."""
    problem: str
    """The reason why this fetch brought none; empty if it did."""
    fresh_until: float
    """The moment until which the address is not fetched again, by the loop's clock."""


class Pictures:
    """Fetches pictures that are shown by address. `max_mb` is the most that those of one request may have together."""

    def __init__(self, fetch: Fetch, max_mb: int) -> None:
        self._fetch = fetch
        self._max_mb = max_mb
        self._found: Cache[str, _Found] = Cache(KEPT)
        self._under_way: dict[str, asyncio.Task[_Found]] = {}

    async def bring(self, request: Request) -> Request:
        """The request with pictures in the places of their addresses, or `Unusable` for an address without one.

        Raises InvalidRequest for more addresses than one request may have, BodyTooLarge for larger pictures.
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
        """Fetch an address, or take the outcome that is fresh; a failure is not good enough for a `new` picture.

        Whoever shows a picture for the first time wants to know if it can be seen now.
        """
        known = self._found.get(url)
        if known and asyncio.get_running_loop().time() < known.fresh_until and not (new and known.problem):
            return known
        # One fetch serves all requests that come meanwhile; it goes on if one of their clients leaves.
        fetching = self._under_way.get(url)
        if fetching is None:
            fetching = self._under_way[url] = asyncio.create_task(self._ask(url, known.picture if known else ""))
            fetching.add_done_callback(lambda _: self._under_way.pop(url))
        return await asyncio.shield(fetching)

    async def _ask(self, url: str, before: str) -> _Found:
        """Fetch an address, and keep the outcome. If it fails, the picture of an earlier fetch, `before`, stays."""
        picture, problem = before, ""
        try:
            picture = _checked(await self._fetch(url))
        except FetchFailed as error:
            problem = str(error)
        found = _Found(picture, problem, asyncio.get_running_loop().time() + FRESH_SECONDS)
        self._found.put(url, found, len(url) + len(picture) + len(problem))
        return found


def shows_addresses(request: Request) -> bool:
    """True if the request shows a picture by its address."""
    return any(True for _ in _addresses(request.messages))


def without_addresses(request: Request) -> Request:
    """The request with STAND_IN for each picture shown by address, so that the rest can be checked before a fetch."""
    return _with_pieces(request, lambda piece: STAND_IN if _is_address(piece) else piece)


def look_at(request: Request, max_mb: int) -> Request:
    """The request with its pictures read, each at most `max_mb` MiB; one that cannot be read becomes `Unusable`.

    A picture in an earlier tool result is left as it is: such results are told in words.
    """
    after = last_answer(request.messages)
    return _with_pieces(
        request,
        lambda piece: to_image(piece, max_mb) if isinstance(piece, ShownPicture) else piece,
        results_after=after,
    )


def _with_pieces(request: Request, change: Callable[[Piece], Piece], results_after: int = -1) -> Request:
    """The request with `change` made to each piece of persons' messages, and of tool results after `results_after`."""
    messages = request.messages
    if ShownPicture not in set(map(type, chain.from_iterable(message.pieces for message in messages))):
        return request
    shows = {i for i, message in enumerate(messages) for piece in message.pieces if isinstance(piece, ShownPicture)}
    changed = {
        i: msgspec.structs.replace(messages[i], pieces=tuple(map(change, messages[i].pieces)))
        for i in shows
        if messages[i].role == "user" or i > results_after
    }
    return msgspec.structs.replace(request, messages=tuple(changed.get(i, one) for i, one in enumerate(messages)))


def _checked(fetched: bytes) -> str:
    """The data URL of the fetched bytes. Raises FetchFailed if they are no picture."""
    try:
        return to_data_url(fetched)
    except ValueError as error:
        raise FetchFailed(str(error)) from None


def _addresses(messages: Sequence[RequestMessage]) -> Iterator[tuple[str, bool]]:
    """Every address that a person or a tool shows, and True if it came after the last answer; the new ones last."""
    after = last_answer(messages)
    for i, message in enumerate(messages):
        # A tool's picture for an earlier answer is told in words, if at all.
        for piece in message.pieces if message.role == "user" or i > after else ():
            if isinstance(piece, ShownPicture) and _is_address(piece):
                yield piece.url, i > after


def _is_address(piece: Piece) -> bool:
    return isinstance(piece, ShownPicture) and _ADDRESS.match(piece.url) is not None


def _shown(piece: ShownPicture, found: _Found, new: bool) -> Piece:
    """The fetched picture in the place of its address, to be read as its own part says; `Unusable` if there is none."""
    if found.picture and not (new and found.problem):
        return msgspec.structs.replace(piece, url=found.picture)
    return Unusable(piece.place, found.problem, is_picture=True)
