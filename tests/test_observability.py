"""Metrics of whole processes; alert rules and dashboards on a real Prometheus; injected faults."""

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from drills.faults import Diagnosis, diagnose, site
from drills.signals import SIGNALS, snapshot
from tests.commands import ROOT, eventually, free_port, refusal
from tests.processes import served
from tests.prometheus_servers import program, prometheus, query

pytestmark = pytest.mark.slow

REQUESTS = "trellis_http_request_duration_seconds_count"
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/trellis.json").read_text())
PROMETHEUS = ROOT / "deploy" / "prometheus"


def test_counters_of_all_processes_outlive_one_and_states_do_not(
    own_database_url: str, tmp_path: Path
) -> None:
    port = free_port()
    settings = {"METRICS_PORT": port, "TMPDIR": tmp_path}
    with served(own_database_url, workers=2, **settings) as server:
        assert list(tmp_path.glob("trellis-metrics-*"))

        def counted(name: str, **labels: str) -> float:
            return snapshot([port], ()).sum(name, **labels)

        def use(times: int) -> None:
            for _ in range(times):
                httpx.get(f"{server.url}/api/v1/articles").raise_for_status()

        # Each request has its own connection, so both processes get some of them.
        use(30)
        route = {"route": "/api/v1/articles", "status": "200"}
        eventually(lambda: counted(REQUESTS, **route) == 30)
        size = counted("trellis_database_pool_size", pool="reads")
        assert size == 20
        killed = server.kill_worker()
        eventually(lambda: killed not in server.worker_pids() and server.has_all_workers())
        eventually(lambda: counted("trellis_database_pool_size", pool="reads") == size)
        use(30)
        eventually(lambda: counted(REQUESTS, **route) == 60)
        answer = httpx.get(f"http://127.0.0.1:{port}/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=")
        assert httpx.get(f"http://127.0.0.1:{port}/other").status_code == 404
        # A client that sends nothing delays no other one.
        with socket.create_connection(("127.0.0.1", port)):
            assert counted(REQUESTS, **route) == 60
    assert not list(tmp_path.glob("trellis-metrics-*"))


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = refusal("serve", "--port", "0", folder=tmp_path, METRICS_PORT=port)
        assert said == (
            f"METRICS_PORT: 127.0.0.1:{port} cannot be used (Address already in use); "
            "choose another port."
        )
        said = refusal("worker", folder=tmp_path, WORKER_METRICS_PORT=port)
        assert said.startswith(f"WORKER_METRICS_PORT: 127.0.0.1:{port} cannot be used")
    said = refusal("serve", "--port", str(port), folder=tmp_path, METRICS_PORT=port)
    assert said == f"METRICS_PORT and --port are both {port}: choose another."


def test_alert_rules_and_the_configuration_are_valid() -> None:
    for arguments in (
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
    ):
        done = subprocess.run(
            [program("promtool"), *arguments],
            cwd=PROMETHEUS,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


class Observed(NamedTuple):
    diagnosis: Diagnosis
    prometheus: str | None


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """The faults of the drill, and a Prometheus that has watched them if it is installed."""
    folder = tmp_path_factory.mktemp("site")
    with ExitStack() as stack:
        made = stack.enter_context(site(folder))
        url = None
        if shutil.which("prometheus"):
            ports = dict(zip(("trellis", "trellis-worker"), made.ports, strict=True))
            url = stack.enter_context(prometheus(tmp_path_factory.mktemp("prometheus"), ports))
        yield Observed(diagnose(made), url)


def test_metrics_and_logs_show_the_fault_that_is_present_and_no_other(observed: Observed) -> None:
    assert observed.diagnosis.shown.keys() == {"no fault", *SIGNALS}
    assert observed.diagnosis.wrong() == []


def test_each_query_of_the_dashboard_has_data(observed: Observed) -> None:
    program("prometheus")
    assert observed.prometheus is not None
    targets = [
        (panel["title"], target["expr"].replace("$__rate_interval", "2m"))
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", ())
    ]
    assert len(targets) > 25
    empty = [(title, asked) for title, asked in targets if not query(observed.prometheus, asked)]
    assert not empty
