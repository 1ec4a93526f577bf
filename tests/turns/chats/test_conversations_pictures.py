"""Pictures in conversations: sent where they have not been seen, kept by what tells them apart, never in memory."""

import msgspec
import pytest

from gateway.domain.errors import PicturesUnseen
from gateway.domain.messages import Image, Message, image_of, message_of
from gateway.turns.chats.conversations import Conversations
from gateway.turns.chats.markers import parse_client_id, parse_summary, pictures_of
from gateway.turns.chats.unkept import NOTE_CHARACTERS
from gateway.turns.people.agents import KnownAgent
from gateway.turns.runs.means import Means
from gateway.turns.turn import Turn
from tests.turns.memory_letta import MemoryLetta
from tests.turns.turns import play, say, turn

pytestmark = pytest.mark.anyio

RED = image_of("image/png", "red" * 1000)
BLUE = image_of("image/png", "blue" * 1000)
LARGE = image_of("image/png", "A" * NOTE_CHARACTERS)


def shows(image: Image, *before: Message | str, text: str = "Look", keeps_history: bool = True) -> Turn:
    """A turn that ends with a picture, after what was said by turns before."""
    said = [
        Message("assistant" if i % 2 else "user", one) if isinstance(one, str) else one for i, one in enumerate(before)
    ]
    asked = turn(keeps_history=keeps_history)
    path = [*said, message_of("user", [text, image])]
    return msgspec.structs.replace(asked, asked=msgspec.structs.replace(asked.asked, path=path))


LOOK = message_of("user", ["Look", RED])


def pictures(messages: list[Message]) -> list[str]:
    return [image.data for message in messages for image in message.images]


async def test_a_message_in_a_branch_is_still_known_by_its_pictures(either: MemoryLetta, agent: KnownAgent) -> None:
    conversations = Conversations(either)
    asked = shows(BLUE, LOOK, "Hello")
    await say(either, conversations, agent, shows(RED))
    for _ in range(2):
        made = await say(either, conversations, agent, asked)

    ids = [message.client_id for message in either.store.conversations[made.id].heard if message.role == "user"]
    assert [parse_client_id(id).pictures for id in ids] == [pictures_of(LOOK), pictures_of(asked.asked.path[-1])]


async def test_what_is_remembered_of_a_chat_holds_no_pictures(either: MemoryLetta, agent: KnownAgent) -> None:
    conversations = Conversations(either)
    made = await say(either, conversations, agent, shows(RED))
    again = await say(either, conversations, agent, shows(BLUE, LOOK, "Hello"))
    branch = await say(either, conversations, agent, shows(BLUE, LOOK, "Hello", text="See"))

    for known in (made, again, branch):
        assert set(pictures(known.past.messages)) == {""}


# A model that is shown none


async def test_a_new_picture_for_a_model_that_is_shown_none_is_refused_before_anything_is_sent(
    letta: MemoryLetta, means: Means
) -> None:
    letta.seeing = False
    with pytest.raises(PicturesUnseen, match="set `vision = true` in"):
        await play(means, shows(RED))

    assert (letta.sent, letta.store.conversations) == ([], {})


async def test_an_older_picture_is_no_reason_to_refuse_what_is_new(letta: MemoryLetta, means: Means) -> None:
    letta.seeing = False
    seen = message_of("user", ["Look", RED])
    asked = turn("Look", "Hello", "More")
    path = [seen, *asked.asked.path[1:]]
    await play(means, msgspec.structs.replace(asked, asked=msgspec.structs.replace(asked.asked, path=path)))

    assert letta.count("sees") == 0
    assert letta.sent_texts()[-1][-1] == "More"


async def test_what_a_model_is_shown_is_asked_only_where_there_is_a_picture(letta: MemoryLetta, means: Means) -> None:
    await play(means, turn())
    assert letta.count("sees") == 0
    await play(means, shows(RED))
    assert letta.count("sees") == 1


NOTED = {"small": (RED, RED.data), "large": (LARGE, "")}


@pytest.mark.parametrize("forgets", [False, True], ids=["remembered", "forgotten"])
@pytest.mark.parametrize(("image", "noted"), NOTED.values(), ids=NOTED)
async def test_a_picture_that_letta_did_not_keep_is_brought_back_or_told_of(
    either: MemoryLetta, agent: KnownAgent, image: Image, noted: str, forgets: bool
) -> None:
    conversations = Conversations(either)
    await say(either, conversations, agent, shows(image, keeps_history=False), answer="")
    notes = [parse_summary(kept.conversation.summary) for kept in either.store.conversations.values()]
    assert all(note and len(note.note) <= NOTE_CHARACTERS for note in notes)
    if forgets:
        conversations = Conversations(either)
    _, sending = await conversations.find(agent, turn("More", keeps_history=False))

    look, more = sending.messages
    assert (look.content, more.content) == ("Look", "More")
    assert [(one.digest, one.data) for one in look.images] == [(image.digest, noted if forgets else image.data)]


async def test_chats_without_an_id_that_begin_with_other_pictures_are_told_apart(agent: KnownAgent) -> None:
    alone = [msgspec.structs.replace(shows(image), caller=turn(chat=None).caller) for image in (RED, BLUE, RED)]

    assert len({asked.marker for asked in alone}) == 2
