"""An agent that a real App Server does not make leaves nothing there, however often its person tries."""

from pathlib import Path
from typing import Any

import httpx

from gateway.app import create_app
from gateway.settings import AgentType, Letta, Settings
from tests.gateways import PROGRAMS, chat, gateway, http
from tests.integration.words import someone
from tests.servers.app_server import AppServer
from tests.servers.scripted_model import ScriptedModel
from tests.servers.threads import served

# An App Server takes 20,000 characters a block, and says so when the agent is there already.
TOO_LONG = AgentType(id="tutor", memory={"human": "x" * 30_000})


def refusals(url: str) -> list[tuple[int, Any]]:
    with http(url) as client:
        responses = [client.post("/v1/chat/completions", json=chat(user=someone())) for _ in range(2)]
    return [(response.status_code, response.json()["error"]["code"]) for response in responses]


def test_an_embedded_letta_keeps_neither_agent_nor_repository(tmp_path: Path) -> None:
    letta = Letta(upstream="embedded", state=str(tmp_path / "state"), settle_seconds=0.05)
    with served(create_app(Settings(letta=letta, agent_types=(TOO_LONG,), keys=(PROGRAMS,)))) as url:
        assert refusals(url) == [(502, "upstream_refused")] * 2

    backend = tmp_path / "state" / "backend"
    assert [*backend.glob("agents/*"), *backend.glob("conversations/*"), *backend.glob("memfs/*")] == []


def test_a_bare_app_server_keeps_no_agent(model: ScriptedModel, tmp_path: Path) -> None:
    # The one that is shared leaves out what refuses it.
    with AppServer(tmp_path, model.base_url) as server:
        before = server.agents([])
        with gateway(server, types=(TOO_LONG,)) as url:
            assert refusals(url) == [(502, "upstream_refused")] * 2

        assert server.agents([]) == before


def test_a_name_of_any_length_makes_an_agent(app_server: AppServer) -> None:
    types = (AgentType(id="tutor", memory={"human": "This is {user_name}."}),)
    user = someone()
    headers = {"authorization": "Bearer sk-front", "x-openwebui-user-id": user, "x-openwebui-user-name": "A" * 30_000}
    with gateway(app_server, types=types) as url:
        response = httpx.post(f"{url}/v1/chat/completions", json=chat(), headers=headers, timeout=60)

    assert response.status_code == 200
