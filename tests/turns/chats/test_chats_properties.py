"""Whatever people do with their chats, and whatever happens: the agent hears the path on screen, and nothing else."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.turns.screen import CLIENTS, Client, Heard, Request, Screen, Shown, heard
from tests.turns.store import Received
from tests.turns.virtual_time import VirtualTimeLoop
from tests.turns.world import Script, World, scripts_for

# Some are equal, some the beginning of others.
QUESTIONS = ["Hi", "More", "And more", "Hi◆", "Hi◇", "◆"]
ANSWERS = ["Yes", "Yes, sure", "Yes, sure it is", "No."]
SYSTEMS = ["", "Be brief", "Rhyme"]
KINDS = [
    *("say",) * 5,
    *("regenerate", "wish", "wish kept", "edit", "edit answer", "edit answer as a copy", "go on"),
    *("switch", "switch", "clone", "resend", "system"),
]
ENDS = ["answered"] * 6 + [*scripts_for("Yes", False)]


class Doing(NamedTuple):
    """What a person does next in one of the chats, and what comes of it."""

    kind: str
    chat: int = 0
    pick: int = 0
    """Which of the messages it is about."""
    text: int = 0
    answer: int = 0
    end: str = "answered"
    waits: bool = False
    """Whether nothing of it is left when the next thing is done."""


LEFT_BEHIND = "killed while it hangs"
DOINGS = st.lists(
    st.builds(
        Doing,
        st.sampled_from(KINDS),
        st.integers(0, 2),
        st.integers(0, 3),
        st.integers(0, len(QUESTIONS) - 1),
        st.integers(0, len(ANSWERS) - 1),
        st.sampled_from(ENDS),
        st.booleans(),
    ),
    max_size=20,
)


async def do(world: World, doing: Doing) -> None:
    screen = world.screens[doing.chat]
    end = "killed" if doing.end == LEFT_BEHIND and screen.client.tells_all else doing.end
    script = scripts_for(ANSWERS[doing.answer], world.store.forks)[end]
    if doing.end == "nothing said" and not screen.client.chat_header:
        # Two chats that nothing but their answers tells apart.
        return
    if doing.kind == "resend" and screen in world.last:
        await send_again(world, screen, script)
    elif screen.last and screen.last.lost and screen.on_path("user")[-1].text == QUESTIONS[doing.text]:
        # Whether it is the last one asked again, only a gateway that has seen its answer's end could tell.
        return
    elif asked := ask(world, screen, doing):
        await world.ask(screen, *asked, script)
    if doing.waits:
        await world.settle()


async def send_again(world: World, screen: Screen, script: Script) -> None:
    """Of two chats that nothing tells apart, who asks the same again is one."""
    asked = world.last[screen]
    nameless = not screen.client.chat_header and not screen.client.ids
    if asked.answer is screen.last and not nameless and not asked.request.turn.asked.goes_on:
        await world.ask_again(screen, script)


def ask(world: World, screen: Screen, doing: Doing) -> tuple[Request, Shown] | None:
    """What is asked for, and the answer that it is for; None if nothing is asked."""
    answers = screen.on_path("assistant")
    if doing.kind == "say" or not answers:
        return say(screen, QUESTIONS[doing.text])
    if not screen.client.tells_all:
        return None
    old = answers[doing.pick % len(answers)]
    match doing.kind:
        case "regenerate" | "wish" | "wish kept" | "go on":
            return answer_again(screen, old, doing)
        case "edit":
            return edit(screen, old, QUESTIONS[doing.text])
        case "edit answer":
            old.text, old.replaced = ANSWERS[doing.answer], True
        case "edit answer as a copy":
            screen.add("assistant", ANSWERS[doing.answer], old.parent).replaced = True
        case "switch":
            screen.last = [message for message in screen.shown if message.role == "assistant"][-doing.pick :][0]
        case "clone":
            world.clone(screen)
        case "system":
            screen.system = SYSTEMS[doing.text % len(SYSTEMS)]
    return None


def say(screen: Screen, text: str) -> tuple[Request, Shown]:
    last = screen.last
    if not screen.client.tells_all and last and last.parent and not last.text and not last.ended_well:
        # The same message is the last one asked again.
        screen.last = last.parent.parent if last.parent.text == text else last
    question = screen.add("user", text, screen.last)
    shown = screen.add("assistant", "", question)
    return screen.request(question, shown), shown


def answer_again(screen: Screen, old: Shown, doing: Doing) -> tuple[Request, Shown] | None:
    question = old.parent
    assert question
    if doing.kind == "regenerate" and not (screen.client.lone_is_next and question.parent is None):
        shown = screen.add("assistant", "", question)
        return screen.request(question, shown), shown
    if doing.kind.startswith("wish") and old.text:
        wish = screen.add("user", QUESTIONS[doing.text], old)
        kept = doing.kind == "wish kept"
        shown = screen.add("assistant", "", wish if kept else question)
        # It may be the beginning of the one that it replaces.
        shown.cut = not kept
        return screen.request(question, shown, [old, wish]), shown
    if doing.kind == "go on" and screen.last and screen.last.text and screen.last.parent:
        return screen.request(screen.last.parent, screen.last, goes_on=True), screen.last
    return None


def edit(screen: Screen, answer: Shown, text: str) -> tuple[Request, Shown] | None:
    edited = answer.parent
    assert edited
    if screen.client.lone_is_next and edited.parent is None:
        return None
    question = screen.add("user", text, edited.parent)
    shown = screen.add("assistant", "", question)
    return screen.request(question, shown), shown


def run(
    client: Client, forks: bool, doings: Sequence[Doing], *, forgets: bool = False, restarts: bool = False
) -> list[list[Heard]]:
    """What was heard in each run."""

    async def main() -> list[Received]:
        world = World(client, forks, forgets, restarts)
        for doing in doings:
            await do(world, doing)
        await world.settle()
        await world.aclose()
        return world.store.received

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return [heard(received.context) for received in runner.run(main())]


each_nature = pytest.mark.parametrize("forks", [False, True], ids=["v1", "app-server"])
each_client = pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)


@each_nature
@each_client
@settings(max_examples=100)
@given(doings=DOINGS)
def test_an_agent_hears_the_path_on_screen(client: Client, forks: bool, doings: list[Doing]) -> None:
    run(client, forks, doings)


@each_nature
@each_client
@settings(max_examples=50)
@given(doings=DOINGS)
def test_an_agent_hears_the_path_on_screen_whatever_was_forgotten(
    client: Client, forks: bool, doings: list[Doing]
) -> None:
    run(client, forks, doings, forgets=True)


@each_nature
@each_client
@settings(max_examples=50)
@given(doings=DOINGS)
def test_it_makes_no_difference_what_is_remembered(client: Client, forks: bool, doings: list[Doing]) -> None:
    patient = [doing._replace(waits=True) for doing in doings if doing.kind != "resend"]
    # What waits for a run that was left behind is not sent before its gateway has ended, and ends with it.
    for chat in range(3):
        ends = pairwise(doing.end for doing in patient if doing.chat == chat)
        assume((LEFT_BEHIND, "stopped at once") not in ends)
    remembered = run(client, forks, patient)

    assert run(client, forks, patient, forgets=True) == remembered
    assert run(client, forks, patient, restarts=True) == remembered
