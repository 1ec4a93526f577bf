"""A real Letta V1 server, in an environment of its own that is kept outside the tree from one run to the next."""

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
from letta_client import Letta as LettaClient

from tests.environments import uv_environment
from tests.servers.health import await_health, held_port
from tests.servers.real_letta import AtAddress

HERE = Path(__file__).parent
# With other servers starting beside it on two processors.
START_SECONDS = 400


class LettaV1(AtAddress):
    """Started on entering, ended with the test process at the latest. Keeps its data in `directory`."""

    name = "v1"
    api_key = "none"
    model = seeing = "openai-proxy/offline"
    tools = ("web_search", "fetch_webpage")

    def __init__(self, directory: Path, model_base_url: str) -> None:
        self._directory = directory
        self._model_base_url = model_base_url
        self.base_url = ""

    def __enter__(self) -> Self:
        environment = uv_environment("letta-v1", HERE / "letta_v1.toml")
        self._log = (self._directory / "log").open("ab")
        with held_port() as port:
            self.base_url = f"http://127.0.0.1:{port}"
            self._start(environment / "bin", port)
            await_health(self._process, f"{self.base_url}/v1/health/", self._directory / "log", START_SECONDS)
        self.client = LettaClient(base_url=self.base_url, api_key=self.api_key)
        return self

    def _start(self, commands: Path, port: int) -> None:
        python = str(commands / "python")
        arguments = [python, str(HERE / "run_letta_v1.py"), str(self._directory), str(port), self._model_base_url]
        environ = os.environ | {"PATH": f"{commands}:{os.environ['PATH']}"}
        # Its end of this pipe tells the server that the tests are over, even when they are killed.
        self._process = subprocess.Popen(
            arguments, cwd=self._directory, env=environ, stdin=subprocess.PIPE, stdout=self._log, stderr=self._log
        )

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.client.close()
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(60)
        self._log.close()

    def agents(self, tags: Iterable[str]) -> list[str]:
        return [agent.id for agent in self.client.agents.list(tags=list(tags), match_all_tags=True, limit=100)]

    def create_agent(self, system: str) -> str:
        return self.client.agents.create(name="ops", model=self.model, system=system).id

    def delete_agent(self, id: str) -> None:
        self.client.agents.delete(id)

    def conversations(self, agent_id: str) -> list[str]:
        return [conversation.id for conversation in self.client.conversations.list(agent_id=agent_id, limit=100)]

    def memory(self, agent_id: str) -> dict[str, str]:
        blocks = self.client.agents.blocks.list(agent_id, limit=100)
        return {block.label or "": block.value.strip() for block in blocks}

    def require_approval(self, agent_id: str, tool: str) -> None:
        """Have every call of a tool wait for somebody to allow it."""
        path = f"{self.base_url}/v1/agents/{agent_id}/tools/approval/{tool}"
        httpx.patch(path, json={"requires_approval": True}, timeout=30).raise_for_status()
