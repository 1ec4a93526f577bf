"""LibreChat: its requests, as its agent runtime sent them, on a real Letta, and its own view of `librechat.yaml`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from msgspec import Struct

from gateway.frontends.headers import CHAT_HEADERS
from gateway.frontends.open_webui import EMAIL_HEADER, NAME_HEADER
from gateway.letta.notes import CONTINUE
from gateway.settings import Settings
from gateway.turns.chats.markers import agent_tags
from tests.clients.documents import DEPLOY, LETTA, settings_of
from tests.clients.node import run_node
from tests.frontend import Said
from tests.gateways import gateway, http
from tests.servers.app_server import AppServer
from tests.servers.scripted_model import ScriptedModel

HERE = Path(__file__).parent
YAML = DEPLOY / "librechat" / "librechat.yaml"
SECRET = "sk-librechat"
TITLE = "Of all that grows in the…"
TITLES = {
    "title, completion": TITLE,
    "title, structured": {"language": "", "title": TITLE},
    "title, immediate": TITLE,
}
ADA, NAMELESS = "66f2a1c0ffee000000000001", "66f2a1c0ffee000000000002"


class Recorded(Struct, frozen=True):
    name: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def said(self) -> list[Said]:
        return [(message["role"], message["content"]) for message in self.body["messages"]]

    @property
    def on_screen(self) -> list[Said]:
        return [said for said in self.said if said[0] != "system"]


LINES = (HERE.parent / "recordings" / "librechat.jsonl").read_text(encoding="utf-8").splitlines()
RECORDED = [msgspec.json.decode(line, type=Recorded) for line in LINES]
TURNS = [one for one in RECORDED if one.body["model"] == LETTA.id and one.on_screen == one.said]
(INSTRUCTED,) = (one for one in RECORDED if one.on_screen != one.said)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """What the page tells to configure."""
    return settings_of("librechat/README.md", tmp_path_factory.mktemp("librechat"), LETTA_GATEWAY_KEY=SECRET)


@pytest.fixture(scope="module")
def client(app_server: AppServer, settings: Settings) -> Iterator[httpx.Client]:
    with (
        gateway(app_server, types=(LETTA,), keys=settings.keys, tasks=settings.tasks) as url,
        http(url, SECRET) as http_client,
    ):
        yield http_client


def send(client: httpx.Client, recorded: Recorded) -> str:
    """Send it, and leave where LibreChat did; gives the deltas that came."""
    seen = ""
    with client.stream("POST", "/v1/chat/completions", json=recorded.body, headers=recorded.headers) as answer:
        assert answer.status_code == 200
        for line in answer.iter_lines():
            seen += line
            if recorded.name == "stopped" and "upon" in line:
                break
    return seen


def shown(said: list[Said]) -> list[Said]:
    """An answer and what was added to it are one on LibreChat's screen; that more was asked for is not there."""
    screen: list[Said] = []
    for role, text in said:
        if role == "assistant" and screen and screen[-1][0] == "assistant":
            screen[-1] = (role, f"{screen[-1][1]}\n{text}")
        elif text != CONTINUE:
            screen.append((role, text))
    return screen


def test_the_agent_hears_what_is_on_screen(client: httpx.Client, app_server: AppServer, model: ScriptedModel) -> None:
    for recorded in TURNS:
        seen = send(client, recorded)
        last = CONTINUE if recorded.on_screen[-1][0] == "assistant" else recorded.on_screen[-1][1]

        assert shown(model.said(last)[-1]) == recorded.on_screen, recorded.name
        assert "reasoning_content" in seen, recorded.name
        assert "<think>" not in seen, recorded.name

    (agent,) = app_server.agents(agent_tags(LETTA.id, "librechat", ADA))
    assert len(app_server.conversations(agent)) == 1


@pytest.mark.parametrize("name", TITLES)
def test_a_title_is_made_without_the_agent(client: httpx.Client, model: ScriptedModel, name: str) -> None:
    (recorded,) = (one for one in RECORDED if one.name == name)
    asked = len(model.requests)
    answer = client.post("/v1/chat/completions", json=recorded.body, headers=recorded.headers)
    content = answer.json()["choices"][0]["message"]["content"]

    assert TITLES[name] == (json.loads(content) if isinstance(TITLES[name], dict) else content)
    assert len(model.requests) == asked


def test_librechat_is_not_offered_the_model_for_titles(client: httpx.Client) -> None:
    assert [model["id"] for model in client.get("/v1/models").json()["data"]] == [LETTA.id]


def test_a_name_that_librechat_does_not_know_is_no_name(client: httpx.Client, model: ScriptedModel) -> None:
    send(client, INSTRUCTED)

    ((prompt, (_, question)),) = model.received(INSTRUCTED.on_screen[-1][1])
    assert f"You are the agent of {NAMELESS}." in prompt[1]
    assert "Answer like a gardener." in question


def test_librechat_reads_all_that_the_file_says(tmp_path: Path, node_modules: Path, settings: Settings) -> None:
    (key,) = settings.keys
    script = {"read.mjs": (HERE / "read_librechat.mjs").read_text(encoding="utf-8")}
    file = json.loads(run_node(tmp_path, node_modules, script, str(YAML)))
    (endpoint,) = file["read"]["endpoints"]["custom"]

    assert file["read"]["endpoints"] == file["written"]["endpoints"]
    assert file["written"]["interface"].items() <= file["read"]["interface"].items()
    assert {name.lower() for name in endpoint["headers"]} == {
        *(source.name for source in key.user_from),
        *(NAME_HEADER, EMAIL_HEADER, CHAT_HEADERS[-1], key.message_id_header, key.user_message_id_header),
    }
    assert {name.lower() for name in endpoint["headers"]} <= set(TURNS[0].headers)
