"""`backend worker`, and the worker as a child process of `backend dev`.

The child process runs as `python -m backend.cli.worker LIFELINE`.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

import structlog
from pydantic import SecretStr

from backend.cli import configuration
from backend.cli.databases import reachable_database
from backend.cli.schema import bring_to_head
from backend.cli.terminal import CommandError
from backend.core.app import create_context
from backend.core.logging import configure_logging
from backend.core.metrics import make_metrics
from backend.core.registry import RegistryError
from backend.core.settings import Settings, SettingsError
from backend.core.signals import make_error_reports, make_tracing
from backend.core.telemetry_settings import TelemetrySettings
from backend.db.schema.history import HistoryError
from backend.dev import lifeline
from backend.dev.stop_signals import STOP_SIGNALS
from backend.worker.job_execution import WorkerConfig
from backend.worker.supervisor import work

if TYPE_CHECKING:
    from backend.telemetry.metrics import Metrics

log = structlog.get_logger()

# Time for the clean-up after the jobs' own deadline. Both together stay below the 30 seconds after
# which most orchestrators kill a process.
LAST_SECONDS = 8
NEEDS_SESSION = (
    "The worker needs a database session, and DATABASE_POOLER=transaction provides none: "
    "set DATABASE_DIRECT_URL to the server itself."
)


def main() -> None:
    line, _ = lifeline.inherit()

    def send_ready() -> None:
        # If the parent has died, sending fails, and the lifeline stops this process.
        with suppress(OSError):
            line.send(lifeline.READY)

    try:
        run(WorkerConfig(patience=lifeline.DEV_PATIENCE), on_ready=send_ready)
    except (CommandError, HistoryError, RegistryError, SettingsError) as error:
        sys.exit(str(error))
    finally:
        # The lifeline's thread reads the socket until the process exits, so it stays open.
        line.detach()


def run(
    config: WorkerConfig | None = None,
    *,
    host: str = "127.0.0.1",
    on_ready: Callable[[], None] = lambda: None,
) -> None:
    """Run jobs until a stop signal; `host` is the address of the metrics, if they are served."""
    config = config or WorkerConfig()
    settings, loaded, modules = configuration.load()
    if (
        settings.database_pooler == "transaction"
        and settings.database_url is not None
        and settings.database_direct_url is None
    ):
        raise CommandError(NEEDS_SESSION)
    configure_logging(settings)
    with ExitStack() as stack:
        if settings.database_url is None:
            place = stack.enter_context(reachable_database(settings))
            bring_to_head(place.url)
            settings = settings.model_copy(update={"database_url": SecretStr(place.url)})
        metrics = _serve_metrics(stack, host, loaded)
        context = create_context(
            modules,
            {**loaded, Settings: settings},
            metrics=metrics,
            tracing=make_tracing(loaded),
            error_reports=make_error_reports(loaded),
        )

        async def until_signalled() -> None:
            stopping = asyncio.Event()
            with _set_by_signals(stopping, config.patience + LAST_SECONDS):
                await work(context, modules, stopping, config=config, on_ready=on_ready)

        try:
            asyncio.run(until_signalled())
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


def _serve_metrics(stack: ExitStack, host: str, loaded: configuration.Loaded) -> "Metrics | None":
    """Serve the metrics of this process until `stack` closes, if a port is set."""
    telemetry = loaded[TelemetrySettings]
    assert isinstance(telemetry, TelemetrySettings)
    port = telemetry.worker_metrics_port
    metrics = make_metrics(port)
    if metrics is not None and port is not None:
        # Imported only here: without metrics, the client library is not needed.
        from backend.cli.metrics import metrics_endpoint

        stack.enter_context(metrics_endpoint(metrics.registry, host, port, "WORKER_METRICS_PORT"))
    return metrics


@contextmanager
def _set_by_signals(stopping: asyncio.Event, limit: float) -> Iterator[None]:
    """Set the event at the first stop signal inside the block; ignore further signals.

    The process is killed if it has not exited `limit` seconds after the signal.
    """
    loop = asyncio.get_running_loop()
    handlers = {each: signal.getsignal(each) for each in STOP_SIGNALS}
    handled = [each for each, handler in handlers.items() if handler is not signal.SIG_IGN]

    def stop(_number: int, _frame: FrameType | None) -> None:
        for each in handled:
            signal.signal(each, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, _give_up)
        signal.setitimer(signal.ITIMER_REAL, limit)
        loop.call_soon_threadsafe(stopping.set)

    for each in handled:
        signal.signal(each, stop)
    try:
        yield
    finally:
        if not stopping.is_set():
            for each in handled:
                signal.signal(each, handlers[each])


def _give_up(_number: int, _frame: FrameType | None) -> None:
    """Exit without clean-up; other workers requeue the jobs once this heartbeat is missing."""
    # Writing the log may block, so a second alarm kills the process after a second.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, 1)
    try:
        log.error("worker_gave_up")
        sys.stdout.flush()
    finally:
        os._exit(1)


if __name__ == "__main__":
    main()
