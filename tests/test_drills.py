"""Short versions of the drills of `make drills`; they assert counts, not times."""

import os
from pathlib import Path

import pytest

from drills.failover import failover, replica_loss
from drills.migrations import migrations
from drills.overload import overload
from drills.redis import redis_loss
from drills.rolling import rolling
from tests.nginx_servers import PROGRAM

pytestmark = pytest.mark.slow


def requires_nginx() -> None:
    if PROGRAM is None:
        assert not os.environ.get("CI"), "nginx is not installed"
        pytest.skip("nginx is not installed")


@pytest.mark.parametrize("workers", [1, 2])
def test_no_request_fails_while_instances_are_restarted(tmp_path: Path, workers: int) -> None:
    requires_nginx()
    report, writes = rolling(tmp_path, rolls=1, rate=40, delay=2, workers=workers)
    assert report.requests > 100
    assert (report.failed(), writes.lost, writes.doubled) == (0, 0, 0), report.failures


def test_a_failover_loses_no_write_of_a_synchronous_primary(tmp_path: Path) -> None:
    report, writes = failover(tmp_path, rate=30, seconds=4, synchronous=True)
    assert report.requests > 100
    assert (writes.lost, writes.doubled) == (0, 0)


def test_no_request_fails_while_the_replica_is_away(tmp_path: Path) -> None:
    report, writes = replica_loss(tmp_path, rate=30, seconds=3)
    assert report.requests > 100
    assert (report.failed(), writes.lost, writes.doubled) == (0, 0, 0), report.failures


def test_no_request_fails_while_redis_is_killed_emptied_and_frozen(tmp_path: Path) -> None:
    requires_nginx()
    report, writes = redis_loss(tmp_path, rate=10, seconds=1.2, callers=24)
    assert report.requests > 50
    assert (report.failed(), writes.lost, writes.doubled) == (0, 0, 0), "\n".join(report.lines())


def test_requests_beyond_the_capacity_are_refused_and_health_checks_are_not(tmp_path: Path) -> None:
    report, writes = overload(
        tmp_path,
        step_seconds=2,
        seconds=12,
        fresh_seconds=6,
        first_rate=20,
        # So slow that the connections limit the requests, even if other tests use the processors.
        reply_seconds=0.1,
    )
    refused = sum(each.status == 503 for each in report.outcomes)
    lines = "\n".join(report.lines())
    assert 0 < refused < report.requests, lines
    assert (report.failed(), writes.lost, writes.doubled) == (0, 0, 0), lines


def test_no_request_fails_while_tables_in_use_are_migrated(tmp_path: Path) -> None:
    report, writes = migrations(tmp_path, rows=20_000, rate=30)
    assert report.requests > 100
    assert (report.failed(), writes.lost, writes.doubled) == (0, 0, 0), report.failures
