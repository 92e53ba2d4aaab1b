"""Traces: spans of requests, jobs, database statements and calls of other services.

Spans contain names and numbers of this code only: no query, header, body, address, statement text
or message of an error. They exist where an OTLP endpoint is set; `telemetry.span_export` imports
the SDK, and this file does not.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from threading import Thread
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, TracerProvider
from opentelemetry.trace.propagation import set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from structlog.typing import EventDict

Attributes = Mapping[str, str | int]
# How long a stopping process exports the spans that are left.
FLUSH_SECONDS = 3.0
# The span of a wait for a database connection.
WAIT = "wait for connection"
# Attributes: code and kind of a database error, and the class of an unhandled error.
SQLSTATE, TROUBLE = "db.response.status_code", "trellis.database.trouble"
EXCEPTION = "exception.type"
# Whether the primary has run reads that are for the replica.
SUSPENDED = "trellis.replica.suspended"
_W3C = TraceContextTextMapPropagator()
# The client chooses the text of `tracestate`, so that header is neither stored nor forwarded.
TRACE_HEADER = "traceparent"
_RAW_HEADER = TRACE_HEADER.encode()


class ActiveSpan:
    """A span, until `finish` the parent of the spans that its task starts.

    One that is not sampled is active too: its children, in other processes as well, are then not
    sampled either.
    """

    __slots__ = ("_context", "_span", "_token", "_tracer", "is_sampled")

    def __init__(self, tracer: Tracer, span: Span) -> None:
        self._tracer = tracer
        self._span = span
        self._context = set_span_in_context(span, Context())
        self.is_sampled = span.is_recording()
        self._token: Token[ActiveSpan | None] = active_span.set(self)

    @property
    def trace_id(self) -> str:
        return f"{self._span.get_span_context().trace_id:032x}"

    def headers(self) -> dict[str, str]:
        """Return the headers that make spans of other processes children of this one."""
        carrier: dict[str, str] = {}
        _W3C.inject(carrier, self._context)
        return carrier

    def set(self, name: str, value: str | int) -> None:
        """Set an attribute. It must not contain personal data."""
        self._span.set_attribute(name, value)

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def start_child(
        self, name: str, kind: SpanKind, attributes: Attributes, started_ns: int | None = None
    ) -> Span:
        return self._tracer.start_span(
            name, self._context, kind=kind, attributes=attributes, start_time=started_ns
        )

    def activate_child(self, name: str, kind: SpanKind, attributes: Attributes) -> "ActiveSpan":
        return ActiveSpan(self._tracer, self.start_child(name, kind, attributes))

    def finish(self, error: str | None = None) -> None:
        """End the span; `error` is the kind of its failure, None without one."""
        _end(self._span, error)
        active_span.reset(self._token)


active_span: ContextVar[ActiveSpan | None] = ContextVar("active_span", default=None)


class Tracing:
    """The traces of one application. `shutdown` exports the spans that are left; it may block."""

    def __init__(self, provider: TracerProvider, shutdown: Callable[[], None]) -> None:
        self._tracer = provider.get_tracer("trellis")
        self._shutdown = shutdown

    def start(
        self, name: str, kind: SpanKind, parent: Mapping[str, str], attributes: Attributes
    ) -> ActiveSpan:
        """Start a span in this task; the caller has to `finish` it.

        It is a child of the span that the headers `parent` name, otherwise the first of a trace.
        """
        context = _W3C.extract(parent, Context())
        span = self._tracer.start_span(name, context, kind=kind, attributes=attributes)
        return ActiveSpan(self._tracer, span)

    async def close(self) -> None:
        """Export the spans that are left, for at most `FLUSH_SECONDS`."""
        # A daemon, so that a receiver that does not reply keeps no process alive.
        thread = Thread(target=self._shutdown, name="traces", daemon=True)
        thread.start()
        await asyncio.to_thread(thread.join, FLUSH_SECONDS)


def trace_headers_of(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the header of a request that names its parent span."""
    found = next((value for name, value in headers if name == _RAW_HEADER), None)
    return {} if found is None else {TRACE_HEADER: found.decode("latin-1")}


def active_trace_id() -> str | None:
    """Return the id of the active trace if it is sampled."""
    active = active_span.get()
    return active.trace_id if active is not None and active.is_sampled else None


def trace_headers() -> dict[str, str]:
    """Return the headers for a call of another service; empty without an active span.

    Stored with a job, they make its span a child of the active one.
    """
    active = active_span.get()
    return {} if active is None else active.headers()


@contextmanager
def child_span(
    name: str, attributes: Attributes, kind: SpanKind = SpanKind.INTERNAL
) -> Iterator[ActiveSpan | None]:
    """Make the block a span, if there is an active one; an exception fails it, by its type alone.

    For a call of another service: `kind` is CLIENT, and `trace_headers()` in the block names it.
    """
    parent = active_span.get()
    if parent is None:
        yield None
        return
    active = parent.activate_child(name, kind, attributes)
    error: str | None = None
    try:
        yield active
    except BaseException as raised:
        error = type(raised).__name__
        raise
    finally:
        active.finish(error)


def annotate(attributes: Attributes) -> None:
    """Set attributes of the active span, if there is one. They must not contain personal data."""
    active = active_span.get()
    if active is not None:
        for name, value in attributes.items():
            active.set(name, value)


def record_statement(name: str, seconds: float, error: BaseException | None = None) -> None:
    """Record a database statement of the active span that has just ended."""
    attributes = {"db.system.name": "postgresql", "db.query.summary": name}
    sqlstate = getattr(error, "sqlstate", None)
    if sqlstate is not None:
        attributes[SQLSTATE] = sqlstate
    failure = None if error is None else type(error).__name__
    _record_ended(name, SpanKind.CLIENT, attributes, seconds, failure)


def record_wait(pool: str, seconds: float, outcome: str) -> None:
    """Record a wait of the active span for a connection of `pool` that has just ended."""
    attributes = {"db.client.connection.pool.name": pool, "trellis.wait.outcome": outcome}
    failure = None if outcome == "granted" else outcome
    _record_ended(WAIT, SpanKind.INTERNAL, attributes, seconds, failure)


def _record_ended(
    name: str, kind: SpanKind, attributes: Attributes, seconds: float, error: str | None
) -> None:
    parent = active_span.get()
    if parent is None or not parent.is_sampled:
        return
    ended = time.time_ns()
    span = parent.start_child(name, kind, attributes, ended - round(seconds * 1e9))
    _end(span, error, ended)


def add_trace_id(_logger: Any, _name: str, event: EventDict) -> EventDict:
    """Add the id of the active trace, if it is sampled; a processor of structlog."""
    trace_id = active_trace_id()
    if trace_id is not None:
        event["trace_id"] = trace_id
    return event


def _end(span: Span, error: str | None, ended_ns: int | None = None) -> None:
    if error is not None:
        span.set_attribute("error.type", error)
        span.set_status(StatusCode.ERROR)
    span.end(ended_ns)
