"""The parts that the settings choose between. Each is imported when it is chosen, at the start, and no other is.

Nothing is imported while requests are answered: that would hold up everybody.
"""

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.letta.embedded.directory import state_of
from gateway.letta.embedded.secret import kept_secret
from gateway.letta.upstream import Upstream
from gateway.limits.counters import Counters
from gateway.limits.own_counters import OwnCounters
from gateway.pictures.shown import Fetch, Pictures
from gateway.settings import Settings
from gateway.shared.lines import OwnLines
from gateway.tasks.runs import TaskModel
from gateway.together import Together
from gateway.wires.responses.ids import Seal, derived_secret

if TYPE_CHECKING:
    from gateway.http.seen.metrics import PrometheusMetrics
    from gateway.http.seen.traces import OtelTraces
    from gateway.shared.redis_link import RedisLink


def upstream_for(settings: Settings, together: Together | None = None) -> Upstream:
    """The Letta that the settings name, not yet started; `together`: with the others in front of it."""
    shared = together or Together()
    match settings.letta.kind:
        case "rest":
            from gateway.letta.rest.upstream import RestUpstream

            return RestUpstream(settings.letta)
        case "app-server":
            from gateway.letta.app_server.upstream import AppServerUpstream

            wait = settings.chats.tool_wait_seconds
            return AppServerUpstream(settings.letta, None, wait, lines=shared.lines, elsewhere=shared.relay)
        case "embedded":
            from gateway.letta.embedded.upstream import EmbeddedUpstream

            return EmbeddedUpstream(settings, offline_model)


def offline_model() -> AbstractAsyncContextManager[str]:
    """Serve the offline model on a free port of the loopback while entered; yields its address."""
    from gateway.lean import LeanLitestar
    from gateway.offline import create_offline_model
    from gateway.serving import beside

    return beside(create_offline_model(LeanLitestar))


def task_model_for(settings: Settings) -> TaskModel | None:
    """The plain model that the settings name for background tasks; None if they name none."""
    if settings.tasks.answer != "model":
        return None
    from gateway.tasks.plain_model import PlainModel

    return PlainModel(settings.tasks)


def pictures_for(settings: Settings, fetch: Fetch | None) -> Pictures | None:
    """The fetcher of pictures that are shown by address; None unless the settings allow it."""
    if not settings.images.fetch:
        return None
    if fetch is None:
        from gateway.pictures.fetcher import Fetcher

        fetch = Fetcher(settings.images.max_mb)
    return Pictures(fetch, settings.server.max_body_mb)


def state_for(settings: Settings) -> Path | None:
    """The directory of the gateway's own state; None if there is none."""
    if settings.server.state:
        return Path(settings.server.state).expanduser()
    return state_of(settings.letta.state) if settings.letta.kind == "embedded" else None


def seal_for(settings: Settings) -> Seal:
    """The seal of ids: with the secret of the settings, else with one that all gateways before the same Letta have.

    An embedded Letta has one gateway, which keeps a secret beside it.
    """
    if settings.server.id_secret:
        return Seal(tuple(secret.reveal().encode() for secret in settings.server.id_secret))
    if settings.letta.kind == "embedded":
        return Seal((kept_secret(state_of(settings.letta.state)),))
    key = settings.letta.api_key
    return Seal((derived_secret(settings.letta.address, key.reveal() if key else ""),))


def link_for(settings: Settings) -> "RedisLink | None":
    """The link to the Redis that several gateways share, not yet started; None for a gateway that shares nothing."""
    if settings.shared.url is None:
        return None
    from gateway.shared.redis_link import RedisLink

    return RedisLink(settings.shared)


def together_for(settings: Settings) -> Together:
    """The means by which the gateway agrees with others, not yet started."""
    if (link := link_for(settings)) is None:
        return Together(OwnLines())
    from gateway.letta.elsewhere.relay import Relay
    from gateway.shared.redis_lines import RedisLines
    from gateway.turns.elsewhere.directory import RunDirectory

    return Together(RedisLines(link), link, RunDirectory(link), Relay(link))


def counters_for(settings: Settings, link: "RedisLink | None") -> Counters:
    """The counters of requests, answers under way and tokens, not yet started; shared, where there is a link."""
    if link:
        from gateway.limits.shared_counters import SharedCounters

        return SharedCounters(link)
    if not (state := state_for(settings)):
        return OwnCounters()
    from gateway.limits.usage_file import UsageBook

    return OwnCounters(UsageBook(state))


def prepare_tokens(settings: Settings) -> None:
    """Import what verifies signed tokens, if some key takes them."""
    if any(key.jwt_secret for key in settings.keys):
        import gateway.http.incoming.signatures  # noqa: F401


def metrics_for(settings: Settings) -> "PrometheusMetrics | None":
    """The metrics; None unless the settings let somebody read them."""
    if not settings.counts:
        return None
    from gateway.http.seen.metrics import PrometheusMetrics

    return PrometheusMetrics(settings.letta.kind)


def traces_for(settings: Settings) -> "OtelTraces | None":
    """The traces; None unless the settings say where they go."""
    if settings.traces.endpoint is None:
        return None
    from gateway.http.seen.traces import OtelTraces

    return OtelTraces(settings.traces.endpoint)
