"""Five faults, one after the other: metrics and logs show which of them is present."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import psycopg

from drills.signals import (
    SIGNALS,
    SLOW_SECONDS,
    Snapshot,
    logged,
    risen,
    snapshot,
    suspended_replicas,
)
from drills.site import PASSWORD, SETTINGS, Instance, Writes, instances, sign_in
from tests.commands import Running, eventually, free_port, running
from tests.mail_servers import Postbox, mail_server
from tests.postgres_servers import PostgresServer, primary_and_standby

CLIENTS = 12
SLOW = """
CREATE FUNCTION drill_slowly() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_sleep(3); RETURN new; END $$;
CREATE TRIGGER drill BEFORE INSERT ON items FOR EACH ROW EXECUTE FUNCTION drill_slowly()
"""
FAST = "DROP FUNCTION drill_slowly CASCADE"
# Arguments that the job does not know, as after a defect in a release.
BROKEN_JOB = """
SELECT procrastinate_defer_jobs_v1(ARRAY[ROW('default', 'files.remove', 0, NULL, NULL,
    '{"unknown": 1}', NULL)::procrastinate_job_to_defer_v1])
"""


@dataclass
class Diagnosis:
    """The faults that metrics and logs showed, by the fault that was present."""

    shown: dict[str, set[str]] = field(default_factory=dict)
    told: dict[str, set[str]] = field(default_factory=dict)

    def wrong(self) -> list[str]:
        """Return a line for each fault that was not shown, or not alone."""
        return [
            f"{fault}: metrics show {shown}, logs show {self.told[fault]}"
            for fault, shown in self.shown.items()
            if not self.is_right(fault)
        ]

    def is_right(self, fault: str) -> bool:
        """Return whether the fault was shown, and no other one."""
        expected = {fault} & SIGNALS.keys()
        events = {each for each in expected if SIGNALS[each].event}
        return (self.shown[fault], self.told[fault]) == (expected, events)

    def failed(self) -> int:
        return len(self.wrong())

    def lines(self) -> list[str]:
        return [
            f"{fault:<20}metrics: {', '.join(sorted(shown)) or '-'}; "
            f"logs: {', '.join(sorted(self.told[fault])) or '-'}"
            for fault, shown in self.shown.items()
        ]


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
        ready.wait()

    def stop(self) -> None:
        if self._stop is not None:
            self._stop()
            self._stop = None
            self._thread.join()


@dataclass
class Site:
    """An instance, a worker, a replica and a mail server."""

    instance: Instance
    worker: Running
    mail: MailServer
    primary: PostgresServer
    standby: PostgresServer
    ports: tuple[int, int]
    token: str = ""

    def snapshot(self) -> Snapshot:
        # The processes write their metrics once a second.
        time.sleep(1.2)
        assert self.instance.process is not None
        return snapshot(self.ports, [self.instance.process.output, self.worker.output])

    def use(self) -> None:
        """Send the same requests each time, from several clients, and let a mail be sent."""
        headers = {"Authorization": f"Bearer {self.token}"}
        with httpx.Client(
            base_url=f"{self.instance.url}/api/v1", headers=headers, timeout=60
        ) as client:

            def expect(response: httpx.Response) -> None:
                # A pool that is too small may refuse a request.
                if response.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
                    response.raise_for_status()

            def call(number: int) -> None:
                for _ in range(4):
                    expect(client.get("/articles"))
                    expect(client.get("/items?limit=5"))
                if number < 4:
                    expect(client.post("/items", json={"title": f"drill {number}"}))

            with ThreadPoolExecutor(CLIENTS) as callers:
                list(callers.map(call, range(CLIENTS)))
            name = os.urandom(4).hex()
            client.get("/nowhere")
            body = {"email": f"fault-{name}@example.com", "password": PASSWORD}
            client.post("/auth/register", json=body).raise_for_status()

    def restart(self, **settings: object) -> None:
        self.instance.stop()
        self.instance.settings |= settings
        self.instance.start()
        self.settle()

    def settle(self) -> None:
        """Wait until the replica is used."""
        eventually(lambda: not suspended_replicas(snapshot(self.ports, ())))


@contextmanager
def site(folder: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        primary, standby = stack.enter_context(primary_and_standby())
        mail = MailServer()
        mail.start()
        stack.callback(mail.stop)
        ports = free_port(), free_port()
        options = {
            "LOG_LEVEL": "info",
            "LOG_FORMAT": "json",
            "METRICS_PORT": ports[0],
            "DATABASE_REPLICA_URL": standby.url(),
            "REPLICA_MAX_LAG": 5,
            "DATABASE_SLOW_STATEMENT": SLOW_SECONDS,
            # The first fault.
            "DATABASE_POOL_SIZE": 2,
            "CACHE_STORAGE": "memory",
        }
        (instance,) = stack.enter_context(instances(folder, primary.url(), 1, workers=1, **options))
        worker = stack.enter_context(_worker(folder, primary, mail, ports[1]))
        made = Site(instance, worker, mail, primary, standby, ports, sign_in(instance.url))
        made.settle()
        yield made


@contextmanager
def _worker(
    folder: Path, primary: PostgresServer, mail: MailServer, port: int
) -> Iterator[Running]:
    # In other environments, a line about a failed job has a traceback.
    options: dict[str, Any] = {
        **SETTINGS,
        "ENVIRONMENT": "production",
        "DATABASE_URL": primary.url(),
        "SMTP_URL": f"smtp://127.0.0.1:{mail.port}",
        "EMAIL_FROM": "no-reply@example.com",
        "FRONTEND_URL": "https://app.example.com",
        "ALLOWED_HOSTS": "127.0.0.1",
        "RATE_LIMIT_ENABLED": "true",
        "BCRYPT_COST": 12,
        "LOG_LEVEL": "info",
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


def faults(folder: Path) -> tuple[Diagnosis, Writes]:
    with site(folder) as made:
        return diagnose(made), Writes(0, 0)


def diagnose(made: Site) -> Diagnosis:
    """Cause each fault, and compare the signals of before with those of the same use."""
    found = Diagnosis()

    def observe(fault: str, present: AbstractContextManager[object]) -> None:
        before = made.snapshot()
        with present:
            made.use()
            after = made.snapshot()
        found.shown[fault] = risen(before, after)
        found.told[fault] = logged(before, after)

    def observe_all(faults: Mapping[str, Cause]) -> None:
        for fault, cause in faults.items():
            observe(fault, cause(made))
            if not found.is_right(fault):
                # Other programs of the machine may have been a fault for a moment.
                observe(fault, cause(made))

    made.use()  # connections, caches and prepared statements
    observe_all({"pool too small": nullcontext})
    made.restart(DATABASE_POOL_SIZE=40)
    made.use()
    observe_all(CAUSES)
    return found


@contextmanager
def _slow_statement(made: Site) -> Iterator[None]:
    _execute(made.primary, SLOW)
    try:
        yield
    finally:
        _execute(made.primary, FAST)


@contextmanager
def _lagging_replica(made: Site) -> Iterator[None]:
    made.standby.execute("SELECT pg_wal_replay_pause()", "trellis")
    _execute(made.primary, "UPDATE items SET title = title")
    eventually(lambda: suspended_replicas(snapshot(made.ports, ())))
    yield
    made.standby.execute("SELECT pg_wal_replay_resume()", "trellis")
    made.settle()


@contextmanager
def _dead_mail_server(made: Site) -> Iterator[None]:
    made.mail.stop()
    yield
    made.mail.start()


@contextmanager
def _failing_job(made: Site) -> Iterator[None]:
    _execute(made.primary, BROKEN_JOB)
    yield


Cause = Callable[[Site], AbstractContextManager[object]]
CAUSES: dict[str, Cause] = {
    "no fault": nullcontext,
    "slow statement": _slow_statement,
    "lagging replica": _lagging_replica,
    "dead mail server": _dead_mail_server,
    # The last one, because the job is repeated.
    "failing job": _failing_job,
}


def _execute(server: PostgresServer, statements: str) -> None:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(statements.encode())
