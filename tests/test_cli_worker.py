"""The command `backend worker`."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command

from backend.db.schema.migrations import alembic_config
from backend.dev import embedded_host
from backend.dev.embedded_server import data_folder, embedded_server, server_url
from backend.worker.supervisor import DATABASE, SCHEMA
from tests import databases
from tests.commands import ROOT, Running, data_dir, eventually, postmaster, refusal, running

_ENQUEUE = (
    "SELECT procrastinate_defer_jobs_v1(ARRAY[ROW('default', 'jobs.clean', 0, NULL, NULL, '{}',"
    " NULL)::procrastinate_job_to_defer_v1])"
)


def enqueue(url: str) -> int:
    """Enqueue a job that exists in every release, and return its id."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(_ENQUEUE).fetchone()
        assert row is not None
        return int(row[0][0])


def events_of(worker: Running, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in worker.output.splitlines()]
    return [line for line in lines if line["event"] == event]


def did(worker: Running, job_id: int) -> bool:
    """Return whether the job has run, and assert that it has not run twice."""
    found = [line for line in events_of(worker, "job_done") if line["job_id"] == job_id]
    assert len(found) <= 1
    return bool(found)


def has_waited(worker: Running, times: int) -> bool:
    return len(events_of(worker, "worker_waits")) == times


def is_empty(url: str) -> bool:
    with psycopg.connect(url) as connection:
        return not connection.execute("SELECT 1 FROM procrastinate_jobs").fetchall()


def worker_on(url: str, folder: Path, **options: Any) -> Any:
    return running("worker", folder=folder, DATABASE_URL=url, LOG_FORMAT="json", **options)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_runs_jobs_until_it_is_stopped(
    own_database_url: str, tmp_path: Path, number: signal.Signals
) -> None:
    with worker_on(own_database_url, tmp_path) as worker:
        worker.wait_for("worker_started")
        job_id = enqueue(own_database_url)
        eventually(lambda: did(worker, job_id))
        for _ in range(2):
            worker.kill(number, group=True)
        assert worker.wait() == 0
    (done,) = [line for line in events_of(worker, "job_done") if line["job_id"] == job_id]
    assert (done["job"], done["attempt"], done["level"]) == ("jobs.clean", 1, "info")
    # One line for each event, and none from the libraries.
    events = {line["event"] for line in map(json.loads, worker.output.splitlines())}
    assert events <= {"worker_started", "job_done", "worker_stopped", "audit_sealed"}
    with psycopg.connect(own_database_url) as connection:
        left = connection.execute("SELECT id FROM procrastinate_workers").fetchall()
    assert left == []


@pytest.fixture
def folder() -> Iterator[Path]:
    """The data folder of a database server that the test starts and stops."""
    made = Path(tempfile.mkdtemp(prefix="trellis-worker-"))
    yield made
    for each in {made, data_folder(made)}:
        shutil.rmtree(each)


def migrate(url: str) -> None:
    with alembic_config(url) as config:
        command.upgrade(config, "head")


@pytest.mark.slow
def test_a_database_may_come_late_and_go_and_come_again(folder: Path, tmp_path: Path) -> None:
    with embedded_server(folder, fast=True) as server:
        url = server.url
        migrate(url)
    assert url == server_url(folder, "app")
    with worker_on(url, tmp_path) as worker:
        worker.wait_for("worker_waits")
        ids = []
        for outage in range(1, 3):
            with embedded_server(folder, fast=True):
                ids.append(enqueue(url))
                eventually(partial(did, worker, ids[-1]))
            eventually(partial(has_waited, worker, 1 + outage))
        with embedded_server(folder, fast=True):
            ids.append(enqueue(url))
            eventually(partial(did, worker, ids[-1]))
            # A job that was done when the server stopped does not run again.
            eventually(partial(is_empty, url))
            worker.kill(signal.SIGTERM)
            assert worker.wait() == 0
    assert all(did(worker, job_id) for job_id in ids)
    assert [line["reason"] for line in events_of(worker, "worker_waits")] == [DATABASE] * 3
    assert len(events_of(worker, "worker_started")) == 3


@pytest.mark.slow
def test_waits_for_migrations_and_says_so_once(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    server = databases.server_url(pytestconfig)
    with (
        databases.cloned_database(server, "template0") as url,
        worker_on(url, tmp_path) as worker,
    ):
        worker.wait_for("worker_waits")
        migrate(url)
        job_id = enqueue(url)
        eventually(lambda: did(worker, job_id))
        worker.kill(signal.SIGTERM)
        assert worker.wait() == 0
    assert [line["reason"] for line in events_of(worker, "worker_waits")] == [SCHEMA]


def test_stops_while_it_waits(tmp_path: Path) -> None:
    with worker_on(f"postgresql://nobody@/nothing?host={tmp_path}", tmp_path) as worker:
        worker.wait_for("worker_waits")
        worker.kill(signal.SIGTERM)
        assert worker.wait() == 0


@pytest.mark.slow
def test_stops_while_the_database_does_not_answer(folder: Path, tmp_path: Path) -> None:
    with embedded_server(folder, fast=True) as server:
        migrate(server.url)
        with worker_on(server.url, tmp_path) as worker:
            worker.wait_for("worker_started")
            with frozen(server.folder / "data"):
                begun = time.monotonic()
                worker.kill(signal.SIGTERM)
                # A job whose statement is still running is abandoned.
                code = worker.wait()
                assert code == len(events_of(worker, "worker_gave_up"))
                # Docker and Kubernetes wait for half a minute.
                assert time.monotonic() - begun < 30


@contextmanager
def frozen(data: Path) -> Iterator[None]:
    """Freeze the database server of this folder, with all of its processes."""
    postmaster = embedded_host.recorded_pid(data)
    assert postmaster is not None
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True)
    rows = [tuple(map(int, line.split())) for line in listed.stdout.splitlines()]
    pids = [postmaster, *(pid for pid, parent in rows if parent == postmaster)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.slow
def test_what_will_not_stop_is_left_behind(own_database_url: str, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(ROOT / "backend", project / "backend")
    jobs = project / "backend" / "modules" / "jobs" / "jobs.py"
    jobs.write_text(STUBBORN)
    for file, usual, short in (
        ("worker/job_execution.py", "patience: float = 20", "patience: float = 0.1"),
        ("cli/worker.py", "LAST_SECONDS = 8", "LAST_SECONDS = 1"),
    ):
        path = project / "backend" / file
        assert usual in path.read_text()
        path.write_text(path.read_text().replace(usual, short))
    enqueue(own_database_url)
    with worker_on(own_database_url, tmp_path, project=project) as worker:
        worker.wait_for("begun")
        worker.kill(signal.SIGTERM)
        assert worker.wait() == 1
        assert events_of(worker, "worker_gave_up")
    with psycopg.connect(own_database_url) as connection:
        # The job is left like that of a killed worker; another worker requeues it
        # when that worker's heartbeats are missing.
        left = (
            "SELECT count(*) FROM procrastinate_jobs AS job JOIN procrastinate_workers AS worker"
            " ON job.worker_id = worker.id WHERE status = 'doing' AND task_name = 'jobs.clean'"
        )
        assert connection.execute(left).fetchone() == (1,)


@pytest.mark.slow
def test_a_log_that_nobody_reads_holds_up_no_end() -> None:
    with subprocess.Popen([sys.executable, "-c", TALKATIVE], stdout=subprocess.PIPE) as worker:
        assert worker.wait(60) == -signal.SIGALRM


TALKATIVE = """
import signal
import structlog
from backend.cli.worker import _give_up
from backend.core.logging import configure_logging
from backend.core.settings import Settings

configure_logging(Settings(_env_file=None, environment="test", log_format="json"))
signal.signal(signal.SIGALRM, _give_up)
signal.setitimer(signal.ITIMER_REAL, 1)
while True:
    structlog.get_logger().info("x" * 1000)
"""

STUBBORN = """
import asyncio
import structlog
from backend.core.jobs import Job

async def run(context):
    structlog.get_logger().info("begun")
    while True:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            pass

CLEAN = Job("jobs.clean", run)
"""


@pytest.mark.slow
def test_brings_a_database_and_shares_it(tmp_path: Path) -> None:
    with data_dir(tmp_path) as data:
        with running("worker", folder=tmp_path) as first:
            first.wait_for("worker_started")
            server = postmaster(data)
            assert server is not None
            with running("worker", folder=tmp_path) as second:
                second.wait_for("worker_started")
                first.kill(signal.SIGTERM)
                assert first.wait() == 0
                assert postmaster(data) == server
                second.kill(signal.SIGTERM)
                assert second.wait() == 0
        assert postmaster(data) is None


def test_unusable_settings_are_told_once(tmp_path: Path) -> None:
    said = refusal("worker", folder=tmp_path, ENVIRONMENT="production")
    assert said.startswith("The settings are not usable:\n")
    for name in ("DATABASE_URL", "SECRET_KEY"):
        assert said.count(f"  {name} ") == 1


@pytest.mark.slow
def test_a_broken_module_is_told_once(tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(ROOT / "backend", project / "backend")
    manifest = project / "backend" / "modules" / "jobs" / "jobs.py"
    manifest.write_text(manifest.read_text().replace("17 3 * * *", "at night"))
    url = f"postgresql://nobody@/nothing?host={tmp_path}"
    said = refusal("worker", folder=tmp_path, project=project, DATABASE_URL=url)
    assert said.startswith("Module 'jobs', job 'jobs.clean': 'at night' is no time for cron;")


@pytest.mark.slow
def test_the_api_does_not_carry_what_only_workers_need(tmp_path: Path) -> None:
    program = (
        "import sys; import backend.main; "
        "print(sorted({'croniter', 'procrastinate', 'psycopg_pool'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "DATABASE_URL": "postgresql://nowhere/app"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
