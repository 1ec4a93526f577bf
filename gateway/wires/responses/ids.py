"""Ids of responses, of their items and of conversations: sealed places, which nobody else can make. Performs no I/O.

An id is its prefix and, in base64, a packed place with the first half of an HMAC-SHA256 of both. It is no secret and no
authority: what it names is looked up for who shows it. Only digests, numbers and a call's id are in it.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from struct import Struct as Layout
from typing import Literal, Protocol, get_args

from gateway.domain.places import ChatKind, ConversationPlace, ResponsePlace

ItemKind = Literal["msg", "rs", "fc", "fco", "ctc", "mcp", "mcpr"]
"""Texts, thoughts, function calls, their outputs, calls of custom tools and of Letta's, and those to be approved."""
# No id that is made here is longer, in characters: a call's id is a few dozen.
LONGEST_ID = 2048
_FORM = 1
# The form, the owner, the scope, the agent type, the kind of chat, the chat, the turn, the results, the second.
_RESPONSE = Layout(">B16s4s4sB16s8s4sQ")
_INDEX = Layout(">H")
# The form, the owner, the scope, the nonce, the second, the agent type.
_CONVERSATION = Layout(">B16s4s8sQ4s")
_MAC_BYTES = 16
_CHAT_KINDS: tuple[ChatKind, ...] = get_args(ChatKind)
_HAS_RESULTS = 0x80
_NOBODY, _ANY_TYPE = bytes(16), bytes(4)
_HASH = "sha256"


class ItemIds(Protocol):
    """The ids of one response and its items, as an encoder asks for them."""

    @property
    def response(self) -> str: ...

    def item(self, kind: ItemKind, index: int) -> str:
        """The id of the item at a place of the output."""
        ...

    def approval(self, index: int, call_id: str) -> str:
        """The id of the request to approve a call of Letta's."""
        ...


class Seal:
    """Makes ids and reads them: `Seal((new_secret, old_secret))`. The first secret seals, all of them read."""

    def __init__(self, secrets: tuple[bytes, ...]) -> None:
        """Raises ValueError where there is none, or an empty one."""
        if not secrets or not all(secrets):
            raise ValueError("expected one secret at least, and none of them empty")
        self._secrets = secrets

    def response_id(self, place: ResponsePlace) -> str:
        return self._seal("resp", _packed(place))

    def item_id(self, kind: ItemKind, place: ResponsePlace, index: int) -> str:
        """The id of the item at a place of a response's output."""
        return self._seal(kind, _packed(place) + _INDEX.pack(index))

    def approval_id(self, place: ResponsePlace, index: int, call_id: str) -> str:
        """The id of an item that asks whether a call of Letta's may be carried out; the call's id is in it."""
        return self._seal("mcpr", _packed(place) + _INDEX.pack(index) + call_id.encode("utf-8", "replace"))

    def conversation_id(self, place: ConversationPlace) -> str:
        owner = bytes.fromhex(place.owner) if place.owner else _NOBODY
        scope, nonce, agent_type = _hex(place.scope), _hex(place.nonce), _hex(place.agent_type)
        return self._seal("conv", _CONVERSATION.pack(_FORM, owner, scope, nonce, place.made_at, agent_type))

    def read_response(self, text: str) -> ResponsePlace | None:
        """The place of a response's id; None for what is no id, or was not made with one of the secrets."""
        packed = self._open("resp", text)
        return _unpacked(packed) if packed and len(packed) == _RESPONSE.size else None

    def read_item(self, text: str) -> tuple[ResponsePlace, int] | None:
        """The response of an item's id, and the item's place in its output; else None."""
        for kind in get_args(ItemKind):
            if packed := self._open(kind, text):
                end = _RESPONSE.size + _INDEX.size
                if len(packed) == end or (kind == "mcpr" and len(packed) > end):
                    return _unpacked(packed[: _RESPONSE.size]), _INDEX.unpack_from(packed, _RESPONSE.size)[0]
        return None

    def read_approval(self, text: str) -> tuple[ResponsePlace, str] | None:
        """The response of an id of `approval_id`, and the id of its call; else None."""
        packed = self._open("mcpr", text)
        if not packed or len(packed) <= _RESPONSE.size + _INDEX.size:
            return None
        return _unpacked(packed[: _RESPONSE.size]), packed[_RESPONSE.size + _INDEX.size :].decode()

    def read_conversation(self, text: str) -> ConversationPlace | None:
        """The place of a conversation's id; else None."""
        packed = self._open("conv", text)
        if not packed or len(packed) != _CONVERSATION.size:
            return None
        _, owner, scope, nonce, made_at, agent_type = _CONVERSATION.unpack(packed)
        return ConversationPlace(
            scope.hex(),
            nonce.hex(),
            "" if owner == _NOBODY else owner.hex(),
            made_at,
            "" if agent_type == _ANY_TYPE else agent_type.hex(),
        )

    def ids_of(self, place: ResponsePlace) -> "SealedIds":
        """The ids of the response at a place, and of its items."""
        return SealedIds(self, place)

    def _seal(self, prefix: str, packed: bytes) -> str:
        return _written(prefix, packed + _mac(self._secrets[0], prefix, packed))

    def _open(self, prefix: str, text: str) -> bytes | None:
        """The packed place of an id that one of the secrets has sealed; else None."""
        if len(text) > LONGEST_ID or not text.startswith(f"{prefix}_") or not text.isascii():
            return None
        encoded = text[len(prefix) + 1 :]
        try:
            sealed = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
        except ValueError:
            return None
        packed, mac = sealed[:-_MAC_BYTES], sealed[-_MAC_BYTES:]
        # Nothing but what was written is read: base64 has more than one text for the same bytes.
        if _written(prefix, sealed) != text or packed[:1] != bytes([_FORM]):
            return None
        fits = [hmac.compare_digest(mac, _mac(secret, prefix, packed)) for secret in self._secrets]
        return packed if any(fits) else None


class SealedIds:
    """The `ItemIds` of the response at one place."""

    def __init__(self, seal: Seal, place: ResponsePlace) -> None:
        self._seal, self._place = seal, place
        self.response = seal.response_id(place)

    def item(self, kind: ItemKind, index: int) -> str:
        return self._seal.item_id(kind, self._place, index)

    def approval(self, index: int, call_id: str) -> str:
        return self._seal.approval_id(self._place, index, call_id)


def derived_secret(address: str, api_key: str) -> bytes:
    """32 bytes that all gateways have which share a Letta: its address and the key to it, by HKDF.

    https://www.rfc-editor.org/rfc/rfc5869
    """
    extracted = hmac.digest(b"letta-gateway", b"\0".join(_parts(address, api_key)), _HASH)
    return hmac.digest(extracted, b"ids of responses\x01", _HASH)


def _parts(*texts: str) -> Iterator[bytes]:
    return (text.encode("utf-8", "surrogatepass") for text in texts)


def _hex(digits: str) -> bytes:
    return bytes.fromhex(digits)


def _packed(place: ResponsePlace) -> bytes:
    kind = _CHAT_KINDS.index(place.kind) | (_HAS_RESULTS if place.results else 0)
    owner, chat, turn = _hex(place.owner), _hex(place.chat), _hex(place.turn)
    scope, agent_type, results = _hex(place.scope), _hex(place.agent_type), _hex(place.results)
    return _RESPONSE.pack(_FORM, owner, scope, agent_type, kind, chat, turn, results, place.made_at)


def _unpacked(packed: bytes) -> ResponsePlace:
    _, owner, scope, agent_type, kind, chat, turn, results, made_at = _RESPONSE.unpack(packed)
    return ResponsePlace(
        owner.hex(),
        scope.hex(),
        agent_type.hex(),
        _CHAT_KINDS[kind & ~_HAS_RESULTS],
        chat.hex(),
        turn.hex(),
        results.hex() if kind & _HAS_RESULTS else "",
        made_at,
    )


def _mac(secret: bytes, prefix: str, packed: bytes) -> bytes:
    # No prefix begins with another one and its line below: what is signed can be read in one way only.
    return hmac.digest(secret, f"{prefix}_".encode() + packed, _HASH)[:_MAC_BYTES]


def _written(prefix: str, sealed: bytes) -> str:
    return f"{prefix}_{urlsafe_b64encode(sealed).decode().rstrip('=')}"
