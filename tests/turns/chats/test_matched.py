"""What is remembered of a comparison changes nothing but the time that the next one takes."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.domain.messages import Message, image_of
from gateway.letta.notes import CONTINUE, GO_AHEAD
from gateway.letta.upstream import Past, Sending
from gateway.turns.chats.known import KnownConversation
from gateway.turns.chats.likeness import Matched
from gateway.turns.chats.markers import PathDigest, Summary, pictures_of
from gateway.turns.chats.path import RequestedPath
from gateway.turns.chats.reconcile import NO_IDS, Ids, decide, follow
from tests.growth.kinds import dialogue, respaced
from tests.turns.turns import path_of

PICTURE = (image_of("image/png", "cmVk"),)
# Some are equal, some the beginning of others, some look alike; some are the gateway's own.
SAID = st.sampled_from(
    [
        *(Message("user", text) for text in ("Hi", "More", "Mo\nre", GO_AHEAD, CONTINUE)),
        *(Message("assistant", text) for text in ("Yes", "Y es", "Yes, sure", ", sure", "&lt;b&gt;", "<b>")),
        Message("user", "Hi", images=PICTURE),
        Message("user", "", images=PICTURE),
    ]
)
PATHS = st.lists(SAID, max_size=8)


class Doing(NamedTuple):
    """What becomes of a conversation and of its path on screen before they are compared again."""

    more: list[Message]
    """What is said in both."""
    cut: int
    """After so many messages of the path…"""
    put: list[Message]
    """… these are put."""
    goes_on: bool
    """Whether the conversation's last answer goes on."""


DOINGS = st.lists(st.builds(Doing, PATHS, st.integers(0, 12), PATHS, st.booleans()), min_size=1, max_size=5)


def play(begun: list[Message], doings: Sequence[Doing]) -> list[tuple[list[Message], list[Message]]]:
    """The conversation and the path, after each doing."""
    kept, path, found = begun, begun, []
    for doing in doings:
        if doing.goes_on and kept and kept[-1].role == "assistant":
            kept = [*kept[:-1], msgspec.structs.replace(kept[-1], content=f"{kept[-1].content}, sure")]
        kept = [*kept, *doing.more]
        path = [*path[: doing.cut], *doing.put, *path[doing.cut :], *doing.more]
        found.append((kept, path))
    return found


@given(PATHS, DOINGS)
@example(
    path_of(["Hi", "Yes", "More"]), [Doing(path_of(["Hi", "Yes"]), 3, [], False), Doing([], 1, path_of(["Hi"]), False)]
)
def test_comparing_from_where_it_last_matched_finds_what_comparing_everything_finds(
    begun: list[Message], doings: list[Doing]
) -> None:
    matched = Matched()
    for kept, path in play(begun, doings):
        for end in {len(path), max(0, len(path) - 2)}:
            assert follow(kept, path[:end], False, matched=matched) == follow(kept, path[:end], False)


@given(PATHS, DOINGS, st.booleans(), st.sampled_from([NO_IDS, Ids("b", "c", "a"), Ids("b", "c", "")]))
def test_what_is_remembered_changes_no_decision(
    begun: list[Message], doings: list[Doing], one_chat: bool, ids: Ids
) -> None:
    remembered = [Matched(), Matched()]
    for kept, path in play(begun, doings):
        named = [msgspec.structs.replace(one, client_id=f"gw1-a-{i}--x") for i, one in enumerate(kept)]
        known = [Past(named), Past(begun)]
        asked = RequestedPath([*path, Message("user", "And?")])
        plain = decide(asked, ids, True, known, one_chat=one_chat)
        assert decide(asked, ids, True, known, one_chat=one_chat, matched=remembered) == plain


def test_all_but_the_last_question_and_its_answer_is_skipped_where_nothing_changed() -> None:
    matched, kept = Matched(), dialogue(20)
    follow(kept, respaced(20), False, matched=matched)

    assert matched.skip(kept, respaced(20)) == (18, 18)
    assert matched.skip([*kept, *path_of(["More", "Yes"])], [*respaced(20), *path_of(["More"])]) == (18, 18)


def test_another_message_anywhere_before_has_everything_compared() -> None:
    matched, kept = Matched(), dialogue(20)
    follow(kept, dialogue(20), False, matched=matched)

    others: dict[str, Message] = {
        "another text": Message("user", "other"),
        "another role": Message("assistant", kept[4].content),
        "a picture": Message("user", kept[4].content, images=PICTURE),
    }
    found = {name: matched.skip(kept, [*kept[:4], other, *kept[5:]]) for name, other in others.items()}
    assert found == dict.fromkeys(others, (0, 0))


def test_only_texts_that_are_not_those_of_the_conversation_weigh() -> None:
    for told, weight in ((dialogue, 0), (respaced, sum(len(one.content) for one in dialogue(18)))):
        matched = Matched()
        follow(dialogue(20), told(20), False, matched=matched)
        assert matched.weight == weight


@given(PATHS, st.lists(st.tuples(PATHS, st.sampled_from(["", "Yes", ", sure"])), max_size=4))
def test_what_is_known_of_a_conversation_as_it_grows_is_what_is_known_of_it_all(
    begun: list[Message], turns: list[tuple[list[Message], str]]
) -> None:
    known = KnownConversation("conv", Summary("gw1:x"), Past(begun), None)
    for sent, answer in [([], ""), *turns]:
        known.add(Sending(sent), answer, ())
        whole = KnownConversation("conv", Summary("gw1:x"), known.past, None)
        assert (known.weight, str(known.said)) == (whole.weight, str(whole.said))
        assert str(known.said) == str(PathDigest(one.content + pictures_of(one) for one in known.past.messages))
