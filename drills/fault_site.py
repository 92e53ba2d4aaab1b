"""An installation with everything that watches it: dashboard queries, logs and traces."""

import asyncio
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from drills.signals import SLOW_SECONDS, Observation, json_lines
from drills.site import PASSWORD, SETTINGS, Instance, instances, sign_in
from tests.commands import Running, eventually, free_port, running
from tests.mail_servers import Postbox, mail_server
from tests.postgres_servers import PostgresServer, primary_and_standby
from tests.prometheus_servers import prometheus, query
from tests.receivers import Receiver, receiver

CLIENTS, WRITERS = 12, 4
POOL_SIZE = 40
# Metrics of a process are complete after a second, and exported spans after `SPAN_SECONDS`.
FLUSH_SECONDS, SPAN_SECONDS = 1.2, 0.2
# Jobs that have not been attempted.
NEW_JOBS = "SELECT count(*) FROM procrastinate_jobs WHERE attempts = 0"


class MailServer:
    """An SMTP server in a thread, which a drill can stop and start again."""

    def __init__(self) -> None:
        self.port = free_port()
        self._stop: Callable[[], object] | None = None
        self._thread = threading.Thread()

    def start(self) -> None:
        ready = threading.Event()

        async def serve() -> None:
            stopping = asyncio.Event()
            self._stop = partial(asyncio.get_running_loop().call_soon_threadsafe, stopping.set)
            async with mail_server(Postbox(), port=self.port):
                ready.set()
                await stopping.wait()

        self._thread = threading.Thread(target=lambda: asyncio.run(serve()))
        self._thread.start()
        assert ready.wait(10), "the mail server did not start"

    def stop(self) -> None:
        if self._stop is not None:
            self._stop()
            self._stop = None
            self._thread.join()


class Moment(NamedTuple):
    """A Unix time, and the numbers of log lines and of requests with spans until then."""

    at: float
    lines: list[int]
    requests: int


@dataclass
class Site:
    """An instance, a worker, a replica, a mail server, a Prometheus and a receiver of traces."""

    instance: Instance
    worker: Running
    mail: MailServer
    primary: PostgresServer
    standby: PostgresServer
    prometheus: str
    traces: Receiver
    writer: str
    reader: str

    def moment(self) -> Moment:
        """Wait until all signals of the past have arrived."""
        time.sleep(FLUSH_SECONDS)
        at = time.time()
        eventually(lambda: self._scraped_at() > at)
        return Moment(at, [len(each) for each in self._logs()], len(self.traces.bodies))

    def between(self, before: Moment, after: Moment) -> Observation:
        logs = zip(before.lines, after.lines, self._logs(), strict=True)
        lines = [line for start, end, log in logs for line in log[start:end]]
        spans = self.traces.spans(before.requests, after.requests)
        return Observation(self.prometheus, before.at, time.time(), lines, spans)

    def _scraped_at(self) -> float:
        """Return the Unix time from which on all processes have been scraped."""
        found = query(self.prometheus, "min(timestamp(up))")
        return float(found[0]["value"][1]) if found else 0

    def _logs(self) -> list[list[dict[str, Any]]]:
        assert self.instance.process is not None
        return [json_lines(each.output) for each in (self.instance.process, self.worker)]

    def use(self) -> None:
        """Send the same requests each time, from several clients, and let a mail be sent.

        Those of `reader` use the replica: a session that has written reads the primary.
        """
        with httpx.Client(base_url=f"{self.instance.url}/api/v1", timeout=60) as client:

            def expect(response: httpx.Response) -> None:
                # A pool that is too small may refuse a request.
                if response.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
                    response.raise_for_status()

            def call(number: int) -> None:
                token = self.writer if number < WRITERS else self.reader
                headers = {"Authorization": f"Bearer {token}"}
                for _ in range(6):
                    expect(client.get("/articles", headers=headers))
                    expect(client.get("/items?limit=5", headers=headers))
                if number < WRITERS:
                    body = {"title": f"drill {number}"}
                    expect(client.post("/items", json=body, headers=headers))

            with ThreadPoolExecutor(CLIENTS) as callers:
                list(callers.map(call, range(CLIENTS)))
            name = os.urandom(4).hex()
            client.get("/nowhere")
            body = {"email": f"fault-{name}@example.com", "password": PASSWORD}
            client.post("/auth/register", json=body).raise_for_status()
        eventually(lambda: self.primary.execute(NEW_JOBS, "trellis") == 0)

    def restart(self, **settings: object) -> None:
        self.instance.stop()
        self.instance.settings |= settings
        self.instance.start()
        self.settle()

    def settle(self) -> None:
        """Wait until the replica is used."""
        self.moment()
        eventually(lambda: not self.is_suspended())

    def is_suspended(self) -> bool:
        """Return whether reads of the replica use the primary."""
        found = query(self.prometheus, "max(trellis_replica_suspended)")
        return not found or float(found[0]["value"][1]) == 1


@contextmanager
def site(folder: Path) -> Iterator[Site]:
    assert shutil.which("prometheus"), "prometheus is not installed: apt-get install prometheus"
    with ExitStack() as stack:
        primary, standby = stack.enter_context(primary_and_standby())
        mail = MailServer()
        mail.start()
        stack.callback(mail.stop)
        traces = stack.enter_context(receiver())
        ports = free_port(), free_port()
        exported: dict[str, Any] = {
            "LOG_LEVEL": "info",
            "LOG_FORMAT": "json",
            "OTEL_EXPORTER_OTLP_ENDPOINT": traces.url,
            "OTEL_BSP_SCHEDULE_DELAY": round(SPAN_SECONDS * 1000),
        }
        options = {
            **exported,
            "METRICS_PORT": ports[0],
            "DATABASE_REPLICA_URL": standby.url(),
            "REPLICA_MAX_LAG": 5,
            "DATABASE_SLOW_STATEMENT": SLOW_SECONDS,
            "DATABASE_POOL_SIZE": POOL_SIZE,
            "CACHE_STORAGE": "memory",
        }
        (instance,) = stack.enter_context(instances(folder, primary.url(), 1, workers=1, **options))
        worker = stack.enter_context(_worker(folder, primary, mail, ports[1], **exported))
        own = folder / "prometheus"
        own.mkdir()
        jobs = dict(zip(("trellis", "trellis-worker"), ports, strict=True))
        url = stack.enter_context(prometheus(own, jobs, interval="500ms"))
        tokens = sign_in(instance.url), sign_in(instance.url, address="192.0.2.2")
        made = Site(instance, worker, mail, primary, standby, url, traces, *tokens)
        made.settle()
        yield made


@contextmanager
def _worker(
    folder: Path, primary: PostgresServer, mail: MailServer, port: int, **exported: Any
) -> Iterator[Running]:
    # In other environments, a line about a failed job has a traceback.
    options: dict[str, Any] = {
        **SETTINGS,
        **exported,
        "ENVIRONMENT": "production",
        "DATABASE_URL": primary.url(),
        "SMTP_URL": f"smtp://127.0.0.1:{mail.port}",
        "EMAIL_FROM": "no-reply@example.com",
        "FRONTEND_URL": "https://app.example.com",
        "ALLOWED_HOSTS": "127.0.0.1",
        "RATE_LIMIT_ENABLED": "true",
        "BCRYPT_COST": 12,
        "WORKER_METRICS_PORT": port,
    }
    own = folder / "worker"
    own.mkdir()
    with running("worker", folder=own, **options) as worker:
        worker.wait_for("worker_started")
        try:
            yield worker
        finally:
            worker.kill(signal.SIGTERM)
            worker.wait()
