"""`backend serve`: the server for production."""

import os
import sys
from contextlib import ExitStack
from pathlib import Path

import structlog

from backend.cli import configuration
from backend.cli.databases import reachable_database
from backend.cli.ports import bind, url_of
from backend.cli.schema import bring_to_head
from backend.cli.terminal import CommandError
from backend.core.logging import configure_logging
from backend.core.telemetry_settings import TelemetrySettings
from backend.server.config import bounds_of, make_config
from backend.server.server import Server
from backend.server.workers import Workers

# More than a statement's timeout, less than the 30 seconds after which orchestrators kill.
STOP_TIMEOUT_SECONDS = 20


def run(host: str, port: int, workers: int) -> None:
    settings, loaded, _ = configuration.load()
    telemetry = loaded[TelemetrySettings]
    assert isinstance(telemetry, TelemetrySettings)
    configure_logging(settings)
    if workers > 1 and settings.limit_storage == "memory":
        if settings.rate_limit_storage == "memory":
            raise CommandError(
                "RATE_LIMIT_STORAGE=memory is for one worker, because each would count for itself. "
                "Use postgres or redis, or leave out --workers."
            )
        # Worker processes run backend.main, which reads the environment.
        os.environ["RATE_LIMIT_STORAGE"] = "postgres"
    with ExitStack() as stack:
        sockets = [stack.enter_context(each) for each in bind(host, port)]
        metrics = _serve_metrics(stack, host, port, telemetry.metrics_port, workers)
        if settings.database_url is None:
            place = stack.enter_context(reachable_database(settings))
            bring_to_head(place.url)
            os.environ["DATABASE_URL"] = place.url
        config = make_config(
            "backend.main:app",
            patience=STOP_TIMEOUT_SECONDS,
            bounds=bounds_of(settings),
            keep_alive=settings.keep_alive,
            drain_seconds=settings.drain_seconds,
            workers=workers,
        )
        url = url_of(sockets[0])

        def announce() -> None:
            structlog.get_logger().info("serving", url=url, workers=workers)

        if workers == 1:
            Server(config, on_ready=announce).run(sockets)
        elif Workers(config, sockets, on_ready=announce, metrics=metrics).run():
            sys.exit(1)


def _serve_metrics(
    stack: ExitStack, host: str, port: int, metrics_port: int | None, workers: int
) -> Path | None:
    """Serve the metrics until `stack` closes; return the folder of the files of processes."""
    if metrics_port is None:
        return None
    if metrics_port == port:
        raise CommandError(f"METRICS_PORT and --port are both {port}: choose another.")
    # Imported only here: without metrics, the client library is not needed.
    from backend.cli.metrics import metrics_of_processes
    from backend.telemetry.endpoint import keep_values_in_files

    folder = stack.enter_context(metrics_of_processes(host, metrics_port))
    if workers == 1:
        # This process serves the API as well.
        keep_values_in_files(0)
    return folder
