"""How uvicorn is set up."""

import resource
from functools import partial
from typing import Any, cast

import structlog
import uvicorn

from backend.core.settings import Settings
from backend.server.bounds import Bounds
from backend.server.protocol import Protocol

# Of a process beside its connections: the pools, files, and what libraries open.
OTHER_FILES = 200


class Config(uvicorn.Config):
    """uvicorn's, and for how many seconds the server answers on after SIGTERM before it stops."""

    def __init__(self, *arguments: Any, drain_seconds: float = 0, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.drain_seconds = drain_seconds


def make_config(
    app: Any, *, patience: int, bounds: Bounds | None = None, keep_alive: int = 75, **options: Any
) -> Config:
    protocol = partial(Protocol, bounds=bounds or Bounds())
    return Config(
        app,
        # uvicorn only calls it.
        http=cast("type[Protocol]", protocol),
        # Set up by backend.core.logging; the application writes a line per request itself.
        log_config=None,
        access_log=False,
        server_header=False,
        # Whose X-Forwarded-For is believed is the application's decision.
        proxy_headers=False,
        ws="none",
        # Longer than load balancers keep connections, or they reuse one that is just closing.
        timeout_keep_alive=keep_alive,
        timeout_graceful_shutdown=patience,
        **options,
    )


def bounds_of(settings: Settings) -> Bounds:
    """The bounds of these settings, and of the files that this process may open."""
    wanted = Bounds(connections=settings.max_connections)
    others = wanted.spare + OTHER_FILES + 2 * settings.database_pool_size
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted.connections + others
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    # Inherited by the workers.
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < needed:
        connections = max(allowed - others, 10)
        structlog.get_logger().warning(
            "few_open_files",
            connections=connections,
            remedy=f"Raise the limit (ulimit -n) to {needed}, or lower MAX_CONNECTIONS.",
        )
        return Bounds(connections=connections)
    return wanted
