"""A receiver of traces, as a collector has one: OTLP over HTTP, in protobuf."""

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from msgspec import Struct
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Status


class Received(Struct):
    """A span as it came."""

    name: str
    trace: str
    id: str
    parent: str
    kind: int
    began: int
    ended: int
    failed: bool
    attributes: dict[str, Any]
    resource: dict[str, Any]

    @property
    def seconds(self) -> float:
        return (self.ended - self.began) / 1e9


class OtlpReceiver:
    """Serves on a free port of the loopback while `received_traces` is entered."""

    def __init__(self) -> None:
        self.endpoint = ""
        self.spans: list[Received] = []

    def take(self, body: bytes) -> None:
        told = ExportTraceServiceRequest.FromString(body)
        for of_resource in told.resource_spans:
            resource = {one.key: _value(one.value) for one in of_resource.resource.attributes}
            for span in (span for scope in of_resource.scope_spans for span in scope.spans):
                attributes = {one.key: _value(one.value) for one in span.attributes}
                received = Received(
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.kind,
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    span.status.code == Status.STATUS_CODE_ERROR,
                    attributes,
                    resource,
                )
                self.spans.append(received)

    def until(self, count: int) -> list[Received]:
        """The spans once there are so many."""
        end = time.monotonic() + 20
        while len(self.spans) < count:
            assert time.monotonic() < end, [span.name for span in self.spans]
            time.sleep(0.01)
        return self.spans


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind else None


@contextmanager
def received_traces() -> Iterator[OtlpReceiver]:
    receiver = OtlpReceiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.take(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        receiver.endpoint = f"http://127.0.0.1:{server.server_address[1]}/v1/traces"
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


def to_tree(spans: list[Received]) -> str:
    """The spans as a tree, each with its attributes; what is under another is its child."""
    ids = {span.id for span in spans}
    lines: list[str] = []

    def tell(span: Received, depth: int) -> None:
        lines.append(f"{'  ' * depth}{span.name}  {span.seconds * 1000:.0f} ms{' FAILED' * span.failed}")
        lines.extend(f"{'  ' * depth}    {name} = {value}" for name, value in span.attributes.items())
        for child in sorted(spans, key=lambda one: one.began):
            if child.parent == span.id:
                tell(child, depth + 1)

    for root in (span for span in spans if span.parent not in ids):
        tell(root, 0)
    return "\n".join(lines)
