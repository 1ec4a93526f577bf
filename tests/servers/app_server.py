"""A real App Server of the `letta` package, set up as an operator would: nothing of the gateway's is in it."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from websockets.sync.client import connect

from tests.servers.real_letta import AtAddress

START_SECONDS = 60
TOKEN = "app-server-token"
# Lines that open the file of a memory block, before its text.
FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


class AppServer(AtAddress):
    """Started on entering, ended on leaving, and with the test process. Keeps its data in `directory`."""

    name = "app-server"
    model = "openai-compatible/offline"
    seeing = "lmstudio/offline"
    tools = ("Read", "ViewImage")

    def __init__(self, directory: Path, model_base_url: str) -> None:
        self.directory = directory
        self.base_url = ""
        self.api_key = TOKEN
        self.log: list[str] = []
        self._model_base_url = model_base_url
        self._port = "0"

    def __enter__(self) -> Self:
        self.start()
        for provider in ("openai-compatible", "lmstudio"):
            self.ask("connect_provider", target="local", provider_id=provider, fields=self._provider())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, again on the same data and the same port."""
        (self.directory / "token").write_text(TOKEN)
        letta = str(Path(sys.executable).with_name("letta"))
        listen = ("--listen", f"ws://127.0.0.1:{self._port}")
        auth = ("--ws-auth", "capability-token", "--ws-token-file", str(self.directory / "token"))
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "LETTA_LOCAL_BACKEND_DIR": str(self.directory / "backend"),
            "LETTA_CODE_TELEM": "0",
            "NODE_COMPILE_CACHE": os.environ["NODE_COMPILE_CACHE"],
        }
        self._process = subprocess.Popen(
            [letta, "server", "--backend", "local", *listen, *auth],
            cwd=self.directory,
            env=environ,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._up = threading.Event()
        self._reading = threading.Thread(target=self._read)
        self._reading.start()
        if not self._up.wait(START_SECONDS) or self._process.poll() is not None:
            raise RuntimeError("the App Server did not start:\n" + "".join(self.log[-50:]))

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(60)
        self._reading.join()

    def kill(self) -> None:
        """End it without giving it time for anything."""
        self._process.kill()
        self.stop()

    def restart(self) -> None:
        self.stop()
        self.start()

    def ask(self, type: str, **fields: Any) -> dict[str, Any]:
        """The answer to one request, over a connection of its own."""
        headers = {"Authorization": f"Bearer {self.api_key}"}
        with connect(f"{self.base_url}/ws", additional_headers=headers, max_size=None, proxy=None) as socket:
            socket.send(json.dumps({"type": type, "request_id": "asked", **fields}))
            while (answer := json.loads(socket.recv(30))).get("request_id") != "asked":
                pass
        if not answer["success"]:
            raise RuntimeError(f"{type}: {answer['error']}")
        return dict(answer)

    def agents(self, tags: Iterable[str]) -> list[str]:
        return [agent["id"] for agent in self.ask("agent_list", query={"tags": list(tags), "limit": 100})["agents"]]

    def create_agent(self, system: str) -> str:
        agent = self.ask("agent_create", body={"name": "ops", "model": self.model, "system": system})["agent"]
        return str(agent["id"])

    def delete_agent(self, id: str) -> None:
        self.ask("agent_delete", agent_id=id)

    def conversations(self, agent_id: str) -> list[str]:
        answer = self.ask("conversation_list", query={"agent_id": agent_id, "limit": 100})
        return [conversation["id"] for conversation in answer["conversations"]]

    def memory(self, agent_id: str) -> dict[str, str]:
        entries = self.ask("list_memory", agent_id=agent_id)["entries"]
        blocks = {entry["relative_path"].removesuffix(".md"): entry["content"] for entry in entries}
        return {label: FRONT_MATTER.sub("", text).strip() for label, text in blocks.items()}

    def _provider(self) -> dict[str, str]:
        return {"baseUrl": self._model_base_url, "apiKey": "any"}

    def _read(self) -> None:
        assert self._process.stdout
        with self._process.stdout as lines:
            for line in lines:
                self.log.append(line)
                if found := re.search(r"WebSocket: (ws://\S+:(\d+))/ws", line):
                    self.base_url, self._port = found[1], found[2]
                    self._up.set()
        self._up.set()
