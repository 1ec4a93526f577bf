"""The frames of a WebSocket for responses, and what a connection remembers of those that came and went.

https://developers.openai.com/api/docs/guides/websocket-mode
"""

from collections import OrderedDict
from collections.abc import Mapping

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from gateway.domain.errors import BodyTooLarge, GatewayError, InvalidRequest
from gateway.domain.places import ResponsePlace
from gateway.domain.texts.halves import decode
from gateway.wires.bodies import decode_body
from gateway.wires.responses.response import Framing, text_frame

CREATE = "response.create"
# A connection remembers so many responses that are not kept, and prepared ones, the last ones of each.
MOST_RECALLED = 32
# The most characters of a client's name for a chain: each frame repeats it.
LONGEST_STREAM_ID = 256
# A place to go on at that a prepared request has named.
_PLACES = ("previous_response_id", "conversation")
# An input that is there, where it only matters that one is.
_ANY_INPUT = b'"."'


class CreateFrame(Struct, frozen=True):
    """The event with which a client asks for a response, as far as it is more than the body of a request."""

    type: str
    stream_id: str | None = None
    """The client's name for a chain of responses; the frames of the response repeat it."""
    generate: bool | None = None
    """False: nothing is to be answered yet."""
    previous_response_id: str | None = None
    background: bool | None = None
    user: str | None = None
    safety_identifier: str | None = None

    @property
    def users(self) -> dict[str, str]:
        """The users that it names, by its fields."""
        named = {"user": self.user, "safety_identifier": self.safety_identifier}
        return {field: value for field, value in named.items() if value}


class SocketErrorDetail(Struct, frozen=True):
    """The error of a frame; every one has a code."""

    type: str
    code: str
    message: str
    param: str | None
    headers: Mapping[str, str]
    """The headers that an answer over HTTP would have had."""


class SocketError(Struct, frozen=True, tag="error"):
    """A frame that tells of an error in place of a response."""

    status: int
    error: SocketErrorDetail
    headers: Mapping[str, str]
    """Those of the error, once more: some clients look for them here."""
    stream_id: str | UnsetType = UNSET


def read_frame(data: bytes) -> CreateFrame:
    """The frame in a message of a client's. Raises InvalidRequest."""
    frame = decode_body(data, CreateFrame, f"an event `{CREATE}`", ())
    if frame.type != CREATE:
        raise InvalidRequest(f"`type`: expected `{CREATE}`, the only event that this gateway takes.", "type")
    if len(frame.stream_id or "") > LONGEST_STREAM_ID:
        raise InvalidRequest(f"`stream_id`: expected at most {LONGEST_STREAM_ID} characters.", "stream_id")
    if frame.background:
        raise InvalidRequest(
            "`background` is for requests over HTTP: a response over a WebSocket is streamed.",
            "background",
            "unsupported_parameter",
        )
    return frame


def error_frame(error: GatewayError, request_id: str, stream_id: str | None) -> bytes:
    """The frame of an error, whose request has that id in the log."""
    headers = {**error.headers, "x-request-id": request_id}
    detail = SocketErrorDetail(error.type, error.code or error.type, str(error), error.param, headers)
    return msgspec.json.encode(SocketError(error.status_code, detail, headers, stream_id or UNSET))


def framing_of(stream_id: str | None) -> Framing:
    """The framing of a response's events, which repeat the client's name for the chain."""
    if not stream_id:
        return text_frame
    end = b',"stream_id":%b}' % msgspec.json.encode(stream_id)

    def named_frame(type: bytes, data: bytes) -> bytes:
        return text_frame(type, data[:-1] + end)

    return named_frame


class Prepared(Struct, frozen=True):
    """A request that was prepared, and not answered: what it said, and where that goes on."""

    items: tuple[bytes, ...]
    """The items of its input, in JSON."""
    places: Mapping[str, bytes]
    """The fields that name the place where it goes on, in JSON."""
    owner: str
    """The digest of whose it is."""

    @property
    def size(self) -> int:
        return sum(map(len, self.items))


class Recall:
    """The memory of one connection: responses that are not kept, and requests that are prepared; the last ones."""

    def __init__(self, most_bytes: int) -> None:
        """`most_bytes`: so long all that was prepared may be together, and so long a request that goes on with it."""
        self._most_bytes = most_bytes
        self._markers: OrderedDict[ResponsePlace, str] = OrderedDict()
        self._prepared: OrderedDict[str, Prepared] = OrderedDict()

    def keep(self, place: ResponsePlace, marker: str) -> None:
        """Remember a response, and the marker of its chat."""
        self._markers[place] = marker
        if len(self._markers) > MOST_RECALLED:
            self._markers.popitem(last=False)

    def marker(self, place: ResponsePlace) -> str:
        """The marker of the chat of a response; empty if it is not remembered."""
        return self._markers.get(place, "")

    def prepare(self, id: str, body: bytes, owner: str) -> None:
        """Remember a request of the user with the digest `owner`, under the id of its response."""
        fields = _fields(body)
        places = {name: bytes(value) for name, value in fields.items() if name in _PLACES and value != b"null"}
        self._prepared[id] = Prepared(_items(fields), places, owner)
        while len(self._prepared) > MOST_RECALLED or self._size > self._most_bytes:
            self._prepared.popitem(last=False)

    @property
    def _size(self) -> int:
        return sum(prepared.size for prepared in self._prepared.values())

    def completed(self, frame: CreateFrame, data: bytes, owner: str) -> bytes:
        """The body of a request: with what its own user has prepared before it, if it goes on with that.

        Raises BodyTooLarge.
        """
        prepared = self._prepared.get(frame.previous_response_id or "")
        if not prepared or prepared.owner != owner:
            return data
        fields = _fields(data)
        fields.pop(_PLACES[0], None)
        fields |= {name: Raw(value) for name, value in prepared.places.items()}
        body = _with_items(fields, (*prepared.items, *_items(fields)))
        if len(body) > self._most_bytes:
            raise BodyTooLarge()
        return body

    def forget(self, id: str, place: ResponsePlace | None, owner: str) -> None:
        """Forget a response with which its own user was to go on, and failed; another's stays."""
        if (prepared := self._prepared.get(id)) and prepared.owner == owner:
            del self._prepared[id]
        if place and place.owner == owner:
            self._markers.pop(place, None)


def to_be_checked(body: bytes) -> bytes:
    """The body of a request that is prepared, with some input: it may bring all of it later."""
    fields = _fields(body)
    return body if _items(fields) else msgspec.json.encode({**fields, "input": Raw(_ANY_INPUT)})


def _fields(body: bytes) -> dict[str, Raw]:
    # The body was decoded before: it is JSON, and an object.
    return decode(body, dict[str, Raw])


def _items(fields: Mapping[str, Raw]) -> tuple[bytes, ...]:
    """The items of an input; a text is a message. What is neither has none: whoever decodes it finds the fault."""
    given = fields.get("input", Raw(b"null"))
    if bytes(given)[:1] == b'"':
        return (b'{"type":"message","role":"user","content":%b}' % given,)
    if bytes(given)[:1] != b"[":
        return ()
    return tuple(bytes(item) for item in decode(bytes(given), list[Raw]))


def _with_items(fields: Mapping[str, Raw], items: tuple[bytes, ...]) -> bytes:
    return msgspec.json.encode({**fields, "input": Raw(b"[%b]" % b",".join(items))})
