"""A Letta of the gateway's own: an App Server as a child process, with a model's provider, or the offline model."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

import msgspec

from gateway.domain import errors
from gateway.letta.app_server.connection import AppServerConnection
from gateway.letta.app_server.frames import ProvidersListed, ServerAnswer
from gateway.letta.app_server.upstream import AppServerUpstream
from gateway.letta.embedded.directory import state_of
from gateway.letta.embedded.kept import KeptUpstream
from gateway.letta.embedded.models import models_mod
from gateway.letta.embedded.process import AppServerProcess
from gateway.settings import Provider, Settings

logger = logging.getLogger(__name__)
OfflineModel = Callable[[], AbstractAsyncContextManager[str]]
# How often one App Server may take the place of another while somebody waits for its address.
MOST_LIVES = 3


class EmbeddedUpstream(KeptUpstream):
    """An `Upstream` that brings its Letta along: `process`, or one for the state directory of the settings.

    `offline_model` serves the offline model while it is entered, and yields its address, `http://127.0.0.1:40123`. It
    is entered where the settings name no provider.
    """

    # Its state directory is locked: no other gateway speaks to its App Server.
    capabilities = msgspec.structs.replace(AppServerUpstream.capabilities, owned=True)

    def __init__(
        self, settings: Settings, offline_model: OfflineModel, process: AppServerProcess | None = None
    ) -> None:
        self._provider = settings.provider
        models = _models_mod(settings.provider)
        self.process = process or AppServerProcess(state_of(settings.letta.state), models)
        self._offline_model = offline_model
        self._beside = AsyncExitStack()
        self._started = False
        self._asked_for = ""
        """The token of the App Server to which the present connection was made, or is being made."""
        self._set_up_for = ""
        """The token of the App Server to which the provider was connected last."""
        super().__init__(settings, self.process.backend, self._address, self._read_again, self._set_up)

    async def begin(self) -> None:
        """Start the process; `start` waits until it answers. Raises CannotStart, Unreachable."""
        await self.process.begin()

    async def start(self) -> None:
        """Start the process, and the offline model if it is needed. Raises CannotStart, Unreachable."""
        if self._started:
            return
        self._started = True
        # Before anything else: nothing takes as long as its start.
        await self.begin()
        if self._provider is None:
            url = await self._beside.enter_async_context(self._offline_model())
            self._provider = Provider(id="openai-compatible", base_url=f"{url}/v1")
        for problem in await asyncio.to_thread(lambda: [*self.garbled(with_messages=False)]):
            logger.warning("%s", problem)
        await self.process.start()

    def tell_address(self, address: str) -> None:
        """Tell gateways that are started beside this one where it serves."""
        self.process.tell_address(address)

    async def _address(self) -> tuple[str, str]:
        url, token = await self.process.address()
        self._asked_for = token
        return url, token

    async def place(self) -> tuple[str, str]:
        """The address and the token of the present App Server, once its provider is connected: for others to use it.

        One that hangs is replaced. Raises UpstreamError.
        """
        for _ in range(MOST_LIVES):
            url, token = await self.process.address()
            try:
                # That connects, and whoever connects connects the provider.
                await self.check_health()
            except errors.BrokenStream:
                # That was the connection to one that has ended.
                continue
            if self._set_up_for == token:
                return url, token
        raise errors.Unreachable("the App Server ends again and again")

    async def _read_again(self) -> bool:
        """Have the process started again, unless a turn is under way."""
        if self.turns_under_way:
            return False
        await self.read_again()
        return True

    async def read_again(self) -> None:
        """Have the process started again, whatever is under way."""
        logger.warning("An agent's file was mended: the App Server starts again to read it")
        await self.process.restart()

    async def _set_up(self, connection: AppServerConnection) -> None:
        """Connect the provider, and it alone: one of an earlier start may be gone."""
        assert self._provider
        token = self._asked_for
        known = await connection.request("list_connect_providers", ProvidersListed, target="local")
        for id in [provider.id for provider in known.providers if provider.connected.is_connected]:
            if id != self._provider.id:
                await connection.request("disconnect_provider", ServerAnswer, target="local", provider_id=id)
        await _connect(connection, self._provider)
        self._set_up_for = token

    async def aclose(self) -> None:
        await super().aclose()
        await self.process.aclose()
        await self._beside.aclose()


async def _connect(connection: AppServerConnection, provider: Provider) -> None:
    key = provider.api_key.reveal() if provider.api_key else None
    # One that asks for no key is not connected without any.
    key = key or ("none" if provider.id == "openai-compatible" else None)
    fields = {name: value for name, value in (("baseUrl", provider.base_url), ("apiKey", key)) if value}
    await connection.request("connect_provider", ServerAnswer, target="local", provider_id=provider.id, fields=fields)


def _models_mod(provider: Provider | None) -> bytes | None:
    """The mod for the models of an `openai-compatible` provider, the offline model's among them; None for another."""
    if provider and provider.id != "openai-compatible":
        return None
    return models_mod(provider.vision if provider else None)


def of_gateway(state: Path, url: str) -> Callable[[], Awaitable[tuple[str, str]]]:
    """The address, `url`, and the token of the App Server that another gateway has in this state directory."""

    async def address() -> tuple[str, str]:
        try:
            return url, (state / "token").read_text(encoding="ascii")
        except OSError as error:
            raise errors.Unreachable(f"its token cannot be read: {error.strerror}") from error

    return address
