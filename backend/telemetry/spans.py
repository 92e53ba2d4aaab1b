"""Names of requests, and the spans of jobs and of calls of other services."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from opentelemetry.trace import SpanKind

from backend.telemetry.tracing import Tracing, child_span

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


def request_name(method: str, route: str | None) -> str:
    """Return one of few names of a request; `route` is its template, None for an unknown path."""
    known = method if method in METHODS else "HTTP"
    return known if route is None else f"{known} {route}"


@contextmanager
def job_span(
    tracing: Tracing | None, job: str, parent: Mapping[str, str], attributes: Mapping[str, int]
) -> Iterator[None]:
    """Make the block the span of an attempt at a job; `parent` names that of its request.

    An exception fails the span, by its type alone.
    """
    if tracing is None:
        yield
        return
    span = tracing.start(f"job {job}", SpanKind.CONSUMER, parent, attributes)
    error: str | None = None
    try:
        yield
    except BaseException as raised:
        error = type(raised).__name__
        raise
    finally:
        span.finish(error)


@contextmanager
def http_call(service: str, method: str) -> Iterator[Callable[[int], None]]:
    """Make the block the span of an HTTP call of another service, if a trace is active.

    The call has to send `trace_headers()` of the block. The block gets a function for the status of
    the response; an exception fails the span, by its type alone.
    """
    attributes = {"http.request.method": method, "peer.service": service}
    with child_span(f"{method} {service}", attributes, SpanKind.CLIENT) as span:

        def note_status(status: int) -> None:
            if span is not None:
                span.set("http.response.status_code", status)

        yield note_status
