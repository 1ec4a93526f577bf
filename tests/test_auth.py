"""Which key a request carries, and from which web pages it may be used."""

import hashlib
from datetime import UTC, datetime

import pytest
from litestar.datastructures import Headers

from gateway.domain.errors import AmbiguousHeader, Forbidden, InvalidApiKey
from gateway.http.incoming.auth import Admitted, KeyRing
from gateway.settings import OPEN_KEY, AgentType, HashedKey, Key, Secret, Settings

TUTOR = AgentType(id="tutor", model="m")
PAGE, OTHER_PAGE, FOREIGN_PAGE = "https://page.example.org", "https://other.example.org", "https://evil.example.org"
SCRIPTS = Key(name="scripts", key=Secret("sk-scripts"))
WIDGET = Key(name="widget", key=Secret("sk-widget"), origins=(PAGE,))
BOARD = Key(name="board", key=Secret("sk-board"), origins=(OTHER_PAGE, PAGE))
SETTINGS = Settings(agent_types=(TUTOR,), keys=(SCRIPTS, WIDGET, BOARD))
OPEN = Settings(agent_types=(TUTOR,))


def headers(*authorizations: str | None, origin: str | None = None) -> Headers:
    """As they come, the same one as often as it is named."""
    named = [("authorization", value) for value in authorizations] + [("origin", origin)]
    return Headers([(name.encode(), value.encode("latin-1")) for name, value in named if value is not None])


RIGHT = {
    "the first key": ("Bearer sk-scripts", SCRIPTS),
    "another key": ("Bearer sk-widget", WIDGET),
    "the last key": ("Bearer sk-board", BOARD),
    "the scheme in any case": ("bEARER sk-scripts", SCRIPTS),
    "more spaces": ("Bearer   sk-scripts ", SCRIPTS),
}


@pytest.mark.parametrize(("authorization", "key"), RIGHT.values(), ids=RIGHT.keys())
def test_the_right_key_is_found(authorization: str, key: Key) -> None:
    assert KeyRing(SETTINGS).admit(headers(authorization)).key is key


MISSING = {
    "no header": None,
    "an empty header": "",
    "no scheme": "sk-scripts",
    "another scheme": "Basic sk-scripts",
    "a scheme alone": "Bearer",
    "a scheme and a space": "Bearer  ",
    "a scheme glued to the key": "Bearersk-scripts",
}


@pytest.mark.parametrize("authorization", MISSING.values(), ids=MISSING.keys())
def test_a_missing_key_is_refused_with_the_way_to_send_one(authorization: str | None) -> None:
    with pytest.raises(InvalidApiKey, match="Authorization: Bearer KEY") as caught:
        KeyRing(SETTINGS).admit(headers(authorization))

    assert (caught.value.status_code, caught.value.code) == (401, "invalid_api_key")


WRONG = {
    "another": "Bearer sk-guess",
    "longer": "Bearer sk-scripts1",
    "shorter": "Bearer sk-script",
    "in capitals": "Bearer SK-SCRIPTS",
    "beyond ASCII": "Bearer sk-scripts\u00e9",
    "two keys": "Bearer sk-scripts sk-widget",
    "the key's name": "Bearer scripts",
    "what a secret shows": "Bearer ***",
}


@pytest.mark.parametrize("authorization", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_key_is_refused_and_not_repeated(authorization: str) -> None:
    with pytest.raises(InvalidApiKey) as caught:
        KeyRing(SETTINGS).admit(headers(authorization))

    assert str(caught.value) == "Incorrect API key provided."
    assert (caught.value.status_code, caught.value.code) == (401, "invalid_api_key")


def test_a_key_without_a_value_opens_nothing() -> None:
    settings = Settings(agent_types=(TUTOR,), keys=(Key(name="unset"),))

    with pytest.raises(InvalidApiKey):
        KeyRing(settings).admit(headers("Bearer None"))


@pytest.mark.parametrize("authorization", [None, "Bearer anything", "Basic anything"])
def test_without_keys_everyone_is_let_in(authorization: str | None) -> None:
    assert KeyRing(OPEN).admit(headers(authorization)).key is OPEN_KEY


def test_a_key_beyond_ascii_is_sent_in_utf_8() -> None:
    key = Key(name="umlaut", key=Secret("sk-schlüssel"))
    sent = Headers([(b"authorization", "Bearer sk-schlüssel".encode())])

    assert KeyRing(Settings(agent_types=(TUTOR,), keys=(key,))).admit(sent).key is key


# More than one header, as where a proxy adds its own.
TWICE = {
    "the same key": ("Bearer sk-scripts", "Bearer sk-scripts"),
    "two keys": ("Bearer sk-scripts", "Bearer sk-widget"),
    "a right one first": ("Bearer sk-scripts", "Bearer sk-guess"),
    "a right one last": ("Bearer sk-guess", "Bearer sk-scripts"),
    "a right one and a password": ("Basic c2VjcmV0", "Bearer sk-scripts"),
    "a right one and nothing": ("Bearer sk-scripts", ""),
}


@pytest.mark.parametrize("shown", TWICE.values(), ids=TWICE)
def test_a_right_key_beside_another_header_is_ambiguous(shown: tuple[str, str]) -> None:
    with pytest.raises(AmbiguousHeader) as caught:
        KeyRing(SETTINGS).admit(headers(*shown))

    assert (caught.value.status_code, caught.value.code) == (400, "ambiguous_header")
    assert caught.value.param == "authorization"
    assert "sk-" not in str(caught.value)


@pytest.mark.parametrize("shown", [("Bearer sk-guess", "Bearer sk-hope"), ("Basic c2VjcmV0", "")])
def test_who_shows_no_right_key_is_told_no_more_than_that(shown: tuple[str, str]) -> None:
    with pytest.raises(InvalidApiKey):
        KeyRing(SETTINGS).admit(headers(*shown))


ALLOWED_ORIGINS = {
    "no page": ("Bearer sk-widget", None),
    "its page": ("Bearer sk-widget", PAGE),
    "each of its pages": ("Bearer sk-board", OTHER_PAGE),
    # No page may read such an answer: the browser sees to it.
    "a page of no key": ("Bearer sk-widget", FOREIGN_PAGE),
    "a page of no key, and a key of no page": ("Bearer sk-scripts", FOREIGN_PAGE),
}


@pytest.mark.parametrize(("authorization", "origin"), ALLOWED_ORIGINS.values(), ids=ALLOWED_ORIGINS.keys())
def test_a_key_may_be_used_from(authorization: str, origin: str | None) -> None:
    assert KeyRing(SETTINGS).admit(headers(authorization, origin=origin)).key.name in ("widget", "board", "scripts")


OTHERS_ORIGINS = {
    "a key of another page": ("Bearer sk-widget", OTHER_PAGE),
    "a key of no page": ("Bearer sk-scripts", PAGE),
}


@pytest.mark.parametrize(("authorization", "origin"), OTHERS_ORIGINS.values(), ids=OTHERS_ORIGINS.keys())
def test_a_key_may_not_be_used_from_the_page_of_another(authorization: str, origin: str) -> None:
    with pytest.raises(Forbidden) as caught:
        KeyRing(SETTINGS).admit(headers(authorization, origin=origin))

    assert (caught.value.status_code, caught.value.code) == (403, "origin_not_allowed")


def test_a_wrong_key_is_refused_before_its_origin() -> None:
    with pytest.raises(InvalidApiKey):
        KeyRing(SETTINGS).admit(headers("Bearer sk-guess", origin=PAGE))


def test_all_pages_of_all_keys_are_told_once() -> None:
    assert KeyRing(SETTINGS).origins == {OTHER_PAGE, PAGE}


def test_pages_are_off_by_default() -> None:
    assert KeyRing(Settings(agent_types=(TUTOR,), keys=(SCRIPTS,))).origins == set()


def sha256(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


NOON = datetime(2027, 1, 1, 12, tzinfo=UTC)
LATER = datetime(2027, 1, 2, tzinfo=UTC)
ROTATED = Key(
    name="rotated",
    key=Secret("sk-plain"),
    sha256=(HashedKey(hash=sha256("sk-old"), expires=NOON), HashedKey(hash=sha256("sk-new"))),
    expires=LATER,
)


def rotated(now: datetime) -> KeyRing:
    return KeyRing(Settings(agent_types=(TUTOR,), keys=(ROTATED,)), now.timestamp)


def refusal(ring: KeyRing, value: str) -> str:
    """The reason for which a value is refused; empty if it is right."""
    try:
        ring.admit(headers(f"Bearer {value}"))
    except InvalidApiKey as error:
        return str(error)
    return ""


@pytest.mark.parametrize("value", ["sk-plain", "sk-old", "sk-new"])
def test_every_value_of_a_key_is_right_and_is_the_same_key(value: str) -> None:
    before = datetime(2027, 1, 1, tzinfo=UTC)

    assert rotated(before).admit(headers(f"Bearer {value}")) == Admitted(ROTATED, sha256(value))


def test_the_digest_of_a_value_is_none_itself() -> None:
    with pytest.raises(InvalidApiKey, match="Incorrect"):
        rotated(NOON).admit(headers(f"Bearer {sha256('sk-new')}"))


# Now, and the values that are refused from then on.
EXPIRED = {
    "a value": (NOON, ["sk-old"]),
    "the key": (LATER, ["sk-plain", "sk-old", "sk-new"]),
}


@pytest.mark.parametrize(("now", "values"), EXPIRED.values(), ids=EXPIRED)
def test_a_value_is_refused_from_the_moment_at_which_it_expires(now: datetime, values: list[str]) -> None:
    said = {value: refusal(rotated(now), value) for value in ("sk-plain", "sk-old", "sk-new")}

    assert {value: why for value, why in said.items() if why} == dict.fromkeys(values, "This API key has expired.")


def test_a_value_that_has_expired_was_right_for_what_it_has_begun() -> None:
    assert rotated(LATER).still_admits(Admitted(ROTATED, sha256("sk-old")))


def test_a_value_that_was_taken_away_is_right_no_more() -> None:
    assert not KeyRing(SETTINGS).still_admits(Admitted(ROTATED, sha256("sk-old")))


def test_a_value_that_stays_is_right_whatever_has_become_of_its_key() -> None:
    moved = Key(name="another", sha256=(HashedKey(hash=sha256("sk-old")),))

    assert KeyRing(Settings(agent_types=(TUTOR,), keys=(moved,))).still_admits(Admitted(ROTATED, sha256("sk-old")))


def test_without_keys_everyone_stays() -> None:
    assert KeyRing(OPEN).still_admits(Admitted(OPEN_KEY, ""))
