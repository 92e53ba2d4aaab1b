"""The HTTP server of metrics: `GET /metrics` on a port of its own, in a thread."""

import socketserver
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from socket import AF_INET6
from threading import Thread

import structlog
from prometheus_client import CollectorRegistry, values
from prometheus_client.exposition import MetricsHandler
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

log = structlog.get_logger()

# Of a client that sends or reads nothing.
CLIENT_SECONDS = 10.0


def registry_of(folder: Path) -> CollectorRegistry:
    """Return a registry of the values that processes keep in the files of this folder."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]  # as above
    return registry


def keep_values_in_files(process: int) -> None:
    """Keep the values of all later metrics of this process in files named after a number.

    The folder is that of the environment variable PROMETHEUS_MULTIPROC_DIR. A process that
    replaces a dead one has its number and continues its counters, so the number of files is bound.
    """
    values.ValueClass = values.MultiProcessValue(process_identifier=lambda: process)  # type: ignore[no-untyped-call]  # it has no annotations


def forget_state(folder: Path, process: int) -> None:
    """Remove the values that are those of a living process only, such as requests under way."""
    mark_process_dead(process, path=str(folder))  # type: ignore[no-untyped-call]  # as above


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self) -> None:
        # The inherited method looks up the name of the address, which can take seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, *_: object) -> None:
        # The inherited method prints a traceback, such as of a client that has left.
        log.debug("scrape_failed", error=type(sys.exception()).__name__)


class _IPv6Server(_Server):
    address_family = AF_INET6


class _Handler(MetricsHandler):
    timeout = CLIENT_SECONDS

    def do_GET(self) -> None:  # noqa: N802  # the library's name
        if self.path.partition("?")[0].rstrip("/") == "/metrics":
            super().do_GET()
        else:
            self.send_error(404, explain="The metrics are at /metrics.")


def metrics_server(registry: CollectorRegistry, host: str, port: int) -> ThreadingHTTPServer:
    """Return a server of these metrics that listens; raise `OSError` if the port is unusable."""
    kind = _IPv6Server if ":" in host else _Server
    return kind((host, port), _Handler.factory(registry))


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    """Run the server in a thread during the block, and close it."""
    thread = Thread(target=server.serve_forever, name="metrics", daemon=True)
    with server:
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
