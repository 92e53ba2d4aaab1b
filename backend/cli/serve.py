"""`backend serve`: the server for production."""

import os
import socket
import sys
from contextlib import ExitStack

import structlog
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from backend.cli import configuration
from backend.cli.databases import reachable_database
from backend.cli.ports import listen, url_of
from backend.cli.schema import bring_to_head
from backend.cli.terminal import CommandError
from backend.core.logging import configure_logging
from backend.server.bounds import Bounds
from backend.server.config import Server, bounds_of, make_config

# Longer than a statement may run, shorter than the 30 seconds of most orchestrators.
STOP_PATIENCE = 20


def run(host: str, port: int, workers: int) -> None:
    settings, *_ = configuration.load()
    configure_logging(settings)
    if workers > 1 and settings.limit_storage == "memory":
        if settings.rate_limit_storage == "memory":
            raise CommandError(
                "RATE_LIMIT_STORAGE=memory is for one worker, because each would count for itself. "
                "Use postgres or redis, or leave out --workers."
            )
        # Here the environment is how the workers, and backend.main, are told.
        os.environ["RATE_LIMIT_STORAGE"] = "postgres"
    with ExitStack() as stack:
        sockets = [stack.enter_context(each) for each in listen(host, port)]
        if settings.database_url is None:
            place = stack.enter_context(reachable_database(settings))
            bring_to_head(place.url)
            os.environ["DATABASE_URL"] = place.url
        structlog.get_logger().info("serving", url=url_of(sockets[0]), workers=workers)
        _serve(sockets, workers, settings.keep_alive, bounds_of(settings))


def _serve(sockets: list[socket.socket], workers: int, keep_alive: int, bounds: Bounds) -> None:
    config = make_config(
        "backend.main:app",
        patience=STOP_PATIENCE,
        bounds=bounds,
        keep_alive=keep_alive,
        workers=workers,
    )
    if workers == 1:
        Server(config).run(sockets)
        return
    supervisor = Multiprocess(config, sockets)
    supervisor.run()
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        sys.exit(1)
