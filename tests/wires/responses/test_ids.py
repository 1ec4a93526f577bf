"""Ids of responses, items and conversations: they say what they were made of, and nobody else can make one."""

import base64
import string
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.places import ChatKind, ConversationPlace, ResponsePlace
from gateway.wires.responses.ids import LONGEST_ID, ItemKind, Seal, derived_secret

SEAL = Seal((b"new secret", b"old secret"))
OLD, OTHER = Seal((b"old secret",)), Seal((b"another secret",))


def digits(count: int) -> st.SearchStrategy[str]:
    return st.binary(min_size=count // 2, max_size=count // 2).map(bytes.hex)


KINDS: st.SearchStrategy[ItemKind] = st.sampled_from(["msg", "rs", "fc", "fco", "ctc", "mcp", "mcpr"])
CHAT_KINDS: st.SearchStrategy[ChatKind] = st.sampled_from(["chat", "scratch", "kept"])
SECONDS = st.integers(0, 2**63)
INDICES = st.integers(0, 2**16 - 1)
PLACES = st.builds(
    ResponsePlace,
    digits(32),
    digits(8),
    digits(8),
    CHAT_KINDS,
    digits(32),
    digits(16),
    st.one_of(st.just(""), digits(8)),
    SECONDS,
)
CONVERSATIONS = st.builds(
    ConversationPlace,
    digits(8),
    digits(16),
    st.one_of(st.just(""), digits(32).filter(lambda owner: int(owner, 16) > 0)),
    SECONDS,
    st.one_of(st.just(""), digits(8).filter(lambda agent_type: int(agent_type, 16) > 0)),
)
PLACE = ResponsePlace("5e" * 16, "0b1c2d3e", "9f86d081", "chat", "1f" * 16, "c0ffee0123456789")
CONVERSATION = ConversationPlace("0b1c2d3e", "c0ffee0123456789", "5e" * 16)
MADE = {
    "a response": SEAL.response_id(PLACE),
    "a message": SEAL.item_id("msg", PLACE, 0),
    "a call": SEAL.item_id("fc", PLACE, 1),
    "a question": SEAL.approval_id(PLACE, 2, "call_1"),
    "a conversation": SEAL.conversation_id(CONVERSATION),
}
READERS: list[Callable[[str], object]] = [
    SEAL.read_response,
    SEAL.read_item,
    SEAL.read_approval,
    SEAL.read_conversation,
]


def is_read(text: str) -> bool:
    return any(read(text) is not None for read in READERS)


@given(PLACES)
def test_a_response_s_id_says_its_place(place: ResponsePlace) -> None:
    assert SEAL.read_response(SEAL.response_id(place)) == place


@given(PLACES, KINDS, INDICES)
def test_an_item_s_id_says_its_response_and_its_place_in_it(place: ResponsePlace, kind: ItemKind, index: int) -> None:
    id = SEAL.item_id(kind, place, index)

    assert id.startswith(f"{kind}_")
    assert SEAL.read_item(id) == (place, index)
    assert SEAL.read_approval(id) is None


@given(PLACES, INDICES, st.text(min_size=1, max_size=40).filter(lambda id: id.isprintable()))
def test_the_id_of_a_question_says_its_call(place: ResponsePlace, index: int, call_id: str) -> None:
    id = SEAL.approval_id(place, index, call_id)

    assert SEAL.read_approval(id) == (place, call_id)
    assert SEAL.read_item(id) == (place, index)


@given(CONVERSATIONS)
def test_a_conversation_s_id_says_its_place(place: ConversationPlace) -> None:
    assert SEAL.read_conversation(SEAL.conversation_id(place)) == place


def test_the_ids_of_a_response_are_those_of_its_seal() -> None:
    ids = SEAL.ids_of(PLACE)

    assert ids.response == MADE["a response"]
    assert ids.item("msg", 0) == MADE["a message"]
    assert ids.approval(2, "call_1") == MADE["a question"]


@pytest.mark.parametrize("id", MADE.values(), ids=MADE)
def test_an_id_is_made_of_what_every_client_takes(id: str) -> None:
    assert {*id} <= {*string.ascii_letters, *string.digits, "_", "-"}
    assert len(id) < 160


def test_during_a_change_of_secrets_both_read_and_the_new_one_seals() -> None:
    assert SEAL.read_response(OLD.response_id(PLACE)) == PLACE
    assert OLD.read_response(SEAL.response_id(PLACE)) is None
    assert Seal((b"new secret",)).read_response(SEAL.response_id(PLACE)) == PLACE


@pytest.mark.parametrize("id", MADE.values(), ids=MADE)
def test_an_id_that_another_secret_has_sealed_is_none(id: str) -> None:
    assert (OTHER.read_response(id), OTHER.read_item(id), OTHER.read_approval(id), OTHER.read_conversation(id)) == (
        *(None, None),
        *(None, None),
    )


@given(st.sampled_from([*MADE.values()]), st.data())
def test_an_id_with_another_character_anywhere_is_none(id: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(id) - 1))
    other = data.draw(
        st.sampled_from(string.ascii_letters + string.digits + "_-=+/ \n.ü\0").filter(lambda c: c != id[at])
    )

    assert not is_read(id[:at] + other + id[at + 1 :])


@given(st.sampled_from([*MADE.values()]), st.data())
def test_an_id_that_was_cut_or_prolonged_is_none(id: str, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(id) - 1))

    assert not is_read(id[:cut])
    assert not is_read(id + data.draw(st.text(min_size=1, max_size=5)))
    assert not is_read(data.draw(st.text(min_size=1, max_size=5)) + id)


@pytest.mark.parametrize("id", MADE.values(), ids=MADE)
def test_an_id_under_another_prefix_is_none(id: str) -> None:
    own, _, sealed = id.partition("_")

    prefixes = ("resp", "msg", "rs", "fc", "fco", "ctc", "mcp", "mcpr", "conv", "")
    assert [prefix for prefix in prefixes if prefix != own and is_read(f"{prefix}_{sealed}")] == []


@given(st.one_of(st.text(), st.binary().map(lambda raw: "resp_" + base64.urlsafe_b64encode(raw).decode().rstrip("="))))
def test_any_other_text_is_none(text: str) -> None:
    assert not is_read(text)


def test_a_text_without_end_is_none() -> None:
    assert not is_read("resp_" + "a" * 10 * LONGEST_ID)


@pytest.mark.parametrize("padding", ["=", "==", "\n", " "])
def test_no_second_text_stands_for_an_id(padding: str) -> None:
    assert not any(is_read(id + padding) for id in MADE.values())


@pytest.mark.parametrize("secrets", [(), (b"",), (b"a", b"")])
def test_a_seal_needs_secrets(secrets: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match="secret"):
        Seal(secrets)


def test_gateways_that_share_a_letta_share_a_secret() -> None:
    secret = derived_secret("http://letta:8283", "a key")

    assert len(secret) == 32
    assert secret == derived_secret("http://letta:8283", "a key")
    assert secret != derived_secret("http://letta:8283", "another key")
    assert secret != derived_secret("http://other:8283", "a key")
    assert derived_secret("a\0b", "c") != derived_secret("a", "c")
