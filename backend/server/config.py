"""The configuration of uvicorn."""

import resource
from functools import partial
from typing import Any, cast

import structlog
import uvicorn

from backend.core.settings import Settings
from backend.server.bounds import Bounds
from backend.server.protocol import Protocol

# Open files of a process beside its connections: pools, logs and those of libraries.
OTHER_FILES = 200


class Config(uvicorn.Config):
    """uvicorn's configuration, and the seconds between SIGTERM and the stop of the server."""

    def __init__(self, *arguments: Any, drain_seconds: float = 0, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.drain_seconds = drain_seconds


def make_config(
    app: Any, *, patience: int, bounds: Bounds | None = None, keep_alive: int = 75, **options: Any
) -> Config:
    protocol = partial(Protocol, bounds=bounds or Bounds())
    return Config(
        app,
        # uvicorn calls it and nothing else.
        http=cast("type[Protocol]", protocol),
        # backend.core.logging configures logs; the application logs each request itself.
        log_config=None,
        access_log=False,
        server_header=False,
        # The application decides which proxies it trusts.
        proxy_headers=False,
        ws="none",
        # Longer than load balancers keep connections; otherwise they reuse closing ones.
        timeout_keep_alive=keep_alive,
        timeout_graceful_shutdown=patience,
        **options,
    )


def bounds_of(settings: Settings) -> Bounds:
    """Return the bounds of these settings, reduced to the files that the process may open."""
    wanted = Bounds(connections=settings.max_connections)
    others = wanted.spare + OTHER_FILES + 2 * settings.database_pool_size
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted.connections + others
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    # The workers inherit the limit.
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
