"""The gateway as an application: `create_app` puts routes, lifespan, middleware and error handlers together."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from litestar import Litestar
from litestar.datastructures import State

from gateway.choices import (
    counters_for,
    metrics_for,
    pictures_for,
    prepare_tokens,
    seal_for,
    task_model_for,
    together_for,
    traces_for,
    upstream_for,
)
from gateway.http.budgets.usage import tell_usage
from gateway.http.chat import create_chat_completion
from gateway.http.errors import EXCEPTION_HANDLERS
from gateway.http.health import healthz, readyz
from gateway.http.in_force import InForce, OriginsInForce
from gateway.http.middleware import Door, own_machine_only, with_request_id
from gateway.http.models import list_models, retrieve_model
from gateway.http.pages.chat_page import chat_page
from gateway.http.pages.connect_page import connect_page
from gateway.http.parts import Parts, Whole
from gateway.http.responses.conversations import (
    create_conversation,
    create_conversation_items,
    delete_conversation,
    delete_conversation_item,
    list_conversation_items,
    retrieve_conversation,
    retrieve_conversation_item,
    update_conversation,
)
from gateway.http.responses.create import create_response
from gateway.http.responses.retrieve import (
    cancel_response,
    delete_response,
    list_input_items,
    retrieve_response,
)
from gateway.http.responses.socket import with_sockets
from gateway.http.seen.routes import admit_at, admit_key, metrics_routes, nothing_else
from gateway.http.seen.under_way import RequestsUnderWay
from gateway.lean import LeanLitestar
from gateway.letta.upstream import Upstream
from gateway.limits.counters import Counters
from gateway.limits.gate import HEADERS, Gate
from gateway.pictures.shown import Fetch
from gateway.settings import Secret, Settings
from gateway.tasks.runs import TaskRuns
from gateway.together import Together
from gateway.turns.chats.pruning import Pruner
from gateway.turns.given import GivenChats
from gateway.turns.kept import KeptTurns
from gateway.turns.runs.means import means_of
from gateway.turns.runs.registry import Runs

API = [
    *(create_chat_completion, create_response, retrieve_response, cancel_response, delete_response, list_input_items),
    *(create_conversation, retrieve_conversation, update_conversation, delete_conversation),
    *(create_conversation_items, list_conversation_items, retrieve_conversation_item, delete_conversation_item),
    *(list_models, retrieve_model, tell_usage, healthz, readyz),
]
# Where answers are asked for.
ANSWERS = frozenset({"/v1/chat/completions", "/v1/responses"})
# What a web page may be let read beside a response's body.
EXPOSED = ["x-request-id", "retry-after", *HEADERS]


def create_app(
    settings: Settings,
    upstream: Upstream | None = None,
    page_key: Secret | None = None,
    fetch: Fetch | None = None,
    counters: Counters | None = None,
    together: Together | None = None,
    whole: Whole | None = None,
) -> Litestar:
    """The gateway as an ASGI application.

    `upstream`, `counters` and `together` stand in for those of the settings, `fetch` for the web. `page_key` is
    filled into the chat page if that is opened on this machine: whoever sits there may use it. It is the key of the
    demo, and no setting. `whole` is the gateway that this is a process of, where there are several.
    """
    together = together or together_for(settings)
    letta, lines = upstream or upstream_for(settings, together), together.lines
    means = means_of(letta, settings.letta.settle_seconds, settings.server.silence_seconds, settings.chats, lines)
    together.tell_news_of(means.agents)
    runs = Runs(means, settings.chats.resend_seconds, together.directory, settings.responses.keep_seconds)
    task_runs = TaskRuns(settings.tasks, task_model_for(settings))
    gate = Gate(counters or counters_for(settings, together.link))
    prepare_tokens(settings)
    metrics, traces = metrics_for(settings), traces_for(settings)
    under_way = RequestsUnderWay([one for one in (metrics, traces) if one])
    if metrics:
        metrics.read("streams", "Answers that are streamed now.", lambda: under_way.streams)
        metrics.read("answers", "Answers of agents under way, streamed or not.", lambda: len(under_way.chats))
        metrics.read("runs", "Runs under way, those that nobody reads included.", lambda: len(runs.under_way))
        metrics.read("max_streams", "The most answers at one time.", lambda: settings.server.max_streams)
        if link := together.link:
            metrics.read("redis_up", "1 while the Redis that gateways share answers.", lambda: int(not link.is_away))
    in_force = InForce(settings)
    door = Door(settings.server.max_streams, ANSWERS)
    parts = Parts(
        in_force=in_force,
        door=door,
        runs=runs,
        task_runs=task_runs,
        gate=gate,
        schemas=means.schemas,
        pictures=pictures_for(settings, fetch),
        kept=KeptTurns(letta, means.conversations, settings.chats, lines),
        given=GivenChats(letta, means.agents, means.conversations, settings.chats, lines),
        seal=seal_for(settings),
        check_letta=letta.check_health,
        together=together,
        under_way=under_way,
        metrics=metrics,
        traces=traces,
        whole=whole,
    )

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncGenerator[None, None]:
        async with AsyncExitStack() as closing:
            # The last to be closed is the first here: a run costs something until it has ended in Letta, too.
            closing.push_async_callback(together.aclose)
            await together.start()
            closing.push_async_callback(gate.aclose)
            if traces:
                closing.push_async_callback(traces.aclose)
            closing.push_async_callback(letta.aclose)
            await gate.counters.start()
            await letta.start()
            pruning = asyncio.create_task(Pruner(letta, settings.chats, means.conversations, lines).run())
            yield
            pruning.cancel()
            await task_runs.aclose()
            await runs.aclose()

    chat = settings.server.chat_page
    pages = [connect_page("/connect"), *chat_page(page_key)] if chat else [connect_page("/", "/connect")]
    app = LeanLitestar(
        route_handlers=[*API, *metrics_routes(admit_key), *pages],
        lifespan=[lifespan],
        state=State({"parts": parts, "upstream": letta}),
        middleware=[own_machine_only] if settings.open else [],
        exception_handlers=EXCEPTION_HANDLERS,
        cors_config=None if settings.open else OriginsInForce(in_force, expose_headers=EXPOSED),
        request_max_body_size=settings.server.max_body_mb * 1024 * 1024,
        openapi_config=None,
        logging_config=None,
    )
    # These layers are outermost: Litestar's middleware sees no unknown routes, and no refusals by other middleware.
    app.asgi_handler = with_request_id(door.guard(with_sockets(app.asgi_handler, parts)), under_way)
    return app


def create_metrics_app(gateway: Litestar, settings: Settings) -> Litestar:
    """The application at the address for metrics: what it shows is the `gateway`'s, and it counts nothing itself."""
    app = LeanLitestar(
        route_handlers=[*metrics_routes(admit_at(settings.metrics.host)), nothing_else],
        state=gateway.state,
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=None,
        logging_config=None,
    )
    app.asgi_handler = with_request_id(app.asgi_handler, RequestsUnderWay())
    return app
