"""Five faults, one after the other: metrics and logs show which of them is present."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psycopg

from drills.signals import SIGNALS, Snapshot, logged, risen, snapshot, suspended_replicas
from drills.site import PASSWORD, SETTINGS, Instance, Writes, instances, sign_in
from tests.commands import Running, eventually, free_port, running
from tests.mail_servers import Postbox, mail_server
from tests.postgres_servers import PostgresServer, primary_and_standby

CLIENTS = 12
SLOW = """
CREATE FUNCTION drill_slowly() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_sleep(1.2); RETURN new; END $$;
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
        lines = []
        for fault, shown in self.shown.items():
            expected = {fault} & SIGNALS.keys()
            events = {each for each in expected if SIGNALS[each].event}
            if (shown, self.told[fault]) != (expected, events):
                lines.append(f"{fault}: metrics show {shown}, logs show {self.told[fault]}")
        return lines

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

            def call(number: int) -> None:
                for _ in range(4):
                    client.get("/articles").raise_for_status()
                    client.get("/items?limit=5").raise_for_status()
                if number < 4:
                    client.post("/items", json={"title": f"drill {number}"}).raise_for_status()

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
            "REPLICA_MAX_LAG": 1,
            "DATABASE_SLOW_STATEMENT": 1,
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

    @contextmanager
    def observing(fault: str) -> Iterator[None]:
        before = made.snapshot()
        yield
        made.use()
        after = made.snapshot()
        found.shown[fault] = risen(before, after)
        found.told[fault] = logged(before, after)

    made.use()  # connections, caches and prepared statements
    with observing("pool too small"):
        pass
    made.restart(DATABASE_POOL_SIZE=40)
    made.use()
    with observing("no fault"):
        pass
    with observing("slow statement"):
        _execute(made.primary, SLOW)
    _execute(made.primary, FAST)
    with observing("lagging replica"):
        made.standby.execute("SELECT pg_wal_replay_pause()", "trellis")
        _execute(made.primary, "UPDATE items SET title = title")
        eventually(lambda: suspended_replicas(snapshot(made.ports, ())))
    made.standby.execute("SELECT pg_wal_replay_resume()", "trellis")
    made.settle()
    with observing("dead mail server"):
        made.mail.stop()
    made.mail.start()
    # The last one, because the job is repeated.
    with observing("failing job"):
        _execute(made.primary, BROKEN_JOB)
    return found


def _execute(server: PostgresServer, statements: str) -> None:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(statements.encode())
