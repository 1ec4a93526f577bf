"""The gateway as an application: `create_app` puts routes, lifespan, middleware and error handlers together."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.datastructures import State
from litestar.di import Provide

from gateway.http.chat import create_chat_completion
from gateway.http.errors import EXCEPTION_HANDLERS
from gateway.http.health import healthz, readyz
from gateway.http.incoming.auth import all_origins
from gateway.http.middleware import at_most, own_machine_only, with_request_id
from gateway.http.models import list_models, retrieve_model
from gateway.http.pages.chat_page import chat_page
from gateway.http.pages.connect_page import connect_page
from gateway.letta.app_server.upstream import AppServerUpstream
from gateway.letta.embedded.upstream import EmbeddedUpstream
from gateway.letta.rest.upstream import RestUpstream
from gateway.letta.upstream import Upstream
from gateway.offline import create_offline_model
from gateway.pictures.fetcher import Fetcher
from gateway.pictures.shown import Fetch, Pictures
from gateway.serving import beside
from gateway.settings import Secret, Settings
from gateway.tasks.runs import TaskModel, TaskRuns
from gateway.turns.chats.pruning import Pruner
from gateway.turns.runs.driver import share
from gateway.turns.runs.registry import Runs


def upstream_for(settings: Settings) -> Upstream:
    """The Letta that the settings name, not yet started."""
    match settings.letta.kind:
        case "rest":
            return RestUpstream(settings.letta)
        case "app-server":
            return AppServerUpstream(settings.letta, tool_wait_seconds=settings.chats.tool_wait_seconds)
        case "embedded":
            return EmbeddedUpstream(settings, offline_model)


def offline_model() -> AbstractAsyncContextManager[str]:
    """Serve the offline model on a free port of the loopback while entered; yields its address."""
    return beside(create_offline_model())


def task_model_for(settings: Settings) -> TaskModel | None:
    """The plain model that the settings name for background tasks; None if they name none."""
    if settings.tasks.answer != "model":
        return None
    from gateway.tasks.plain_model import PlainModel  # its client is slow to import

    return PlainModel(settings.tasks)


def pictures_for(settings: Settings, fetch: Fetch | None) -> Pictures | None:
    """The fetcher of pictures that are shown by address; None unless the settings allow it."""
    if not settings.images.fetch:
        return None
    return Pictures(fetch or Fetcher(settings.images.max_mb), settings.server.max_body_mb)


def create_app(
    settings: Settings,
    upstream: Upstream | None = None,
    page_key: Secret | None = None,
    fetch: Fetch | None = None,
) -> Litestar:
    """The gateway as an ASGI application; `upstream` stands in for the one that the settings name, `fetch` for the web.

    `page_key` is filled into the chat page if that is opened on this machine: whoever sits there may use it. It is
    the key of the demo, and no setting.
    """
    letta = upstream or upstream_for(settings)
    shared = share(letta, settings.letta.settle_seconds, settings.server.silence_seconds, settings.chats)
    runs = Runs(shared, settings.chats.resend_seconds)
    task_runs = TaskRuns(settings.tasks, task_model_for(settings))
    pictures = pictures_for(settings, fetch)

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncGenerator[None, None]:
        try:
            await letta.start()
            pruning = asyncio.create_task(Pruner(letta, settings.chats, shared.conversations).run())
            yield
            pruning.cancel()
            await task_runs.aclose()
            await runs.aclose()
        finally:
            await letta.aclose()

    chat = settings.server.chat_page
    pages = [connect_page("/connect"), *chat_page(page_key)] if chat else [connect_page("/", "/connect")]
    origins = all_origins(settings)
    app = Litestar(
        route_handlers=[create_chat_completion, list_models, retrieve_model, healthz, readyz, *pages],
        lifespan=[lifespan],
        state=State({"runs": runs, "upstream": letta}),
        dependencies={
            "settings": Provide(lambda: settings, sync_to_thread=False),
            "runs": Provide(lambda: runs, sync_to_thread=False),
            "check_letta": Provide(lambda: letta.check_health, sync_to_thread=False),
            "schemas": Provide(lambda: shared.schemas, sync_to_thread=False),
            "task_runs": Provide(lambda: task_runs, sync_to_thread=False),
            "pictures": Provide(lambda: pictures, sync_to_thread=False),
        },
        middleware=[own_machine_only] if settings.open else [],
        exception_handlers=EXCEPTION_HANDLERS,
        cors_config=CORSConfig(allow_origins=origins, expose_headers=["x-request-id"]) if origins else None,
        request_max_body_size=settings.server.max_body_mb * 1024 * 1024,
        openapi_config=None,
        logging_config=None,
    )
    # These layers are outermost: Litestar's middleware sees no unknown routes, and no refusals by other middleware.
    limited = at_most(settings.server.max_streams, "/v1/chat/completions", app.asgi_handler)
    app.asgi_handler = with_request_id(limited)
    return app
