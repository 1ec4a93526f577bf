"""Pictures in chats, with a gateway in front of each side: the model is shown what is on screen, each picture once."""

from typing import Any

import pytest
from openai import OpenAI

from tests.contract.scene import Scene
from tests.contract.table import needs
from tests.frontend import Frontend
from tests.gateways import sdk
from tests.integration.words import someone, unheard
from tests.pictures.drawn import picture


def test_a_picture_is_seen_and_sent_once(chat: Frontend, scene: Scene) -> None:
    look, shown = unheard("look"), picture()
    chat.say(look, shown)
    assert scene.said_once(look) == [("user", f"{look}\n{shown.name}")]

    before = scene.conversations(chat.user)
    for text in (unheard("two"), unheard("three")):
        path = chat.said()
        chat.say(text)
        assert scene.said_once(text) == [*path, ("user", text)]
    assert scene.conversations(chat.user) == before


def test_pictures_and_texts_keep_their_order(client: OpenAI, scene: Scene) -> None:
    one, other, question = picture(), picture(), unheard("which is redder?")
    texts: list[Any] = [{"type": "text", "text": text} for text in ("this", "or this:", question)]
    content = [texts[0], one.part, texts[1], other.part, texts[2]]
    messages: Any = [{"role": "user", "content": content}]
    client.chat.completions.create(model="tutor", messages=messages, extra_headers={"X-OpenWebUI-User-Id": someone()})

    assert scene.said_once(question) == [("user", f"this\n{one.name}\nor this:\n{other.name}\n{question}")]


def test_two_pictures_and_nothing_else_are_a_message(chat: Frontend, scene: Scene) -> None:
    one, other = picture(), picture()
    chat.say("", one, other)
    assert scene.said_once(other.name) == [("user", f"{one.name}\n{other.name}")]

    before, path, text = scene.conversations(chat.user), chat.said(), unheard("two")
    chat.say(text)
    assert scene.said_once(text) == [*path, ("user", text)]
    assert scene.conversations(chat.user) == before


def test_regenerate_shows_the_picture_once_again(chat: Frontend, scene: Scene) -> None:
    chat.say(unheard("one"), picture())
    before, two, shown = chat.said(), unheard("two"), picture()
    chat.regenerate(chat.say(two, shown))

    assert scene.said(two) == [[*before, ("user", f"{two}\n{shown.name}")]] * 2
    path, three = chat.said(), unheard("three")
    chat.say(three)
    assert scene.said_once(three) == [*path, ("user", three)]


@pytest.mark.parametrize("other", [False, True], ids=["that keeps its picture", "with another picture"])
@pytest.mark.parametrize("turn", [0, 1], ids=["the first", "the last"])
def test_an_edit_of_a_message(chat: Frontend, scene: Scene, turn: int, other: bool) -> None:
    answers = [chat.say(unheard(str(i)), picture()) for i in range(2)]
    edited, text, others = answers[turn].parent, unheard("edited"), [picture()] * other
    assert edited
    chat.edit(edited, text, *others)

    path = chat.said()
    assert scene.said_once(text) == path[:-1]
    assert path[-2] == ("user", "\n".join([text, (others or edited.pictures)[0].name]))
    after = unheard("after")
    chat.say(after)
    assert scene.said_once(after) == [*path, ("user", after)]


def test_the_same_words_with_another_picture_are_another_message(chat: Frontend, scene: Scene) -> None:
    look, two = unheard("look"), unheard("two")
    first = chat.say(look, picture())
    assert first.parent
    chat.edit(first.parent, look, picture())
    for branch in (chat.last, first, chat.last):
        chat.last = branch
        path, text = chat.said(), unheard(two)
        chat.say(text)
        assert scene.said_once(text) == [*path, ("user", text)]


@needs("pasts")
def test_a_clone_has_the_pictures(chat: Frontend, scene: Scene) -> None:
    chat.say(unheard("one"), picture())
    for each in (chat.clone(), chat):
        for text in (unheard("two"), unheard("three")):
            path = each.said()
            each.say(text)
            assert scene.said_once(text) == [*path, ("user", text)]


@needs("pasts")
def test_an_edited_answer_about_a_picture_is_what_the_agent_has_said(chat: Frontend, scene: Scene) -> None:
    first = chat.say(unheard("one"), picture())
    chat.say(unheard("two"), picture())
    first.shown = unheard("No, I said this")
    path, three = chat.said(), unheard("three")
    chat.say(three)

    assert scene.said_once(three) == [*path, ("user", three)]


def test_after_stop_the_picture_is_kept(chat: Frontend, scene: Scene) -> None:
    chat.say(unheard("one"))
    stopped, shown = unheard("!hang\n"), picture()
    chat.stop(stopped, shown)
    path, two = chat.said(), unheard("two")
    chat.say(two)

    assert scene.said_once(two) == [*path, ("user", two)]
    assert path[-1] == ("user", f"{stopped}\n{shown.name}")


def test_after_a_restart_a_picture_is_known_again(chat: Frontend, scene: Scene) -> None:
    chat.say(unheard("one"), picture())
    chat.say("", picture())
    before = scene.conversations(chat.user)
    with scene.another() as restarted, sdk(restarted, "sk-front") as client:
        chat.client = client
        path, three, shown = chat.said(), unheard("three"), picture()
        answer = chat.say(three, shown)
        assert scene.said_once(three) == [*path, ("user", f"{three}\n{shown.name}")]
        assert scene.conversations(chat.user) == before
        chat.regenerate(answer)
        assert scene.said(three) == [[*path, ("user", f"{three}\n{shown.name}")]] * 2
