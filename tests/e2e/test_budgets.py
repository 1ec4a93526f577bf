"""What a person sees in a real Open WebUI who has reached a limit, and what another one of the same key does."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.conftest import PRINTED, connected, variables
from tests.e2e.person import Person, TakePicture
from tests.gateways import GatewayProcess
from tests.servers.app_server import AppServer
from tests.servers.open_webui import OpenWebUI
from tests.servers.scripted_model import ScriptedModel

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def limited(
    app_server: AppServer, model: ScriptedModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], OpenWebUI]]:
    """Makes an Open WebUI with a gateway of its own, whose key is the printed one with these `user_limits`."""
    with ExitStack() as stack:

        def make(user_limits: str) -> OpenWebUI:
            directory = tmp_path_factory.mktemp("limited")
            config = PRINTED.written(directory)
            state = f'[server]\nstate = "{directory / "used"}"\n'
            config.write_text(f"{state}{config.read_text()}user_limits = {user_limits}\n")
            process = stack.enter_context(GatewayProcess(config, **variables(app_server)))
            data = tmp_path_factory.mktemp("open-webui")
            return stack.enter_context(connected(data, process.base_url, model))

        yield make


@pytest.fixture
def sit_down(browser: Browser, take_picture: TakePicture) -> Iterator[Callable[[OpenWebUI, str], Person]]:
    people: list[Person] = []
    with ExitStack() as stack:

        def sit(server: OpenWebUI, name: str) -> Person:
            context = stack.enter_context(browser.new_context(locale="en-GB", viewport={"width": 1280, "height": 900}))
            people.append(Person(context, server, server.add(f"{name} {uuid.uuid4().hex[:4]}")))
            return people[-1]

        yield sit
        for person in people:
            take_picture(person.page, f"-{person.name.partition(' ')[0]}")


def test_who_has_used_up_the_day_reads_so_in_the_chat_and_the_other_one_goes_on(
    limited: Callable[[str], OpenWebUI], sit_down: Callable[[OpenWebUI, str], Person], take_picture: TakePicture
) -> None:
    server = limited("{tokens_per_day = 15}")
    ada, bob = sit_down(server, "Ada"), sit_down(server, "Bob")
    # Its title, its tags and its follow-ups cost nothing.
    assert ada.say("!say One.") == "One."
    ada.write("!say Two.")
    refusal = "Your 15 tokens for today are used up. You can go on tomorrow at 00:00 UTC."
    expect(ada.answer).to_contain_text(refusal)
    take_picture(ada.page, "-refused")

    assert bob.say("!say Mine.") == "Mine."


def test_who_sends_too_many_messages_reads_when_to_go_on(
    limited: Callable[[str], OpenWebUI], sit_down: Callable[[OpenWebUI, str], Person]
) -> None:
    ada = sit_down(limited("{requests_per_minute = 2}"), "Ada")
    for text in ("One.", "Two."):
        assert ada.say(f"!say {text}") == text
    ada.write("!say Three.")

    expect(ada.answer).to_contain_text("You can send 2 messages a minute. You can go on in")
