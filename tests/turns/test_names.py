"""Tags and markers: what others can list of a user, and what must never be mistaken for another's."""

import re
from hashlib import sha256

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.turns.names import SCRATCH_MARKER, agent_tags, conversation_marker, has_marker, summary_with

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
    shown = " ".join(agent_tags("TYPE", id, id)) + summary_with(conversation_marker("TYPE", id, id, id))

    assert id not in shown


@pytest.mark.parametrize("marker", [MARKER, SCRATCH_MARKER])
def test_a_summary_carries_its_marker(marker: str) -> None:
    assert has_marker(summary_with(marker), marker)


SUMMARIES: dict[str, tuple[str | None, bool]] = {
    "the marker alone": (MARKER, True),
    "another title before it": (f"Fractions, explained {MARKER}", True),
    "none": (None, False),
    "empty": ("", False),
    "a title": ("Fractions", False),
    "not at the end": (f"{MARKER} Fractions", False),
    "a line end after it": (f"Fractions {MARKER}\n", False),
    "glued to a word": (f"Fractions{MARKER}", False),
    "longer": (f"Fractions {MARKER}0", False),
    "shorter": (f"Fractions {MARKER[:-1]}", False),
    "in capitals": (f"Fractions {MARKER.upper()}", False),
    "another version": (f"Fractions {MARKER.replace('gw1:', 'gw2:')}", False),
    "an older version": (f"Fractions {MARKER.replace('gw1:', 'gw:')}", False),
    "no version": (f"Fractions {MARKER.removeprefix('gw1:')}", False),
    "another chat": (summary_with(conversation_marker("tutor", "school", "ada", "chat-2")), False),
    "the scratch": (summary_with(SCRATCH_MARKER), False),
}


@pytest.mark.parametrize(("summary", "found"), SUMMARIES.values(), ids=SUMMARIES.keys())
def test_a_marker_counts_at_the_end_of_a_summary_and_whole(summary: str | None, found: bool) -> None:
    assert has_marker(summary, MARKER) is found


@given(IDS)
def test_no_chat_has_the_marker_of_the_scratch(chat: str) -> None:
    assert conversation_marker("tutor", "school", "ada", chat) != SCRATCH_MARKER
