"""The endpoint of metrics, for `backend serve` and `backend worker`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from prometheus_client import CollectorRegistry

from backend.cli.terminal import CommandError
from backend.telemetry.endpoint import metrics_server, registry_of, serving


@contextmanager
def metrics_of_processes(host: str, port: int) -> Iterator[Path]:
    """Serve the metrics of all processes during the block, and yield the folder of their files."""
    with TemporaryDirectory(prefix="trellis-metrics-") as folder:
        # The client library reads it, in this process and in those that it starts.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        with metrics_endpoint(registry_of(Path(folder)), host, port, "METRICS_PORT"):
            yield Path(folder)


@contextmanager
def metrics_endpoint(
    registry: CollectorRegistry, host: str, port: int, setting: str
) -> Iterator[None]:
    """Serve these metrics during the block; `setting` is the name of the port."""
    try:
        server = metrics_server(registry, host, port)
    except OSError as error:
        raise CommandError(
            f"{setting}: {host}:{port} cannot be used ({error.strerror}); choose another port."
        ) from None
    with serving(server):
        yield
