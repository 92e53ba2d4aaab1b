"""Receivers of traces and error reports on the loopback interface, which tests can stop."""

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.commands import eventually
from tests.servers import serving_in_thread


@dataclass(frozen=True)
class ReceivedSpan:
    """A span as it arrived; ids are hexadecimal, and `parent` is empty for the first of a trace."""

    name: str
    kind: int
    trace: str
    id: str
    parent: str
    failed: bool
    seconds: float
    attributes: dict[str, Any]
    resource: dict[str, Any]


@dataclass
class Receiver:
    """`bodies` are those of all requests. While `flows` is not set, it does not reply."""

    url: str
    bodies: list[tuple[str, bytes]] = field(default_factory=list)
    flows: Event = field(default_factory=Event)
    status: int = 200

    def spans(self, first: int = 0, end: int | None = None) -> list[ReceivedSpan]:
        """The spans of all requests, or of these, by OTLP/HTTP with protobuf."""
        return [span for path, body in self.bodies[first:end] for span in _spans(path, body)]

    def span(self, name: str) -> ReceivedSpan:
        """Wait for the span with this name; there must be one."""
        eventually(lambda: any(each.name == name for each in self.spans()))
        (found,) = [each for each in self.spans() if each.name == name]
        return found

    def events(self) -> list[dict[str, Any]]:
        """The events of all requests, in Sentry's envelopes."""
        events = []
        for path, body in self.bodies:
            if not path.endswith("/envelope/"):
                continue
            lines = body.split(b"\n")
            events += [
                json.loads(content)
                for header, content in zip(lines[1::2], lines[2::2], strict=False)
                if json.loads(header)["type"] == "event"
            ]
        return events

    def wait_for(self, count: int) -> None:
        """Wait for this number of spans or events."""
        eventually(lambda: len(self.spans() or self.events()) >= count)


def _spans(path: str, body: bytes) -> Iterator[ReceivedSpan]:
    if path != "/v1/traces":
        return
    for group in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = {each.key: _value(each.value) for each in group.resource.attributes}
        for span in (span for scope in group.scope_spans for span in scope.spans):
            assert not span.events
            assert not span.status.message
            yield ReceivedSpan(
                name=span.name,
                kind=span.kind,
                trace=span.trace_id.hex(),
                id=span.span_id.hex(),
                parent=span.parent_span_id.hex(),
                failed=span.status.code == 2,
                seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                attributes={each.key: _value(each.value) for each in span.attributes},
                resource=resource,
            )


def _value(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value"))


@contextmanager
def receiver(port: int = 0) -> Iterator[Receiver]:
    """Run a receiver that accepts everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            running.flows.wait(60)
            running.bodies.append((self.path, body))
            self.send_response(running.status)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None: ...

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Nothing: clients that stop close their connections."""

    server = Server(("127.0.0.1", port), Handler)
    running = Receiver(f"http://127.0.0.1:{server.server_port}")
    running.flows.set()
    with serving_in_thread(server):
        try:
            yield running
        finally:
            running.flows.set()
