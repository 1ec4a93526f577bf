"""The traces of the gateway: a span for each request that reaches an agent. Alone knows OpenTelemetry.

Spans are begun when a run is, and made complete of the request's record and its run's account when both are over.
Names and attributes are those of the semantic conventions for generative AI:
https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/gen-ai-agent-spans.md

    invoke_agent tutor                 the agent type; the request, from its first byte to its last
      execute_tool web_search          from the call to its return; a tool of the client's: to the answer's end

No attribute holds what was said, or who said it: no arguments, no results.
"""

import asyncio
import logging
import netrc  # noqa: F401  # which requests would import with the first export
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from gateway import __version__
from gateway.http.record import Record
from gateway.turns.runs.account import Account, ToolUse

logger = logging.getLogger(__name__)
SERVICE = "letta-gateway"
# So long the last spans are waited for at the end.
FLUSH_SECONDS = 3.0
# An exporter that cannot export is told of so often.
TELL_SECONDS = 60.0
NANOSECONDS = 1_000_000_000
TOOL_FAILED = "tool_error"
_ADDRESS = re.compile(r"url: \S+")


class _Begun(NamedTuple):
    """A span under way, and the moment at which its request came, by the clock on the wall, in nanoseconds."""

    span: Span
    at: int


class OtelTraces:
    """An `Observer` that exports spans, in a thread of the SDK's own; what cannot be exported is lost."""

    def __init__(self, endpoint: str, exporter: SpanExporter | None = None) -> None:
        """`endpoint` is an address such as `http://127.0.0.1:4318/v1/traces`; `exporter` stands in for the one there.

        All else is as the variables `OTEL_…` say, which the SDK reads.
        """
        _tell_now_and_then()
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._exporter = exporter or OTLPSpanExporter(endpoint=endpoint)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer(SERVICE, __version__)
        self._begun: dict[str, _Begun] = {}

    def begin(self, record: Record, parent: str) -> str:
        """Begin the span of a request that reaches an agent, in the trace of `parent`; gives its own `traceparent`."""
        at = time.time_ns() - int(record.age * NANOSECONDS)
        agent_type = record.agent_type or ""
        attributes: dict[str, AttributeValue] = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.provider.name": "letta",
            "gen_ai.agent.name": agent_type,
            "gen_ai.request.model": agent_type,
            "letta_gateway.request.id": record.id,
            "letta_gateway.key": record.key or "",
        }
        span = self._tracer.start_span(
            f"invoke_agent {agent_type}",
            set_span_in_context(NonRecordingSpan(_context_of(parent))) if parent else None,
            SpanKind.CLIENT,
            attributes,
            start_time=at,
        )
        self._begun[record.id] = _Begun(span, at)
        context = span.get_span_context()
        if not context.is_valid:
            # The SDK is switched off.
            return parent
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def ended(self, record: Record) -> None:
        if record.account is None:
            self.closed(record)

    def closed(self, record: Record) -> None:
        begun = self._begun.pop(record.id, None)
        if begun is None:
            return
        span, at = begun
        end = at + int((record.seconds or 0) * NANOSECONDS)
        if span.is_recording():
            span.set_attributes(dict(_learnt(record)))
            if record.outcome and not record.left:
                span.set_status(Status(StatusCode.ERROR))
            for used in record.account.tools if record.account else ():
                self._tell_tool(used, begun, record.started, end)
        span.end(end)

    def _tell_tool(self, used: ToolUse, begun: _Begun, started: float, end: int) -> None:
        """Export the span of a call of a tool; `started` is when its request came, by the clock of the account."""
        attributes: dict[str, AttributeValue] = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": used.name,
            "gen_ai.tool.call.id": used.id,
            # https://github.com/open-telemetry/semantic-conventions-genai: a function is executed by the client.
            "gen_ai.tool.type": "function" if used.clients else "extension",
        }
        began = begun.at + int((used.began - started) * NANOSECONDS)
        ended = max(began, end) if used.ended is None else begun.at + int((used.ended - started) * NANOSECONDS)
        parent, name = set_span_in_context(begun.span), f"execute_tool {used.name}"
        span = self._tracer.start_span(name, parent, SpanKind.INTERNAL, attributes, start_time=began)
        if used.failed:
            span.set_attribute("error.type", TOOL_FAILED)
            span.set_status(Status(StatusCode.ERROR))
        span.end(ended)

    async def aclose(self) -> None:
        """Export what is left, for at most FLUSH_SECONDS."""
        loop, flushed = asyncio.get_running_loop(), asyncio.Event()

        def flush() -> None:
            self._provider.shutdown()
            # The loop may be gone by then, and nobody waits.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(flushed.set)

        # No thread of the loop's: the process would wait for that at its end.
        threading.Thread(target=flush, daemon=True).start()
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await flushed.wait()
        except TimeoutError:
            logger.warning("the last traces are lost: they could not be exported in time")
            # It tries no more.
            self._exporter.shutdown()


def _learnt(record: Record) -> Iterator[tuple[str, AttributeValue]]:
    """The attributes of a span that are known at its end."""
    account = record.account or Account()
    yield "gen_ai.request.stream", record.streamed
    if record.joined:
        yield "letta_gateway.joined", True
    if account.agent:
        yield "gen_ai.agent.id", account.agent
    if account.conversation:
        yield "gen_ai.conversation.id", account.conversation
    if record.streamed and record.first_frame_seconds is not None:
        yield "gen_ai.response.time_to_first_chunk", record.first_frame_seconds
    if account.queued_seconds:
        yield "letta_gateway.queued_seconds", account.queued_seconds
    if account.told.total:
        yield "gen_ai.usage.input_tokens", account.told.prompt
        yield "gen_ai.usage.output_tokens", account.told.completion
        yield "gen_ai.usage.cache_read.input_tokens", account.told.cached
        yield "gen_ai.usage.reasoning.output_tokens", account.told.reasoning
    if record.outcome:
        yield "error.type", record.outcome


def _context_of(traceparent: str) -> SpanContext:
    _, trace, span, flags = traceparent.split("-")
    return SpanContext(int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))


def _resource() -> Resource:
    """The service, as OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES name it; else by its own name."""
    named = Resource.create()
    if str(named.attributes[SERVICE_NAME]).startswith("unknown_service"):
        named = named.merge(Resource({SERVICE_NAME: SERVICE}))
    return Resource({SERVICE_VERSION: __version__}).merge(named)


class _NowAndThen(logging.Handler):
    """Retells what the SDK logs, a line of it now and then: it tells of every try to export, with its traceback."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._told = -TELL_SECONDS

    def emit(self, record: logging.LogRecord) -> None:
        if (now := time.monotonic()) - self._told >= TELL_SECONDS:
            self._told = now
            # An address may hold what its receiver takes for a key.
            why = _ADDRESS.sub("url: …", record.getMessage().partition("\n")[0])
            logger.warning("traces cannot be exported, and are lost: %s", why)


def _tell_now_and_then() -> None:
    sdk = logging.getLogger("opentelemetry")
    sdk.propagate = False
    sdk.handlers = [_NowAndThen()]
