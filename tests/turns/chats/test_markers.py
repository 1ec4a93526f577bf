"""Tags, markers and client ids: what others can list of a user, and what must never be mistaken for another's."""

import re
from hashlib import sha256

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.domain.messages import Message, image_of
from gateway.turns.chats.markers import (
    SCRATCH,
    ClientId,
    PathDigest,
    Summary,
    agent_tags,
    conversation_marker,
    id_digest,
    parse_client_id,
    parse_summary,
    pictures_of,
    scratch_marker,
    thread_marker,
)

IDS = st.text(max_size=40)
MARKER = conversation_marker("tutor", "school", "ada", "chat-1")


def test_an_agent_is_tagged_with_gateway_type_and_hashed_user() -> None:
    gateway, agent_type, user = agent_tags("tutor", "school", "ada")

    assert (gateway, agent_type) == ("gateway", "tutor")
    assert re.fullmatch(r"gw-user:[0-9a-f]{32}", user)


def test_a_users_tag_is_made_of_scope_and_user_with_their_lengths() -> None:
    digest = sha256(b"6:school3:ada").hexdigest()[:32]

    assert agent_tags("tutor", "school", "ada")[2] == f"gw-user:{digest}"


def test_a_chats_marker_is_made_of_its_parts_with_their_lengths() -> None:
    digest = sha256(b"6:school3:ada5:tutor6:chat-1").hexdigest()[:32]

    assert f"gw1:{digest}" == MARKER


def test_a_marker_is_a_version_and_32_hex_digits() -> None:
    assert re.fullmatch(r"gw1:[0-9a-f]{32}", MARKER)


# What earlier versions made of ids: a letta keeps it, so it must never change.
KEPT: dict[str, tuple[str, tuple[str, str, str, str, str]]] = {
    "odd": (
        'a%20b; "q" {y}',
        (
            "gw-user:8a76cb59a2aa337c71a521d9b7197b3d",
            "gw1:c21dc1979d533a331e1b335254f2e2a0",
            "gw1:bfc9c0f274f5d1dbe02b4e6f6759b271",
            "gw1:scratch:531ba32425e0fc444633d2b17aa7d0be",
            "0ac16245f064cc92",
        ),
    ),
    "of latin-1": (
        "Jürgen",
        (
            "gw-user:84415364860d2bef02a771e6becca989",
            "gw1:94d635ae9f58a7511908d99eb2db55d4",
            "gw1:aa3a80b925751237079ce34c2e03b3a5",
            "gw1:scratch:17831673008ba3e48466abe30aae6484",
            "d84a2e74fe468d31",
        ),
    ),
    "of UTF-8, as it was read": (
        "AdÃ©l",
        (
            "gw-user:b50967f98080b3e66245181924f6873e",
            "gw1:99dce2bb768a8fc0c92840807fec396b",
            "gw1:940580fbc37c9c8c97d87d748a23a6a9",
            "gw1:scratch:eb993579cc23d5dee2be7e4584a3fb94",
            "348cd510ec8c1f1c",
        ),
    ),
    "of UTF-8 that looks misread": (
        "AdÃ\x83Â©l",
        (
            "gw-user:fb38081f5bd676177124a9783f6d53bf",
            "gw1:818d6208d7c564954ab0c59b24ff8bb4",
            "gw1:9d0ee33a55cf581a37a3a047c10ab00f",
            "gw1:scratch:c5effbaac2c42792e9ac9afac33451bc",
            "d08bff302b460be2",
        ),
    ),
}


@pytest.mark.parametrize(("id", "kept"), KEPT.values(), ids=KEPT)
def test_tags_markers_and_digests_are_what_earlier_versions_made_of_ids(
    id: str, kept: tuple[str, str, str, str, str]
) -> None:
    assert kept == (
        agent_tags("tutor", "school", id)[2],
        conversation_marker("tutor", "school", id, id),
        thread_marker("tutor", "school", id),
        scratch_marker("tutor", "school", id, "Hi"),
        id_digest(id, id),
    )


def test_the_users_tag_is_the_same_for_every_type() -> None:
    assert agent_tags("tutor", "school", "ada")[2] == agent_tags("cook", "school", "ada")[2]


OTHERS = {
    "scope": ("tutor", "work", "ada", "chat-1"),
    "user": ("tutor", "school", "bob", "chat-1"),
    "type": ("cook", "school", "ada", "chat-1"),
    "chat": ("tutor", "school", "ada", "chat-2"),
}


@pytest.mark.parametrize("parts", OTHERS.values(), ids=OTHERS.keys())
def test_a_marker_tells_every_part_apart(parts: tuple[str, str, str, str]) -> None:
    assert conversation_marker(*parts) != MARKER


def test_neighbours_do_not_run_into_each_other() -> None:
    assert agent_tags("tutor", "ab", "c") != agent_tags("tutor", "a", "bc")


@given(IDS, IDS)
def test_no_other_split_of_scope_and_user_gives_the_same_tag(scope: str, user: str) -> None:
    joined = scope + user
    tags = [agent_tags("tutor", joined[:i], joined[i:])[2] for i in range(len(joined) + 1)]

    assert len(set(tags)) == len(tags)


@given(st.lists(IDS, min_size=4, max_size=4), st.lists(IDS, min_size=4, max_size=4))
def test_different_parts_give_different_markers(one: list[str], other: list[str]) -> None:
    assume(one != other)

    assert conversation_marker(*one) != conversation_marker(*other)


@given(st.text(alphabet="0123456789:", max_size=30))
def test_ids_that_look_like_lengths_do_not_confuse(text: str) -> None:
    markers = [conversation_marker("t", text[:i], text[i:], "c") for i in range(len(text) + 1)]

    assert len(set(markers)) == len(markers)


@given(st.text(st.characters(codec=None, categories=["L", "Cs"]), min_size=1, max_size=8))
def test_half_a_surrogate_pair_is_an_id_too(user: str) -> None:
    assert agent_tags("tutor", "school", user)[2].startswith("gw-user:")


@given(st.text("ghijklmnopqrstuvwxyz@. ", min_size=6, max_size=60))
def test_ids_never_appear_in_tags_and_markers(id: str) -> None:
    markers = [
        conversation_marker("TYPE", id, id, id),
        thread_marker("TYPE", id, id),
        scratch_marker("TYPE", id, id, id),
    ]
    client_id = ClientId(id_digest(id, id), id_digest(id, id), str(PathDigest([id, id]))).new()

    assert id not in " ".join([*agent_tags("TYPE", id, id), *markers, client_id])


# What a conversation is, and what its summary says
SUMMARIES: dict[str, tuple[Summary, str]] = {
    "the present conversation of a chat": (Summary(MARKER), f"Letta Gateway {MARKER}"),
    "one that was replaced": (Summary(MARKER, replaced=True), f"Letta Gateway (replaced) {MARKER}"),
    "one of a temporary chat": (Summary(MARKER, temporary=True), f"Letta Gateway (temporary) {MARKER}"),
    "one of a temporary chat that was replaced": (
        Summary(MARKER, replaced=True, temporary=True),
        f"Letta Gateway (replaced) (temporary) {MARKER}",
    ),
    "one in which something is missing": (
        Summary(MARKER, note='[["user","Hi (replaced) ] gw1:0"]]'),
        f'Letta Gateway [["user","Hi (replaced) ] gw1:0"]] {MARKER}',
    ),
    "one of a temporary chat in which something is missing": (
        Summary(MARKER, temporary=True, note="[1]"),
        f"Letta Gateway (temporary) [1] {MARKER}",
    ),
    "one of which a turn was deleted": (
        Summary(MARKER, gone="c0ffee0123456789"),
        f"Letta Gateway (deleted c0ffee0123456789) {MARKER}",
    ),
    "one of a chat that was given its id": (
        Summary(MARKER, whose=f"0b1c2d3e.{'5e' * 16}"),
        f"Letta Gateway (about 0b1c2d3e.{'5e' * 16}) {MARKER}",
    ),
    "one of which more is said": (
        Summary(MARKER, note="[1]", whose=f"0b1c2d3e.{'5e' * 16}", about="eJw-_w"),
        f"Letta Gateway (about 0b1c2d3e.{'5e' * 16}.eJw-_w) [1] {MARKER}",
    ),
    "the scratch": (Summary(f"{SCRATCH}0123"), f"Letta Gateway {SCRATCH}0123"),
}


@pytest.mark.parametrize(("summary", "text"), SUMMARIES.values(), ids=SUMMARIES)
def test_a_summary_says_what_its_conversation_is(summary: Summary, text: str) -> None:
    assert str(summary) == text
    assert parse_summary(text) == summary


@given(st.booleans(), st.booleans(), st.text(max_size=30), st.sampled_from(["", "c0ffee0123456789"]), IDS)
def test_a_summary_is_read_as_it_was_written(replaced: bool, temporary: bool, note: str, gone: str, chat: str) -> None:
    marker = conversation_marker("tutor", "school", "ada", chat)
    summary = Summary(marker, replaced, temporary, f"[{note}]", gone)

    assert parse_summary(str(summary)) == summary


# Titles that somebody else has given a conversation, and what its summary says
TITLED: dict[str, tuple[str, Summary]] = {
    "another title": (f"Fractions, explained {MARKER}", Summary(MARKER, title="Fractions, explained")),
    "a title of two lines": (f"Fractions\nexplained {MARKER}", Summary(MARKER, title="Fractions\nexplained")),
    "a state in another place": (f"(replaced) Fractions {MARKER}", Summary(MARKER, title="(replaced) Fractions")),
    "a state that is none": (f"Letta Gateway (lost) {MARKER}", Summary(MARKER, title="Letta Gateway (lost)")),
    "a state behind it": (f"Fractions (replaced) {MARKER}", Summary(MARKER, replaced=True, title="Fractions")),
    "a note behind it": (f"Fractions [1] {MARKER}", Summary(MARKER, note="[1]", title="Fractions")),
}


@pytest.mark.parametrize(("text", "summary"), TITLED.values(), ids=TITLED)
def test_a_conversation_may_have_another_title(text: str, summary: Summary) -> None:
    assert parse_summary(text) == summary
    assert str(summary) == text


FOREIGN: dict[str, str | None] = {
    "none": None,
    "empty": "",
    "a title": "Fractions",
    "the marker alone": MARKER,
    "not at the end": f"Letta Gateway {MARKER} Fractions",
    "a line end after it": f"Letta Gateway {MARKER}\n",
    "glued to a word": f"Letta Gateway{MARKER}",
    "no marker": "Letta Gateway ",
    "nothing in the marker": "Letta Gateway gw1:",
    "in capitals": f"Letta Gateway {MARKER.upper()}",
    "another version": f"Letta Gateway {MARKER.replace('gw1:', 'gw2:')}",
    "no version": f"Letta Gateway {MARKER.removeprefix('gw1:')}",
    "one that was deleted": "Letta Gateway (deleted)",
}


@pytest.mark.parametrize("summary", FOREIGN.values(), ids=FOREIGN)
def test_any_other_summary_is_not_the_gateways(summary: str | None) -> None:
    assert parse_summary(summary) is None


def test_a_longer_or_shorter_marker_is_another() -> None:
    for other in (f"{MARKER}0", MARKER[:-1]):
        found = parse_summary(f"Letta Gateway {other}")
        assert found
        assert found.marker != MARKER


@given(IDS, IDS)
def test_a_chat_the_thread_and_the_scratch_have_different_markers(chat: str, first: str) -> None:
    markers = [
        conversation_marker("tutor", "school", "ada", chat),
        thread_marker("tutor", "school", "ada"),
        scratch_marker("tutor", "school", "ada", first),
    ]

    assert len({*markers}) == 3
    assert [marker.startswith(SCRATCH) for marker in markers] == [False, False, True]


def test_scratch_markers_tell_what_was_said_first() -> None:
    markers = {scratch_marker("tutor", "school", "ada", first) for first in ("Hi", "Hello", "Hi")}

    assert len(markers) == 2


# The ids of messages

DIGEST = st.text("0123456789abcdef", max_size=16)


@given(DIGEST, DIGEST, DIGEST, DIGEST)
def test_a_client_id_tells_what_it_was_made_of(answer: str, parent: str, path: str, pictures: str) -> None:
    named = ClientId(answer, parent, path, pictures)

    assert parse_client_id(named.new()) == named


def test_a_client_id_is_new_every_time() -> None:
    named = ClientId(path=str(PathDigest(["Hi"])))

    assert len({named.new() for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "text", ["", "gw1", "gw-0123", "gw1-a-b-c", "gw1-a-b-c-d-e-f", "gw2-a-b-c-d", "x", "gw11-a-b-c-d"]
)
def test_an_id_that_is_not_the_gateways_tells_nothing(text: str) -> None:
    assert parse_client_id(text) == ClientId()


def test_pictures_are_those_that_were_sent_whatever_letta_has_made_of_them() -> None:
    red, blue = image_of("image/png", "cmVk"), image_of("image/png", "Ymx1ZQ==")
    shown = [(), (red,), (blue,), (red, blue), (blue, red)]
    pictures = [pictures_of(Message("user", "Look", images=images)) for images in shown]
    kept = Message("user", "Look", ClientId(pictures=pictures[1]).new(), images=(blue,))

    assert pictures[0] == ""
    assert len(set(pictures)) == len(shown)
    assert pictures_of(kept) == pictures[1]


def test_a_message_id_counts_within_its_chat() -> None:
    digests = {id_digest(chat, id) for chat in ("one", "two", None) for id in ("1", "2")}

    assert len(digests) == 6
    assert all(re.fullmatch("[0-9a-f]{16}", digest) for digest in digests)


@given(st.lists(IDS, max_size=4), st.lists(IDS, max_size=4))
def test_different_paths_have_different_digests(one: list[str], other: list[str]) -> None:
    assume(one != other)

    assert str(PathDigest(one)) != str(PathDigest(other))
