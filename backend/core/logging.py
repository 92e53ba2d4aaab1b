"""Structured logs: one JSON object, or one readable line, per event on standard output."""

import logging
import os
import sys
from datetime import UTC, datetime
from platform import node
from typing import Any

import orjson
import structlog
from structlog.processors import add_log_level
from structlog.typing import EventDict, Processor

from backend.core.settings import Settings
from backend.telemetry.tracing import add_trace_id


def configure_logging(settings: Settings) -> None:
    """Write the records of structlog and of the standard library in one format."""
    level = logging.getLevelName(settings.log_level.upper())
    console = settings.log_format == "console" or (
        settings.log_format is None and settings.environment == "development"
    )
    shared: list[Processor] = [structlog.contextvars.merge_contextvars, _describe]
    if console:
        render: Processor = structlog.dev.ConsoleRenderer(
            colors=sys.stdout.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        factory: Any = structlog.PrintLoggerFactory(sys.stdout)
    else:
        # Tracebacks as text: structlog's dictionaries contain local variables, such as passwords.
        shared += [_origin(settings), structlog.processors.format_exc_info]
        render = _json
        factory = structlog.BytesLoggerFactory(sys.stdout.buffer)
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
    _adopt_standard_logging(shared, render, level)


def _describe(logger: Any, name: str, event: EventDict) -> EventDict:
    """Add the active trace, the level and the time."""
    event = add_log_level(logger, name, add_trace_id(logger, name, event))
    event["timestamp"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return event


def _origin(settings: Settings) -> Processor:
    """Return a processor that adds the machine and the process."""
    origin = {"instance": settings.instance or node(), "pid": os.getpid()}

    def add(_logger: Any, _name: str, event: EventDict) -> EventDict:
        event.update(origin)
        return event

    return add


def _adopt_standard_logging(shared: list[Processor], render: Processor, level: int) -> None:
    def render_text(logger: Any, name: str, event: EventDict) -> str:
        line = render(logger, name, event)
        return line.decode() if isinstance(line, bytes) else str(line)

    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render_text],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # At level INFO it logs whole URLs, including secrets in the query.
    logging.getLogger("httpx").setLevel(logging.WARNING)


def _json(_logger: Any, _name: str, event: EventDict) -> bytes:
    return orjson.dumps(event, default=str)
