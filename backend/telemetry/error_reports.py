"""Reports of unhandled errors to Sentry, or a server that speaks its protocol.

A report contains the types of the error and of its causes, their stack with lines of source code,
the place (route template, job or command) and ids of request and trace. It contains no message of
an error, no local variable and nothing of the request: all of them may hold personal data.
"""

import asyncio
import logging
import math
import time
from collections.abc import Mapping
from threading import Lock
from typing import Any

import structlog
from sentry_sdk import Client
from sentry_sdk.transport import HttpTransport
from sentry_sdk.utils import event_from_exception

log = structlog.get_logger()

# How long a stopping process sends the reports that are left.
FLUSH_SECONDS = 2.0
# A report takes milliseconds to write. What fails with each request must not take them each time.
SECONDS_BETWEEN_EQUALS = 60.0
MAX_GROUPS = 1000
SECONDS_BETWEEN_LOSSES = 600.0


class _LoggedTransport(HttpTransport):
    """Logs that reports get lost, at most once in `SECONDS_BETWEEN_LOSSES`."""

    _logged_at = -math.inf

    def on_dropped_event(self, _reason: str) -> None:
        now = time.monotonic()
        if now - self._logged_at >= SECONDS_BETWEEN_LOSSES:
            self._logged_at = now
            log.warning("error_reports_lost", reason=_reason)


class ErrorReports:
    """The reports of one application; a thread sends them, and drops them if none accepts them."""

    def __init__(self, dsn: str, *, environment: str, release: str, instance: str) -> None:
        # It writes a line for each attempt to reach the server.
        logging.getLogger("urllib3.connectionpool").setLevel(logging.CRITICAL)
        # Without `sentry_sdk.init`, whose state is shared by all applications of a process, and
        # without integrations, which collect requests, log lines and variables.
        self._client = Client(
            dsn=dsn,
            transport=_LoggedTransport,
            environment=environment,
            release=release,
            server_name=instance,
            default_integrations=False,
            auto_enabling_integrations=False,
            include_local_variables=False,
            max_breadcrumbs=0,
            auto_session_tracking=False,
            send_client_reports=False,
            enable_backpressure_handling=False,
            in_app_include=["backend"],
            # A level selects gzip; otherwise it is brotli where another library has installed it.
            _experiments={"transport_compression_level": 6},
        )
        self._reported_at: dict[tuple[str, str], float] = {}
        self._lock = Lock()

    def report(self, error: BaseException, place: str, **tags: str | None) -> None:
        """Report an error, at most once a minute for each place and type of error.

        The type and the place are the group of the report. `place` has few values: a route
        template, a job or a command.
        """
        group = (type(error).__name__, place)
        if not self._is_due(group):
            return
        try:
            self._client.capture_event(*self._event(error, group, tags))
        except Exception as failure:  # noqa: BLE001  # the caller handles another error
            log.warning("error_not_reported", reason=type(failure).__name__)

    def _event(
        self, error: BaseException, group: tuple[str, str], tags: Mapping[str, str | None]
    ) -> tuple[Any, Any]:
        event, hint = event_from_exception(
            error,
            client_options=self._client.options,
            mechanism={"type": "trellis", "handled": False},
        )
        for each in event.get("exception", {}).get("values", ()):
            each.pop("value", None)
        event["transaction"] = group[1]
        event["fingerprint"] = list(group)
        event["tags"] = {name: value for name, value in tags.items() if value is not None}
        return event, hint

    def _is_due(self, group: tuple[str, str]) -> bool:
        now = time.monotonic()
        with self._lock:
            if now - self._reported_at.get(group, -math.inf) < SECONDS_BETWEEN_EQUALS:
                return False
            if len(self._reported_at) >= MAX_GROUPS:
                self._reported_at.clear()
            self._reported_at[group] = now
        return True

    async def close(self) -> None:
        """Send the reports that are left, for at most `FLUSH_SECONDS`."""
        await asyncio.to_thread(self.flush)

    def flush(self) -> None:
        """As `close`, for the command line."""
        self._client.close(timeout=FLUSH_SECONDS)
