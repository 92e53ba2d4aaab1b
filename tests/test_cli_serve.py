"""The command `backend serve`."""

import http.client
import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import databases
from tests.commands import ROOT, Running, data_dir, eventually, fetch, postmaster, refusal, running
from tests.processes import worker_pids


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    with data_dir(tmp_path) as folder:
        yield folder


def is_ready(serve: Running) -> bool:
    return fetch(serve.url, "/health/ready")[0] == 200


def test_stops_at_ctrl_c_even_twice(own_database_url: str, tmp_path: Path) -> None:
    with running("serve", "--port", "0", folder=tmp_path, DATABASE_URL=own_database_url) as serve:
        eventually(lambda: is_ready(serve))
        for _ in range(2):
            serve.kill(signal.SIGINT)
            time.sleep(0.02)
        assert serve.wait() == 0


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_logs_one_line_for_each_thing(own_database_url: str, tmp_path: Path, workers: int) -> None:
    options = ("--port", "0", "--workers", str(workers))
    settings: dict[str, Any] = {"DATABASE_URL": own_database_url, "LOG_FORMAT": "json"}
    with running("serve", *options, folder=tmp_path, **settings) as serve:
        eventually(lambda: is_ready(serve))
        assert fetch(serve.url, "/api/v1/articles?q=private")[0] == 200
        serve.kill(signal.SIGTERM)
        assert serve.wait() == 0
    lines = serve.output.splitlines()
    assert all(line.startswith("{") for line in lines)
    assert len([line for line in lines if "/health/ready" in line]) <= workers
    assert len([line for line in lines if "/articles" in line]) == 1
    assert "private" not in serve.output


@pytest.mark.parametrize(
    "sent", [b"NONSENSE / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nA B: 1\r\n\r\n"]
)
def test_what_is_no_http_is_refused_like_anything_else(
    own_database_url: str, tmp_path: Path, sent: bytes
) -> None:
    settings: dict[str, Any] = {
        "DATABASE_URL": own_database_url,
        "ENVIRONMENT": "test",
        "LOG_FORMAT": "json",
    }
    with running("serve", "--port", "0", folder=tmp_path, **settings) as serve:
        eventually(lambda: is_ready(serve))
        port = int(serve.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.sendall(sent)
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            problem = json.loads(answer.read())
        serve.kill(signal.SIGTERM)
        assert serve.wait() == 0
    assert (answer.status, problem["status"], problem["error"]) == (400, 400, "BAD_REQUEST")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == problem["request_id"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["strict-transport-security"].startswith("max-age=")
    assert len(answer.headers.get_all("date", [])) == 1
    assert serve.output.count(problem["request_id"]) == 1


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_drains_before_it_stops(own_database_url: str, tmp_path: Path, count: int) -> None:
    settings: dict[str, Any] = {"DATABASE_URL": own_database_url, "SHUTDOWN_DELAY": "1.5"}
    options = ["--port", "0", "--workers", str(count)]
    with running("serve", *options, folder=tmp_path, **settings) as serve:
        eventually(lambda: is_ready(serve))
        eventually(lambda: serve.output.count("Application startup complete") == count)
        asked = time.monotonic()
        serve.kill(signal.SIGTERM)
        if count == 1:
            # A service manager and a parent may both pass on one signal; they count as one.
            serve.kill(signal.SIGTERM)
        eventually(lambda: fetch(serve.url, "/health/ready")[0] == 503)
        assert fetch(serve.url, "/health/ready")[1]["status"] == "draining"
        assert fetch(serve.url, "/health/live")[0] == 200
        assert serve.wait() == 0
        assert 1.4 < time.monotonic() - asked < 10


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at processes in /proc")
@pytest.mark.slow
def test_brings_a_database_and_replaces_killed_workers(tmp_path: Path, data: Path) -> None:
    with running("serve", "--port", "0", "--workers", "2", folder=tmp_path) as serve:
        eventually(lambda: is_ready(serve))
        assert postmaster(data) is not None
        before = worker_pids(serve)
        assert len(before) == 2
        os.kill(before[0], signal.SIGKILL)
        eventually(lambda: len(worker_pids(serve)) == 2 and before[0] not in worker_pids(serve))
        eventually(lambda: is_ready(serve))
        serve.kill(signal.SIGTERM)
        assert serve.wait() == 0
    assert postmaster(data) is None


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at processes in /proc")
@pytest.mark.slow
def test_keeps_a_worker_that_gets_no_processor_for_a_while(
    own_database_url: str, tmp_path: Path
) -> None:
    options = ["--port", "0", "--workers", "2"]
    with running("serve", *options, folder=tmp_path, DATABASE_URL=own_database_url) as serve:
        eventually(lambda: serve.output.count("Application startup complete") == 2)
        before = worker_pids(serve)
        os.kill(before[0], signal.SIGSTOP)
        # By default uvicorn replaces an unresponsive process after five seconds.
        time.sleep(8)
        os.kill(before[0], signal.SIGCONT)
        time.sleep(2)
        assert worker_pids(serve) == before
        serve.kill(signal.SIGTERM)
        assert serve.wait() == 0


def test_does_not_migrate_a_database_of_ones_own(
    pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    server = databases.server_url(pytestconfig)
    with (
        databases.cloned_database(server, "template0") as url,
        running("serve", "--port", "0", folder=tmp_path, DATABASE_URL=url) as serve,
    ):
        status, health = fetch(serve.url, "/health/ready")
        assert status == 503
        assert "run `backend db upgrade`" in health["checks"]["migrations"]["detail"]
        serve.kill(signal.SIGTERM)
        assert serve.wait() == 0


def test_starts_while_its_database_is_down(tmp_path: Path) -> None:
    url = f"postgresql://nobody@/nothing?host={tmp_path}"
    with running("serve", "--port", "0", folder=tmp_path, DATABASE_URL=url) as serve:
        assert fetch(serve.url, "/health/ready")[0] == 503
        serve.kill(signal.SIGTERM)
        assert serve.wait() == 0


def test_unusable_settings_are_told_once(tmp_path: Path) -> None:
    said = refusal("serve", "--workers", "2", folder=tmp_path, ENVIRONMENT="production")
    assert said.startswith("The settings are not usable:\n")
    for name in ("DATABASE_URL", "SECRET_KEY", "ALLOWED_HOSTS", "BCRYPT_COST"):
        assert said.count(f"  {name} ") == 1


@pytest.mark.slow
def test_broken_module_is_told_once(tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(ROOT / "backend", project / "backend")
    (project / "backend" / "modules" / "made_invoices").mkdir()
    (project / "backend" / "modules" / "made_invoices" / "__init__.py").touch()
    said = refusal("serve", "--workers", "2", folder=tmp_path, project=project)
    assert said == (
        "Module 'made_invoices' has no manifest.py: add one that sets `module = Module(...)`."
    )
