"""Chats on each kind of a real Letta: whatever people do on screen, the model receives what is seen there."""

from collections.abc import Iterator

import pytest
from openai import OpenAI

from gateway.turns.asked import CONTINUE
from tests.frontend import Frontend, Message, Said
from tests.gateways import gateway, sdk
from tests.integration.words import someone, unheard
from tests.servers.real_letta import RealLetta
from tests.servers.scripted_model import ScriptedModel

# Which Letta, and whether the frontend sends the ids of its messages; a V1 server's turns take long.
SIDES = {
    "v1-ids": ("letta_v1", True),
    "app-server-ids": ("app_server", True),
    "app-server-no ids": ("app_server", False),
}


@pytest.fixture(scope="module", params=list(SIDES.values()), ids=list(SIDES))
def side(request: pytest.FixtureRequest) -> tuple[RealLetta, bool]:
    name, ids = request.param
    return request.getfixturevalue(name), ids


@pytest.fixture(scope="module")
def letta(side: tuple[RealLetta, bool]) -> RealLetta:
    return side[0]


@pytest.fixture(scope="module")
def url(letta: RealLetta) -> Iterator[str]:
    with gateway(letta) as base_url:
        yield base_url


@pytest.fixture
def client(url: str) -> Iterator[OpenAI]:
    with sdk(url, "sk-front") as openai_client:
        yield openai_client


@pytest.fixture
def chat(client: OpenAI, side: tuple[RealLetta, bool]) -> Frontend:
    """A chat of somebody nobody has heard of."""
    return Frontend(client, someone(), ids=side[1])


def received(model: ScriptedModel, last: str) -> list[Said]:
    """What the model received with the one request that ended with `last`."""
    (said,) = model.said(last)
    return said


def test_the_next_turn_adds_to_the_path(chat: Frontend, model: ScriptedModel) -> None:
    chat.say(unheard("one"))
    chat.say(unheard("two"))
    before, three = chat.said(), unheard("three")
    chat.say(three)

    assert received(model, three) == [*before, ("user", three)]
    assert len(before) == 4


def test_regenerate_answers_the_same_message_once(chat: Frontend, model: ScriptedModel) -> None:
    chat.say(unheard("one"))
    before, two = chat.said(), unheard("two")
    chat.regenerate(chat.say(two))

    assert model.said(two) == [[*before, ("user", two)]] * 2
    path, three = chat.said(), unheard("three")
    chat.say(three)
    assert received(model, three) == [*path, ("user", three)]


def test_regenerate_the_first_answer(chat: Frontend, model: ScriptedModel) -> None:
    one = unheard("one")
    chat.regenerate(chat.say(one))
    path, two = chat.said(), unheard("two")
    chat.say(two)

    assert model.said(one)[:2] == [[("user", one)]] * 2
    assert received(model, two) == [*path, ("user", two)]


@pytest.mark.parametrize("kept", [False, True], ids=["the wish is gone from the screen", "the wish is on screen"])
def test_after_a_regenerate_with_a_wish_the_path_on_screen_counts(
    chat: Frontend, model: ScriptedModel, kept: bool
) -> None:
    chat.say(unheard("one"))
    answer = chat.say(unheard("two"))
    before, wish = chat.said(), unheard("shorter")
    other = chat.regenerate(answer, wish)
    assert received(model, wish) == [*before, ("user", wish)]

    if kept:
        other.parent = Message("user", wish, answer)
    path, three = chat.said(), unheard("three")
    chat.say(three)
    assert received(model, three) == [*path, ("user", three)]


@pytest.mark.parametrize("turn", [0, 1, 2], ids=["the first", "a middle one", "the last"])
def test_an_edit_of_a_user_message_branches_there(chat: Frontend, model: ScriptedModel, turn: int) -> None:
    answers = [chat.say(unheard(str(i))) for i in range(3)]
    edited, text = answers[turn].parent, unheard("edited")
    assert edited
    chat.edit(edited, text)
    before = chat.said(edited.parent) if edited.parent else []

    assert received(model, text) == [*before, ("user", text)]
    path, after = chat.said(), unheard("after")
    chat.say(after)
    assert received(model, after) == [*path, ("user", after)]


def test_an_edited_answer_is_what_the_agent_has_said(chat: Frontend, model: ScriptedModel) -> None:
    first = chat.say(unheard("one"))
    chat.say(unheard("two"))
    first.shown = unheard("No, I said this")
    path, three = chat.said(), unheard("three")
    chat.say(three)

    assert received(model, three) == [*path, ("user", three)]


def test_continue_goes_on_with_the_answer_and_is_no_message_of_the_chat(chat: Frontend, model: ScriptedModel) -> None:
    answer = chat.say(unheard("one"))
    before, cut = chat.said(), answer.text
    chat.go_on(answer)
    assert [said for said in model.said(CONTINUE) if said[:2] == before] == [[*before, ("user", CONTINUE)]]
    assert answer.text.startswith(cut)
    assert answer.text != cut

    path, two = chat.said(), unheard("two")
    chat.say(two)
    more = ("assistant", answer.text.removeprefix(cut))
    assert received(model, two) == [*before, ("user", CONTINUE), more, ("user", two)]
    assert path[-1][1] == cut + more[1]


def test_a_clone_goes_on_alone(chat: Frontend, model: ScriptedModel) -> None:
    chat.say(unheard("one"))
    clone = chat.clone()
    for each in (clone, chat):
        path, two = each.said(), unheard("two")
        each.say(two)
        assert received(model, two) == [*path, ("user", two)]


def test_a_chat_imported_with_its_history_goes_on(chat: Frontend, model: ScriptedModel) -> None:
    old = Frontend(chat.client, someone(), ids=False)
    old.say(unheard("one"))
    old.say(unheard("two"))
    chat.last = old.last
    path, three = chat.said(), unheard("three")
    chat.say(three)

    assert received(model, three) == [*path, ("user", three)]


def test_a_chat_of_two_hundred_messages(chat: Frontend, model: ScriptedModel) -> None:
    for i in range(200):
        chat.last = Message("assistant" if i % 2 else "user", unheard(str(i)), chat.last)
    for _ in range(2):
        path, text = chat.said(), unheard("now")
        chat.say(text)
        assert received(model, text) == [*path, ("user", text)]
    assert len(chat.said()) == 204


def test_going_back_to_an_older_branch(chat: Frontend, model: ScriptedModel) -> None:
    chat.say(unheard("one"))
    old = chat.say(unheard("two"))
    chat.regenerate(old)
    chat.say(unheard("three"))
    chat.last = old
    path, text = chat.said(), unheard("back")
    chat.say(text)

    assert received(model, text) == [*path, ("user", text)]


def test_after_stop_the_agent_knows_what_was_seen(chat: Frontend, model: ScriptedModel) -> None:
    chat.say(unheard("one"))
    # So long that it is far from its end when Letta looks whether it is cancelled.
    chat.stop(f"!slow 50\n!say Once upon a time {'there was ' * 40}{unheard()}", after="upon")
    path, two = chat.said(), unheard("two")
    answer = chat.say(two)

    assert "upon" in path[-1][1]
    assert received(model, two) == [*path, ("user", two)]
    assert answer.text == f"You said: {two}"


def test_an_answer_stopped_near_its_end_is_known_as_far_as_it_was_seen(chat: Frontend, model: ScriptedModel) -> None:
    chat.stop(f"!slow 20\n!say Once upon a time {unheard()}", after="upon")
    path, two = chat.said(), unheard("two")
    chat.say(two)

    # Letta may have kept all of it before it looked whether it is cancelled.
    question, answer, *news = received(model, two)
    assert [question, *news] == [path[0], ("user", two)]
    assert answer[1].startswith(path[1][1])


def test_after_stop_before_the_first_byte_the_message_is_kept(chat: Frontend, model: ScriptedModel) -> None:
    chat.say(unheard("one"))
    stopped = unheard("!hang\n")
    chat.stop(stopped)
    path, two = chat.said(), unheard("two")
    chat.say(two)

    assert received(model, two) == [*path, ("user", two)]
    assert path[-1] == ("user", stopped)


def test_the_same_chat_id_of_two_users_is_two_chats(chat: Frontend, model: ScriptedModel) -> None:
    other = Frontend(chat.client, someone(), chat=chat.chat, ids=chat.ids)
    for each in (chat, other, chat, other):
        path, text = each.said(), unheard("mine")
        each.say(text)
        assert received(model, text) == [*path, ("user", text)]


def test_identical_first_messages_in_two_chats(chat: Frontend, model: ScriptedModel) -> None:
    first = unheard("hi")
    other = Frontend(chat.client, chat.user, ids=chat.ids)
    for each in (chat, other):
        if not chat.ids:
            each.chat = None
        each.say(first)
    for each in (chat, other, chat, other):
        path, text = each.said(), unheard("next")
        each.say(text)
        assert received(model, text) == [*path, ("user", text)]


def test_after_a_restart_every_branch_goes_on(chat: Frontend, letta: RealLetta, model: ScriptedModel) -> None:
    chat.say(unheard("one"))
    old = chat.say(unheard("two"))
    chat.regenerate(old)
    with gateway(letta) as restarted, sdk(restarted, "sk-front") as client:
        chat.client = client
        path, three = chat.said(), unheard("three")
        answer = chat.say(three)
        assert received(model, three) == [*path, ("user", three)]
        chat.regenerate(answer)
        assert model.said(three) == [[*path, ("user", three)]] * 2
