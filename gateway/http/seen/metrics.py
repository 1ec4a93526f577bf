"""The metrics of the gateway, as Prometheus reads them. Knows prometheus-client.

All of them are made of records (`record.py`) when their requests are over, and of a few numbers that are read when
somebody asks. What stands in a label is bounded: words of this house, names of the configuration, and for more of
them than MOST_NAMES one name for all others. Every series but `build_info` and `start_time_seconds` is a sum: those of
several processes add up.

Names, labels and buckets are those of the semantic conventions for generative AI, where these have some:
https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/gen-ai-metrics.md
"""

import asyncio
import platform
from collections.abc import Callable

from msgspec import Struct
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from gateway import __version__
from gateway.domain.tasks import TASK_KINDS
from gateway.http.record import Record
from gateway.settings import TASK_MODEL
from gateway.turns.runs.account import Account

# The most different names that a label of the configuration's has, whatever reloads bring.
MOST_NAMES = 200
# The conventions' word for a value that has no name of its own.
OTHER = "_OTHER"
WELL = "ok"
PROVIDER = "letta"
AGENT, CHAT = "invoke_agent", "chat"
DURATION_BUCKETS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
FIRST_TOKEN_BUCKETS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
PER_TOKEN_BUCKETS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
TOKEN_BUCKETS = tuple(4**power for power in range(14))
QUEUE_BUCKETS = (0.005, 0.1, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0)

# The addresses that are told apart; any other is OTHER.
ROUTES = (
    *("/v1/chat/completions", "/v1/responses", "/v1/conversations", "/v1/models", "/v1/usage"),
    *("/healthz", "/readyz", "/metrics", "/connect", "/"),
)
_BELOW = {
    "/v1/responses/": "/v1/responses/{id}",
    "/v1/conversations/": "/v1/conversations/{id}",
    "/v1/models/": "/v1/models/{model}",
    "/web/": "/web",
    "/metrics/": "/metrics",
}
_OPERATION = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")


class _Names:
    """The names that one label has had."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def bounded(self, name: str | None) -> str:
        """The name, or OTHER where there are too many before it; empty for None."""
        if not name or name in self._known:
            return name or ""
        if len(self._known) >= MOST_NAMES:
            return OTHER
        self._known.add(name)
        return name


class _OfAgents(Struct, frozen=True):
    """The metrics of one agent type: looked up once, for a look-up takes as long as to count."""

    first_token: Histogram
    per_token: Histogram
    queue: Histogram
    agents: Counter
    cancels: Counter
    joined: Counter


class PrometheusMetrics:
    """An `Observer` that counts; `exposed` gives the numbers."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, letta: str) -> None:
        """`letta` is the kind of the Letta behind the gateway."""
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._keys, self._types, self._codes, self._limits = _Names(), _Names(), _Names(), _Names()
        self._reads: list[tuple[Gauge, Callable[[], int]]] = []
        self._of: dict[str, _OfAgents] = {}
        build = _gauge(registry, "build_info", "The version; always 1.", ("version", "python", "letta"))
        build.labels(__version__, platform.python_version(), letta).set(1)
        _gauge(registry, "start_time_seconds", "When it started, in seconds since 1970.").set_to_current_time()
        self._requests = _counter(
            registry,
            "requests",
            "Requests that are over, by their outcome.",
            ("route", "status", "outcome", "key", "agent_type"),
        )
        self._upstream_errors = _counter(
            registry, "upstream_errors", "Requests that failed for Letta or the model behind it.", ("kind",)
        )
        self._tasks = _counter(registry, "tasks", "Background tasks that were answered.", ("kind",))
        self._limits_hit = _counter(registry, "limits_hit", "Requests that a limit refused.", ("limit", "key"))
        of_type = ("agent_type",)
        self._cancels = _counter(registry, "runs_cancelled", "Runs that Letta was told to end.", of_type)
        self._joined = _counter(registry, "resends_joined", "Requests that took over a run they had before.", of_type)
        self._agents = _counter(registry, "agents_made", "Agents that were made.", of_type)
        self._queue = _histogram(
            registry,
            "letta_gateway_queue_wait_seconds",
            "The wait for earlier turns of a chat.",
            QUEUE_BUCKETS,
            of_type,
        )
        self._duration = _histogram(
            registry,
            "gen_ai_server_request_duration_seconds",
            "The time from a request's first byte to the last of its answer.",
            DURATION_BUCKETS,
            (*_OPERATION, "error_type"),
        )
        self._first_token = _histogram(
            registry,
            "gen_ai_server_time_to_first_token_seconds",
            "The time to the first bytes of a streamed answer.",
            FIRST_TOKEN_BUCKETS,
            _OPERATION,
        )
        self._per_token = _histogram(
            registry,
            "gen_ai_server_time_per_output_token_seconds",
            "The time for each token after the first of a streamed answer.",
            PER_TOKEN_BUCKETS,
            _OPERATION,
        )
        self._tokens = _histogram(
            registry,
            "gen_ai_client_token_usage",
            "The tokens of a run, of all its steps.",
            TOKEN_BUCKETS,
            (*_OPERATION, "gen_ai_token_type"),
        )

    def read(self, name: str, about: str, read: Callable[[], int]) -> None:
        """Have a number read, by the event loop, whenever somebody asks: `letta_gateway_NAME`."""
        self._reads.append((_gauge(self._registry, name, about), read))

    async def exposed(self) -> bytes:
        """All metrics, in Prometheus' text format."""
        for gauge, read in self._reads:
            gauge.set(read())
        # Many keys and agent types make thousands of lines.
        return await asyncio.to_thread(generate_latest, self._registry)

    def ended(self, record: Record) -> None:
        self._requests.labels(
            route_of(record.path),
            f"{record.status // 100}xx" if record.status else "",
            self._codes.bounded(record.outcome or WELL),
            self._keys.bounded(record.key),
            self._types.bounded(record.agent_type),
        ).inc()
        if record.upstream_error:
            self._upstream_errors.labels(record.upstream_error).inc()
        if record.limit:
            self._limits_hit.labels(self._limits.bounded(record.limit), self._keys.bounded(record.key)).inc()
        if record.agent_type:
            self._count_answer(self._types.bounded(record.agent_type), record)
        elif record.task:
            self._tasks.labels(record.task if record.task in TASK_KINDS else OTHER).inc()

    def _count_answer(self, agent_type: str, record: Record) -> None:
        """Count an answer of an agent."""
        error = self._codes.bounded(record.outcome)
        self._duration.labels(AGENT, PROVIDER, agent_type, error).observe(record.seconds or 0)
        of = self._of_type(agent_type)
        if record.joined:
            of.joined.inc()
        if record.streamed and record.first_frame_seconds is not None and not error:
            of.first_token.observe(record.first_frame_seconds)

    def closed(self, record: Record) -> None:
        account = record.account
        if account is None:
            return
        if not record.agent_type:
            self._count_tokens(CHAT, TASK_MODEL, account)
            return
        agent_type = self._types.bounded(record.agent_type)
        of = self._of_type(agent_type)
        if account.queued_seconds is not None:
            of.queue.observe(account.queued_seconds)
        if account.made_agent:
            of.agents.inc()
        if account.cancelled:
            of.cancels.inc()
        first, last, more = record.first_frame_seconds, record.last_frame_seconds, account.told.completion - 1
        if record.streamed and first is not None and last is not None and more > 0:
            of.per_token.observe((last - first) / more)
        self._count_tokens(AGENT, agent_type, account)

    def _count_tokens(self, operation: str, model: str, account: Account) -> None:
        tokens = account.told
        # Nothing is said of a usage that nobody has told, as the conventions have it.
        if tokens.total:
            self._tokens.labels(operation, PROVIDER, model, "input").observe(tokens.prompt)
            self._tokens.labels(operation, PROVIDER, model, "output").observe(tokens.completion)

    def _of_type(self, agent_type: str) -> _OfAgents:
        if agent_type not in self._of:
            operation = AGENT, PROVIDER, agent_type
            self._of[agent_type] = _OfAgents(
                self._first_token.labels(*operation),
                self._per_token.labels(*operation),
                self._queue.labels(agent_type),
                self._agents.labels(agent_type),
                self._cancels.labels(agent_type),
                self._joined.labels(agent_type),
            )
        return self._of[agent_type]


def route_of(path: str) -> str:
    """The address of a record's path, as it stands in a label: `/v1/models/{model}`."""
    if path in ROUTES:
        return path
    return next((route for begin, route in _BELOW.items() if path.startswith(begin)), OTHER)


def _counter(registry: CollectorRegistry, name: str, about: str, labels: tuple[str, ...]) -> Counter:
    return Counter(f"letta_gateway_{name}", about, labels, registry=registry)


def _gauge(registry: CollectorRegistry, name: str, about: str, labels: tuple[str, ...] = ()) -> Gauge:
    return Gauge(f"letta_gateway_{name}", about, labels, registry=registry)


def _histogram(
    registry: CollectorRegistry, name: str, about: str, buckets: tuple[float, ...], labels: tuple[str, ...]
) -> Histogram:
    return Histogram(name, about, labels, buckets=buckets, registry=registry)
