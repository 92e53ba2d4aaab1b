"""Failover: the primary is killed under load, and its standby is promoted."""

import time
from collections.abc import Callable
from pathlib import Path

from drills.load import Load, LoadReport
from drills.site import Writes, compare_writes, instances, sign_in
from tests.postgres_servers import PostgresServer, primary_and_standby


def failover(
    folder: Path, *, rate: float, seconds: float, synchronous: bool
) -> tuple[LoadReport, Writes]:
    """Kill the primary after `seconds`, promote the standby, and go on for as long.

    A `synchronous` primary acknowledges a commit when the standby has it too.
    """
    with primary_and_standby() as (primary, standby):
        if synchronous:
            primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            primary.execute("SELECT pg_reload_conf()")
        ports = (primary.port, standby.port)
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
        url = f"postgresql://postgres@{hosts}/trellis?target_session_attrs=read-write"

        def cause() -> None:
            primary.kill()
            standby.execute("SELECT pg_promote()")

        return _under_load(folder, url, cause, standby, rate=rate, seconds=seconds)


def _under_load(
    folder: Path,
    url: str,
    cause: Callable[[], None],
    survivor: PostgresServer,
    *,
    rate: float,
    seconds: float,
) -> tuple[LoadReport, Writes]:
    with instances(folder, url, count=1, workers=1) as (instance,):
        load = Load(instance.url, sign_in(instance.url), rate, verify=True)
        with load.running() as report:
            time.sleep(seconds)
            cause()
            time.sleep(seconds)
        # The instance works again, on the same connections.
        sign_in(instance.url)
        return report, compare_writes(survivor.url(), report)


def replica_loss(folder: Path, *, rate: float, seconds: float) -> tuple[LoadReport, Writes]:
    """Kill the standby that serves reads; no request fails, because the primary serves them."""
    with primary_and_standby() as (primary, standby):
        replica = {"DATABASE_REPLICA_URL": standby.url()}
        with instances(folder, primary.url(), count=1, workers=1, **replica) as (instance,):
            load = Load(instance.url, sign_in(instance.url), rate, verify=True)
            with load.running() as report:
                time.sleep(seconds)
                standby.kill()
                time.sleep(seconds)
                standby.start()
                time.sleep(seconds)
            return report, compare_writes(primary.url(), report)
