"""Chats with a gateway in front of each side: whatever people do on screen, the model receives what is seen there."""

import unicodedata
from collections.abc import Callable
from contextlib import nullcontext
from html import escape

import pytest

from gateway.letta.notes import CONTINUE
from tests.contract.scene import Scene
from tests.frontend import Frontend, Message
from tests.gateways import sdk
from tests.integration.words import someone, unheard


def test_the_next_turn_adds_to_the_path(chat: Frontend, scene: Scene) -> None:
    chat.say(unheard("one"))
    chat.say(unheard("two"))
    before, three = chat.said(), unheard("three")
    there = scene.conversations(chat.user)
    chat.say(three)

    assert scene.said_once(three) == [*before, ("user", three)]
    assert len(before) == 4
    assert scene.conversations(chat.user) == there


def test_a_temporary_chat_goes_on_apart_from_a_kept_one_of_the_same_id(chat: Frontend, scene: Scene) -> None:
    says_so = chat.client.with_options(default_headers={"X-Temporary-Chat": "true"})
    temporary = Frontend(says_so, chat.user, chat=chat.chat, ids=chat.ids)
    chat.say(unheard("one"))
    there = scene.conversations(chat.user)
    temporary.say(unheard("one"))
    for each in (chat, temporary):
        before, two = each.said(), unheard("two")
        each.say(two)
        assert scene.said_once(two) == [*before, ("user", two)]

    assert len({*scene.conversations(chat.user)} - {*there}) == 1


def test_regenerate_answers_the_same_message_once(chat: Frontend, scene: Scene) -> None:
    chat.say(unheard("one"))
    before, two = chat.said(), unheard("two")
    chat.regenerate(chat.say(two))

    assert scene.said(two) == [[*before, ("user", two)]] * 2
    path, three = chat.said(), unheard("three")
    chat.say(three)
    assert scene.said_once(three) == [*path, ("user", three)]


def test_regenerate_the_first_answer(chat: Frontend, scene: Scene) -> None:
    one = unheard("one")
    chat.regenerate(chat.say(one))
    path, two = chat.said(), unheard("two")
    chat.say(two)

    assert scene.said(one)[:2] == [[("user", one)]] * 2
    assert scene.said_once(two) == [*path, ("user", two)]


@pytest.mark.parametrize("kept", [False, True], ids=["the wish is gone from the screen", "the wish is on screen"])
def test_after_a_regenerate_with_a_wish_the_path_on_screen_counts(chat: Frontend, scene: Scene, kept: bool) -> None:
    chat.say(unheard("one"))
    answer = chat.say(unheard("two"))
    before, wish = chat.said(), unheard("shorter")
    other = chat.regenerate(answer, wish)
    assert scene.said_once(wish) == [*before, ("user", wish)]

    if kept:
        other.parent = Message("user", wish, answer)
    path, three = chat.said(), unheard("three")
    chat.say(three)
    assert scene.said_once(three) == [*path, ("user", three)]


@pytest.mark.parametrize("turn", [0, 1, 2], ids=["the first", "a middle one", "the last"])
def test_an_edit_of_a_user_message_branches_there(chat: Frontend, scene: Scene, turn: int) -> None:
    answers = [chat.say(unheard(str(i))) for i in range(3)]
    edited, text = answers[turn].parent, unheard("edited")
    assert edited
    chat.edit(edited, text)
    before = chat.said(edited.parent) if edited.parent else []

    assert scene.said_once(text) == [*before, ("user", text)]
    path, after = chat.said(), unheard("after")
    chat.say(after)
    assert scene.said_once(after) == [*path, ("user", after)]


@pytest.mark.parametrize(
    "tell",
    [
        lambda text: unicodedata.normalize("NFD", text),
        lambda text: text.replace("\ufe0f", ""),
        lambda text: escape(text),
    ],
    ids=["another form of Unicode", "no variation selectors", "escapes of HTML"],
)
def test_an_answer_that_a_client_tells_otherwise_is_the_same(
    chat: Frontend, scene: Scene, tell: Callable[[str], str]
) -> None:
    answer = chat.say(unheard("!say Crème ❤\ufe0f & <b>한국</b>"))
    before, later = chat.said(), unheard("later")
    answer.shown = tell(answer.text)
    chat.say(later)

    assert scene.said_once(later) == [*before, ("user", later)]


def test_an_edited_answer_is_what_the_agent_has_said(chat: Frontend, scene: Scene) -> None:
    first = chat.say(unheard("one"))
    chat.say(unheard("two"))
    first.shown = unheard("No, I said this")
    path, three = chat.said(), unheard("three")
    chat.say(three)

    assert scene.said_once(three) == [*path, ("user", three)]


def test_continue_goes_on_with_the_answer_and_is_no_message_of_the_chat(chat: Frontend, scene: Scene) -> None:
    answer = chat.say(unheard("one"))
    before, cut = chat.said(), answer.text
    chat.go_on(answer)
    assert [said for said in scene.said(CONTINUE) if said[:2] == before] == [[*before, ("user", CONTINUE)]]
    assert answer.text.startswith(cut)
    assert answer.text != cut

    path, two = chat.said(), unheard("two")
    chat.say(two)
    more = ("assistant", answer.text.removeprefix(cut))
    assert scene.said_once(two) == [*before, ("user", CONTINUE), more, ("user", two)]
    assert path[-1][1] == cut + more[1]


def test_a_clone_goes_on_alone(chat: Frontend, scene: Scene) -> None:
    chat.say(unheard("one"))
    clone = chat.clone()
    for each in (clone, chat):
        path, two = each.said(), unheard("two")
        each.say(two)
        assert scene.said_once(two) == [*path, ("user", two)]


def test_a_chat_imported_with_its_history_goes_on(chat: Frontend, scene: Scene) -> None:
    old = Frontend(chat.client, someone(), ids=False)
    old.say(unheard("one"))
    old.say(unheard("two"))
    chat.last = old.last
    there: list[list[str]] = []
    for text in (unheard("three"), unheard("four")):
        path = chat.said()
        chat.say(text)
        assert scene.said_once(text) == [*path, ("user", text)]
        there.append(scene.conversations(chat.user))
    assert there[0] == there[1]


def test_a_chat_of_two_hundred_messages(chat: Frontend, scene: Scene) -> None:
    for i in range(200):
        chat.last = Message("assistant" if i % 2 else "user", unheard(str(i)), chat.last)
    for _ in range(2):
        path, text = chat.said(), unheard("now")
        chat.say(text)
        assert scene.said_once(text) == [*path, ("user", text)]
    assert len(chat.said()) == 204


def test_going_back_to_an_older_branch(chat: Frontend, scene: Scene) -> None:
    chat.say(unheard("one"))
    old = chat.say(unheard("two"))
    chat.regenerate(old)
    chat.say(unheard("three"))
    chat.last = old
    path, text = chat.said(), unheard("back")
    chat.say(text)

    assert scene.said_once(text) == [*path, ("user", text)]


# So long that it is far from its end when Letta looks whether it is cancelled.
LONG = f"!slow 50\n!say Once upon a time {'there was ' * 40}"
STOPPED = {"before the first byte": ("!hang\n", ""), "in the middle of the answer": (LONG, "upon")}


@pytest.mark.parametrize("restarts", [False, True], ids=["the same gateway", "another"])
@pytest.mark.parametrize(("script", "after"), STOPPED.values(), ids=STOPPED)
def test_after_stop_the_agent_knows_what_was_seen(
    chat: Frontend, scene: Scene, script: str, after: str, restarts: bool
) -> None:
    lasting, stopped = chat.client, unheard(script)
    with scene.another() if restarts else nullcontext(scene.url) as url, sdk(url, "sk-front") as chat.client:
        chat.say(unheard("one"))
        chat.stop(stopped, after=after)
    chat.client = lasting
    path = chat.said()
    assert path[2] == ("user", stopped)
    assert [after in text for _, text in path[3:]] == [True] * bool(after)
    for text in (unheard("two"), unheard("three")):
        path = chat.said()
        answer = chat.say(text)
        assert scene.said_once(text) == [*path, ("user", text)]
        assert answer.text == f"You said: {text}"


def test_an_answer_stopped_near_its_end_is_known_as_far_as_it_was_seen(chat: Frontend, scene: Scene) -> None:
    chat.stop(f"!slow 20\n!say Once upon a time {unheard()}", after="upon")
    path, two = chat.said(), unheard("two")
    chat.say(two)

    # Letta may have kept all of it before it looked whether it is cancelled.
    question, answer, *news = scene.said_once(two)
    assert [question, *news] == [path[0], ("user", two)]
    assert answer[1].startswith(path[1][1])


def test_the_same_chat_id_of_two_users_is_two_chats(chat: Frontend, scene: Scene) -> None:
    other = Frontend(chat.client, someone(), chat=chat.chat, ids=chat.ids)
    for each in (chat, other, chat, other):
        path, text = each.said(), unheard("mine")
        each.say(text)
        assert scene.said_once(text) == [*path, ("user", text)]


def test_identical_first_messages_in_two_chats(chat: Frontend, scene: Scene) -> None:
    first = unheard("hi")
    other = Frontend(chat.client, chat.user, ids=chat.ids)
    for each in (chat, other):
        if not chat.ids:
            each.chat = None
        each.say(first)
    assert scene.said(first) == [[("user", first)]] * 2
    there = scene.conversations(chat.user)
    for each in (chat, other, chat, other):
        path, text = each.said(), unheard("next")
        each.say(text)
        assert scene.said_once(text) == [*path, ("user", text)]
    assert scene.conversations(chat.user) == there


def test_after_a_restart_every_branch_goes_on(chat: Frontend, scene: Scene) -> None:
    chat.say(unheard("one"))
    old = chat.say(unheard("two"))
    chat.regenerate(old)
    there = scene.conversations(chat.user)
    with scene.another() as restarted, sdk(restarted, "sk-front") as client:
        chat.client = client
        path, three = chat.said(), unheard("three")
        answer = chat.say(three)
        assert scene.said_once(three) == [*path, ("user", three)]
        assert scene.conversations(chat.user) == there
        chat.regenerate(answer)
        assert scene.said(three) == [[*path, ("user", three)]] * 2
