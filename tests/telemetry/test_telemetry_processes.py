"""Whole processes: those without receivers import no SDK, and those with one send what is left."""

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.commands import environment
from tests.processes import served
from tests.receivers import receiver

pytestmark = pytest.mark.slow

SDKS = ("opentelemetry.sdk", "opentelemetry.exporter", "google.protobuf", "requests", "sentry_sdk")
IMPORTED = """
import sys
from backend.main import app
print(*(name for name in sys.modules if name.startswith({names})))
print(*(each.cls.__name__ for each in app.user_middleware))
"""
CRASH = """
import sys
sys.argv = ["backend", "module", "list"]
from backend.cli import listing, main
def crash():
    raise RuntimeError("canary-4711")
listing.modules = crash
main()
"""


def python(code: str, folder: Path, **others: Any) -> "subprocess.CompletedProcess[str]":
    settings: dict[str, Any] = {"ENVIRONMENT": "test", "DATABASE_URL": "postgresql:///x", **others}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment(**settings),
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_receivers_no_sdk_is_imported(tmp_path: Path) -> None:
    code = IMPORTED.format(names=SDKS)
    done = python(code, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    imported, layers = done.stdout.splitlines()
    assert imported == ""
    assert "TracesMiddleware" not in layers
    with receiver() as running:
        dsn = f"{running.url.replace('//', '//key@')}/1"
        done = python(code, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=running.url, SENTRY_DSN=dsn)
    assert (done.returncode, done.stderr) == (0, "")
    imported, layers = done.stdout.splitlines()
    assert {"opentelemetry.sdk", "sentry_sdk"} <= set(imported.split())
    assert layers.split()[0] == "TracesMiddleware"


def test_each_worker_exports_its_spans_before_it_ends(own_database_url: str) -> None:
    with receiver() as collector:
        settings: dict[str, Any] = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_BSP_SCHEDULE_DELAY": 60_000,
        }
        with served(own_database_url, OTEL_SERVICE_NAME="shop", **settings) as server:
            for number, pid in enumerate(server.worker_pids(), start=1):
                # Which of them takes a connection is chance otherwise.
                with server.others_frozen(pid):
                    for _ in range(number):
                        httpx.get(f"{server.url}/errors/NOT_FOUND").raise_for_status()
            assert collector.spans() == []
        spans = [each for each in collector.spans() if each.name == "GET /errors/{code}"]
        assert {each.resource["service.name"] for each in spans} == {"shop"}
        processes = Counter(each.resource["service.instance.id"] for each in spans)
        assert sorted(processes.values()) == [1, 2]


def test_a_failed_command_is_reported(tmp_path: Path) -> None:
    with receiver() as running:
        dsn = f"{running.url.replace('//', '//key@')}/1"
        done = python(CRASH, tmp_path, SENTRY_DSN=dsn)
        assert done.returncode == 1
        assert "RuntimeError: canary-4711" in done.stderr
        (event,) = running.events()
    assert event["transaction"] == "backend module list"
    assert event["exception"]["values"][0]["type"] == "RuntimeError"
    assert "value" not in event["exception"]["values"][0]
