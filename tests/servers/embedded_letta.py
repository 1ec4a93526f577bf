"""The gateway's own Letta, as it sets it up itself, kept open for any number of gateways of the tests."""

import asyncio
import os
import signal
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from gateway.choices import offline_model
from gateway.letta.embedded.process import AppServerProcess
from gateway.letta.embedded.upstream import EmbeddedUpstream
from gateway.letta.upstream import Upstream
from gateway.settings import Letta, Provider, Settings
from tests.servers.app_server import AppServer

T = TypeVar("T")


class _Kept(AppServerProcess):
    """The process of an embedded Letta, as a gateway beside its owner sees it: neither started nor ended by it."""

    def __init__(self, state: Path, owner: AppServerProcess, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(state)
        self._owner = owner
        self._loop = loop

    async def begin(self) -> None:
        pass

    async def start(self) -> None:
        pass

    async def address(self) -> tuple[str, str]:
        asked = asyncio.run_coroutine_threadsafe(self._owner.address(), self._loop)
        return await asyncio.wrap_future(asked)

    async def aclose(self) -> None:
        pass


class EmbeddedLetta(AppServer):
    """Started on entering, ended on leaving. Everything in it is what the gateway puts there, in `directory`.

    A gateway has its state directory for itself. Those of the tests come and go, so the process has an owner of its
    own, a thread, and each gateway gets it handed in; its connection and what it sets up there are its own.
    """

    seeing = "openai-compatible/offline"

    def __init__(self, directory: Path, model_base_url: str) -> None:
        super().__init__(directory, model_base_url)
        self.provider: Provider = Provider(id="openai-compatible", base_url=model_base_url)

    def start(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._owner = EmbeddedUpstream(
            Settings(letta=self.settings(), agent_types=(), provider=self.provider), offline_model
        )
        try:
            self._await(self._owner.start())
            # Not before it is asked something is it told of the provider.
            self._await(self._owner.check_health())
            url, self.api_key = self._await(self._owner.process.address())
        except BaseException:
            self.stop()
            raise
        self.base_url = url.removesuffix("/ws")

    def __enter__(self) -> "EmbeddedLetta":
        self.start()
        return self

    def stop(self) -> None:
        self._await(self._owner.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def kill(self) -> None:
        """End its process without giving it time for anything; it comes back by itself."""
        assert self._owner.process.pid
        os.kill(self._owner.process.pid, signal.SIGKILL)

    def settings(self, **changes: Any) -> Letta:
        changes.pop("base_url", None)
        return Letta(upstream="embedded", state=str(self.directory), **changes)

    def config(self, directory: Path) -> str:
        """It has a gateway already: another Letta of the same kind."""
        state, provider = directory / "state", self.provider
        return (
            f'[letta]\nupstream = "embedded"\nstate = "{state}"\n'
            f'[provider]\nid = "{provider.id}"\nbase_url = "{provider.base_url}"'
        )

    def upstream(self, settings: Settings) -> Upstream:
        return EmbeddedUpstream(settings, offline_model, _Kept(self.directory, self._owner.process, self._loop))

    def _await(self, doing: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(doing, self._loop).result(60)
