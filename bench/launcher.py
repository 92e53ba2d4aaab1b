"""Starts the processes of this project that a run measures."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.servers import (
    ROOT,
    Server,
    application_command,
    floor_command,
    free_port,
    server_environment,
    serving,
)

APPLICATION, FLOOR = "application", "floor"
STARTING_SECONDS = 180.0


@dataclass(frozen=True)
class Launcher:
    """Starts the servers of a run, with logs in `folder`; they stop when `stack` closes."""

    stack: ExitStack
    folder: Path
    settings: dict[str, str]

    def application(
        self,
        name: str,
        checkout: Path,
        settings: Mapping[str, str] | None = None,
        *,
        processes: int = 1,
    ) -> Server:
        port = free_port()
        # With metrics, as in production; former releases ignore the setting.
        own = {"METRICS_PORT": str(free_port()), **(settings or {})}
        environment = server_environment(checkout, {**self.settings, **own})
        command = application_command(port, processes)
        return self._start(name, command, port, environment, "/health/ready")

    def floor(self) -> Server:
        port = free_port()
        environment = server_environment(ROOT, self.settings)
        return self._start(FLOOR, floor_command(port), port, environment, "/health")

    def _start(
        self, name: str, command: list[str], port: int, environment: dict[str, str], ready: str
    ) -> Server:
        started = serving(
            name,
            command,
            port=port,
            folder=self.folder / name,
            environment=environment,
            ready=ready,
            # Several workers start slowly on a busy machine.
            patience=STARTING_SECONDS,
        )
        return self.stack.enter_context(started)
