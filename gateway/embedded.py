"""A Letta of the gateway's own: an App Server as a child process, with a model's provider, or the offline model."""

from contextlib import AsyncExitStack
from pathlib import Path

from gateway.letta.answers import Answer, Providers
from gateway.letta.app_server import AppServerUpstream
from gateway.letta.models import models_mod
from gateway.letta.process import AppServerProcess, default_state
from gateway.offline import create_offline_model
from gateway.serving import beside
from gateway.settings import Provider, Settings


class EmbeddedUpstream(AppServerUpstream):
    """An `Upstream` that brings its Letta along: `process`, or one for the state directory of the settings."""

    def __init__(self, settings: Settings, process: AppServerProcess | None = None) -> None:
        self._provider = settings.provider
        models = _models_mod(settings.provider)
        self.process = process or AppServerProcess(state_of(settings.letta.state), models)
        self._beside = AsyncExitStack()
        self._started = False
        super().__init__(settings.letta, self.process.address, settings.chats.tool_wait_seconds)

    async def start(self) -> None:
        """Raises EmbeddedUnavailable, UpstreamError."""
        if self._started:
            return
        self._started = True
        if self._provider is None:
            url = await self._beside.enter_async_context(beside(create_offline_model()))
            self._provider = Provider(id="openai-compatible", base_url=f"{url}/v1")
        await self.process.start()

    async def _greet(self) -> None:
        """Connect the provider, and it alone: one of an earlier start may be gone."""
        assert self._provider
        known = await self._link.request("list_connect_providers", Providers, target="local")
        for id in [provider.id for provider in known.providers if provider.connected.is_connected]:
            if id != self._provider.id:
                await self._link.request("disconnect_provider", Answer, target="local", provider_id=id)
        await self._connect(self._provider)
        await super()._greet()

    async def _connect(self, provider: Provider) -> None:
        key = provider.api_key.reveal() if provider.api_key else None
        # One that asks for no key is not connected without any.
        key = key or ("none" if provider.id == "openai-compatible" else None)
        fields = {name: value for name, value in (("baseUrl", provider.base_url), ("apiKey", key)) if value}
        await self._link.request("connect_provider", Answer, target="local", provider_id=provider.id, fields=fields)

    async def aclose(self) -> None:
        await super().aclose()
        await self.process.aclose()
        await self._beside.aclose()


def _models_mod(provider: Provider | None) -> bytes | None:
    """What knows the models of a provider that says of its own whether they see; the offline model's does."""
    if provider and provider.id != "openai-compatible":
        return None
    return models_mod(provider.vision if provider else None)


def state_of(configured: str | None) -> Path:
    """Where agents, memory and log are."""
    return Path(configured).expanduser() if configured else default_state()
