"""Open WebUI over the gateway over a real Letta, and people who sit in front of it."""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.e2e.person import Person, TakePicture
from tests.gateways import GatewayProcess
from tests.printed import configurations
from tests.servers.app_server import AppServer
from tests.servers.open_webui import OpenWebUI
from tests.servers.scripted_model import ScriptedModel
from tests.servers.search_engine import SearchEngine
from tests.servers.threads import served

KEY, SECRET = "sk-open-webui", uuid.uuid4().hex
# The gateway for Open WebUI as it is printed, in front of an App Server and with a model that sees pictures.
PRINTED = configurations()["deploy/open-webui/gateway.toml"].for_letta("App Server").for_letta("V1 server")


def variables(app_server: AppServer) -> dict[str, str]:
    """The variables that the printed configuration names."""
    return {
        "LETTA_BASE_URL": app_server.base_url,
        "LETTA_API_KEY": app_server.api_key,
        "LETTA_MODEL": app_server.seeing,
        "OPEN_WEBUI_KEY": KEY,
        "OPEN_WEBUI_JWT_SECRET": SECRET,
    }


def connected(directory: Path, gateway_url: str, model: ScriptedModel, **more: str) -> OpenWebUI:
    """Open WebUI, connected by the variables that operators copy."""
    yours = {"OPENAI_API_BASE_URLS": f"{gateway_url}/v1", "OPENAI_API_KEYS": KEY, **more}
    return OpenWebUI(directory, model.base_url, FORWARD_USER_INFO_HEADER_JWT_SECRET=SECRET, **yours)


@pytest.fixture(scope="session")
def gateway_url(app_server: AppServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The gateway as an operator runs it."""
    config = PRINTED.written(tmp_path_factory.mktemp("gateway"))
    with GatewayProcess(config, **variables(app_server)) as process:
        yield process.base_url


@pytest.fixture(scope="session")
def search_engine() -> SearchEngine:
    return SearchEngine()


@pytest.fixture(scope="session")
def search_url(search_engine: SearchEngine) -> Iterator[str]:
    with served(search_engine.app) as url:
        yield f"{url}/search"


@pytest.fixture(scope="session")
def open_webui(
    gateway_url: str, search_url: str, model: ScriptedModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OpenWebUI]:
    """Open WebUI with a search engine."""
    search = {"ENABLE_WEB_SEARCH": "true", "WEB_SEARCH_ENGINE": "external", "EXTERNAL_WEB_SEARCH_URL": search_url}
    with connected(tmp_path_factory.mktemp("open-webui"), gateway_url, model, **search) as server:
        yield server


@pytest.fixture
def take_picture(tmp_path: Path, request: pytest.FixtureRequest) -> TakePicture:
    """Keeps how a page looks in the directory that E2E_SCREENSHOTS names, else where pytest deletes it."""
    directory = Path(os.environ.get("E2E_SCREENSHOTS") or tmp_path)
    directory.mkdir(parents=True, exist_ok=True)

    def take(page: Page, name: str) -> None:
        page.screenshot(path=directory / f"{request.node.name}{name}.png")

    return take


@pytest.fixture
def somebody(browser: Browser, open_webui: OpenWebUI, take_picture: TakePicture) -> Iterator[Callable[[str], Person]]:
    """Makes people with accounts and browsers of their own; how their pages look at the end is kept."""
    people: list[Person] = []
    with ExitStack() as stack:

        def sit_down(name: str) -> Person:
            context = stack.enter_context(
                browser.new_context(
                    locale="en-GB",
                    viewport={"width": 1280, "height": 900},
                    permissions=["clipboard-read", "clipboard-write"],
                )
            )
            people.append(Person(context, open_webui, open_webui.add(name)))
            return people[-1]

        yield sit_down
        for person in people:
            take_picture(person.page, f"-{person.name}")


@pytest.fixture
def ada(somebody: Callable[[str], Person]) -> Person:
    return somebody("Ada")
