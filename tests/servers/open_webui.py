"""A real Open WebUI, set up by the file that operators copy; its users are real accounts."""

import os
import subprocess
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from msgspec import Struct

from tests.environments import uv_environment
from tests.servers.health import await_health, held_port

HERE = Path(__file__).parent
DEPLOYED = HERE.parent.parent / "deploy" / "open-webui"
START_SECONDS = 180
PASSWORD = "a password nobody guesses"


class Account(Struct, frozen=True):
    """Somebody who has signed up."""

    name: str
    email: str
    token: str
    """What the browser keeps after signing in."""


def deployed_environment() -> dict[str, str]:
    """The variables of the file that operators copy, as `docker run --env-file` reads it."""
    lines = (DEPLOYED / "open-webui.env").read_text(encoding="utf-8").splitlines()
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return {name: value for name, _, value in pairs}


class OpenWebUI:
    """Started on entering, ended on leaving. Keeps its data in `directory`."""

    def __init__(self, directory: Path, embeddings: str, **changes: str) -> None:
        self.base_url = ""
        self._log = directory / "log"
        # What a person's own installation has, and a machine without the internet has not.
        here = {
            "DATA_DIR": str(directory / "data"),
            "HOME": str(directory),
            "WEBUI_SECRET_KEY": uuid.uuid4().hex,
            "OFFLINE_MODE": "true",
            "RAG_EMBEDDING_ENGINE": "openai",
            "RAG_OPENAI_API_BASE_URL": embeddings,
            "RAG_OPENAI_API_KEY": "any",
        }
        self._environ = deployed_environment() | here | changes
        self._admin = ""

    def __enter__(self) -> Self:
        commands = uv_environment("open-webui", HERE / "open_webui.toml") / "bin"
        with held_port() as port:
            self.base_url = f"http://127.0.0.1:{port}"
            self._start(commands, port)
            await_health(self._process, f"{self.base_url}/health", self._log, START_SECONDS)
        # Who signs up first is its administrator.
        self._admin = self._post("auths/signup", name="Root", email="root@example.com", password=PASSWORD)["token"]
        return self

    def _start(self, commands: Path, port: int) -> None:
        arguments = [str(commands / "open-webui"), "serve", "--host", "127.0.0.1", "--port", str(port)]
        environ = {"PATH": f"{commands}:{os.environ['PATH']}", "CORS_ALLOW_ORIGIN": self.base_url, **self._environ}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                arguments, cwd=self._log.parent, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.terminate()
        self._process.wait(60)

    @property
    def administrator(self) -> Account:
        return Account("Root", "root@example.com", self._admin)

    def add(self, name: str) -> Account:
        """An ordinary user whom nobody has heard of."""
        email = f"{uuid.uuid4().hex}@example.com"
        added = self._post("auths/add", name=name, email=email, password=PASSWORD, role="user")
        return Account(name, email, added["token"])

    def _post(self, path: str, **body: Any) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {self._admin}"} if self._admin else {}
        response = httpx.post(f"{self.base_url}/api/v1/{path}", json=body, headers=headers, timeout=60)
        response.raise_for_status()
        return dict(response.json())
