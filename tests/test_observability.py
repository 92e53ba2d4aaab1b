"""Metrics of whole processes; alert rules and dashboards on a real Prometheus; injected faults."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from backend.telemetry.metrics import STATEMENT_SECONDS
from drills.fault_site import site
from drills.faults import Diagnosis, diagnose
from drills.signals import DASHBOARD, SIGNALS, SLOW_SECONDS, expressions
from tests.commands import ROOT, eventually, free_port, refusal
from tests.processes import served
from tests.prometheus_servers import program, query

pytestmark = pytest.mark.slow

REQUESTS = "trellis_http_request_duration_seconds_count"
PROMETHEUS = ROOT / "deploy" / "prometheus"


def scraped(port: int) -> list[Metric]:
    text = httpx.get(f"http://127.0.0.1:{port}/metrics").raise_for_status().text
    return list(text_string_to_metric_families(text))


def test_counters_of_all_processes_outlive_one_and_states_do_not(
    own_database_url: str, tmp_path: Path
) -> None:
    port = free_port()
    settings = {"METRICS_PORT": port, "TMPDIR": tmp_path}
    with served(own_database_url, workers=2, **settings) as server:
        assert list(tmp_path.glob("trellis-metrics-*"))

        def counted(name: str, **labels: str) -> float:
            return sum(
                sample.value
                for family in scraped(port)
                for sample in family.samples
                if sample.name == name and labels.items() <= sample.labels.items()
            )

        def use(times: int) -> None:
            for _ in range(times):
                httpx.get(f"{server.url}/api/v1/articles").raise_for_status()

        for pid in server.worker_pids():
            with server.others_frozen(pid):
                use(15)
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
    prometheus: str


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """The faults of the drill, and the Prometheus that has watched them."""
    program("prometheus")
    with site(tmp_path_factory.mktemp("site")) as made:
        yield Observed(diagnose(made), made.prometheus)


def test_dashboard_logs_and_traces_show_the_fault_that_is_present_and_no_other(
    observed: Observed,
) -> None:
    assert observed.diagnosis.seen.keys() == {"no fault", *SIGNALS}
    assert observed.diagnosis.wrong() == []


def test_the_log_line_of_a_fault_belongs_to_a_trace_that_begins_with_its_request(
    observed: Observed,
) -> None:
    for fault, root in {
        "slow statement": "POST /api/v1/items",
        "pool too small": None,
        "dead mail server": "job accounts.mail_link",
        "failing job": "job files.remove",
    }.items():
        found = observed.diagnosis.observations[fault]
        (line, *_) = SIGNALS[fault].lines(found)
        names = {span.name for span in found.spans if span.trace == line["trace_id"]}
        assert names, fault
        assert root is None or root in names, fault


def test_each_query_of_the_dashboard_has_data(observed: Observed) -> None:
    titles = [panel["title"] for panel in DASHBOARD["panels"] if "targets" in panel]
    asked = [(title, each) for title in titles for each in expressions(title, "2m", 0.5)]
    assert len(asked) > 25
    assert [each for each in asked if not query(observed.prometheus, each[1])] == []


def test_the_dashboard_offers_durations_that_the_histogram_has() -> None:
    (variable,) = [each for each in DASHBOARD["templating"]["list"] if each["name"] == "slow"]
    offered = variable["query"].split(",")
    assert [each["value"] for each in variable["options"]] == offered
    assert {float(each) for each in offered} <= set(STATEMENT_SECONDS)
    assert [str(float(each)) for each in offered] == offered
    assert {str(SLOW_SECONDS), variable["current"]["value"]} <= set(offered)
