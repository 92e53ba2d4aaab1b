"""Checks of a running database for `backend doctor`: the questions of an incident.

They read statistics and change nothing. A role without the rights of `pg_monitor` sees details of
its own sessions only.
"""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import psycopg
from psycopg.rows import dict_row

from backend.cli.findings import Check, Finding, advice, failed, passed
from backend.core.settings import Settings

CONNECT_SECONDS = 5
STATEMENT_SECONDS = 5
LONG_TRANSACTION, ENDLESS_TRANSACTION = 60, 600
LONG_WAIT = 1.0
LATE_JOB = 300
MAX_SKEW = 1.0
MAX_BLOCKED = 5
# A replica may lag for longer, but a check has to end.
LONGEST_CATCH_UP = 10.0
POLL_SECONDS = 0.2

_CONNECTIONS = """
SELECT count(*) AS used,
    count(*) FILTER (WHERE state = 'active') AS active,
    count(*) FILTER (WHERE state LIKE 'idle in transaction%%') AS in_transaction,
    current_setting('max_connections')::int
    - current_setting('superuser_reserved_connections')::int
    - coalesce(current_setting('reserved_connections', true), '0')::int AS most
FROM pg_stat_activity WHERE datid IS NOT NULL AND usesysid IS NOT NULL
"""
_OLDEST = """
SELECT pid, usename AS role, application_name AS name, state,
    extract(epoch FROM clock_timestamp() - xact_start)::float AS age
FROM pg_stat_activity
WHERE xact_start IS NOT NULL AND datname = current_database() AND pid <> pg_backend_pid()
    AND backend_type = 'client backend'
ORDER BY xact_start LIMIT 1
"""
_BLOCKED = """
SELECT wait.pid, extract(epoch FROM clock_timestamp() - wait.waitstart)::float AS seconds,
    wait.relation::regclass::text AS relation, blocker.pid AS blocker, blocker.state,
    blocker.application_name AS name,
    extract(epoch FROM clock_timestamp() - blocker.xact_start)::float AS age
FROM pg_locks AS wait
    JOIN pg_stat_activity AS blocked ON blocked.pid = wait.pid
    JOIN pg_stat_activity AS blocker ON blocker.pid = ANY (pg_blocking_pids(wait.pid))
WHERE NOT wait.granted AND blocked.datname = current_database()
    AND clock_timestamp() - wait.waitstart > make_interval(secs => %(seconds)s)
ORDER BY wait.waitstart, blocker.xact_start LIMIT %(limit)s
"""
_JOBS = """
WITH due AS (
    SELECT id, scheduled_at FROM procrastinate_jobs
    WHERE status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= now())
)
SELECT (SELECT count(*) FROM due) AS due,
    (SELECT extract(epoch FROM now() - min(coalesce(due.scheduled_at, event.at)))::float
        FROM due JOIN procrastinate_events AS event ON event.job_id = due.id) AS age,
    (SELECT count(*) FROM procrastinate_jobs WHERE status = 'failed') AS failed,
    (SELECT count(*) FROM procrastinate_workers
        WHERE last_heartbeat > now() - interval '1 minute') AS workers
"""
_REPLAY = """
SELECT pg_is_in_recovery() AS is_standby,
    coalesce(pg_wal_lsn_diff(%(position)s::pg_lsn, pg_last_wal_replay_lsn()), 0)::bigint AS missing,
    extract(epoch FROM now() - pg_last_xact_replay_timestamp())::float AS age
"""


def database_checks(url: str, settings: Settings) -> dict[str, Check]:
    """Return the checks of a reachable database by their subject."""
    checks: dict[str, Check] = {
        "The use of connections": partial(connections, url, settings.database_pool_size),
        "The oldest transaction": partial(oldest_transaction, url),
        "Blocked statements": partial(blocked_statements, url),
        "The clock": partial(clock, url),
    }
    if settings.database_replica_url is not None:
        replica_url = settings.database_replica_url.get_secret_value()
        checks["The replica"] = partial(replica, replica_url, url, settings.replica_max_lag)
    return checks


def connections(url: str, pool_size: int) -> Iterator[Finding]:
    """Compare the used connections with max_connections, and the free ones with a pool."""
    (row,) = _rows(url, _CONNECTIONS)
    free = row["most"] - row["used"]
    text = (
        f"{row['used']} of {row['most']} connections of the database are used "
        f"({row['active']} active, {row['in_transaction']} idle in a transaction), {free} free"
    )
    remedy = (
        "end unused sessions, lower DATABASE_POOL_SIZE or the number of processes, or raise "
        "max_connections"
    )
    if free * 10 < row["most"]:
        yield failed(f"{text}: {remedy}.")
    elif free < pool_size:
        yield advice(f"{text}, fewer than another process uses ({pool_size}): {remedy}")
    else:
        yield passed(text)


def oldest_transaction(
    url: str, long: float = LONG_TRANSACTION, endless: float = ENDLESS_TRANSACTION
) -> Iterator[Finding]:
    """Report a transaction that is open for `long` seconds; for `endless`, it is a failure."""
    row = next(iter(_rows(url, _OLDEST)), None)
    if row is None or row["age"] < long:
        age = "none is open" if row is None else f"the oldest is {row['age']:.1f} s old"
        yield passed(f"No transaction is open for long ({age})")
        return
    who = f"{row['name'] or 'no name'}, role {row['role']}, {row['state']}"
    report = failed if row["age"] >= endless else advice
    yield report(
        f"Process {row['pid']} ({who}) has had a transaction open for {row['age']:.0f} s: it keeps "
        "its locks, and the dead rows of all tables. If it is no backup, end it: "
        f"`SELECT pg_terminate_backend({row['pid']})`."
    )


def blocked_statements(url: str, seconds: float = LONG_WAIT) -> Iterator[Finding]:
    """Name those that have waited for a lock for so many seconds, and those that hold it."""
    rows = _rows(url, _BLOCKED, seconds=seconds, limit=MAX_BLOCKED)
    for row in rows:
        table = f" on {row['relation']}" if row["relation"] else ""
        since = "" if row["age"] is None else f", its transaction is open for {row['age']:.0f} s"
        who = f"{row['name'] or 'no name'}, {row['state']}{since}"
        yield failed(
            f"Process {row['pid']} has waited {row['seconds']:.0f} s for a lock{table} of process "
            f"{row['blocker']} ({who}). If that is not about to end, end it: "
            f"`SELECT pg_terminate_backend({row['blocker']})`."
        )
    if not rows:
        yield passed("No statement waits for a lock")


def jobs(url: str, *, is_local: bool, late: float = LATE_JOB) -> Iterator[Finding]:
    """Report waiting and failed jobs, and whether a worker runs; locally, none has to."""
    (row,) = _rows(url, _JOBS)
    age, due, workers = row["age"] or 0, row["due"], row["workers"]
    waiting = f"Waiting jobs: {due}, the oldest for {age:.0f} s" if due else "No job waits"
    if workers and age < late:
        yield passed(f"{waiting}; a worker runs")
    elif workers:
        yield failed(
            f"{waiting}, although a worker runs: look for `job_failed` in their logs, "
            "and start more of them if jobs succeed, but slowly."
        )
    elif is_local and not due:
        yield passed(f"{waiting}; no worker runs")
    else:
        report = advice if is_local else failed
        yield report(f"{waiting}; no worker runs: start `backend worker`. Mails wait until then.")
    if row["failed"]:
        yield advice(
            f"Jobs that have failed for good: {row['failed']}. GET /api/v1/jobs?status=failed "
            "lists them, POST /api/v1/jobs/{id}/retry repeats one."
        )


def clock(url: str) -> Iterator[Finding]:
    """Compare the clock of this machine with that of the database."""
    before = time.time()
    (row,) = _rows(url, "SELECT extract(epoch FROM clock_timestamp())::float AS now")
    after = time.time()
    skew = row["now"] - (before + after) / 2
    # The database may have read its clock at any time in between.
    if abs(skew) - (after - before) / 2 <= MAX_SKEW:
        yield passed("The clocks of this machine and of the database agree")
        return
    order = "behind" if skew > 0 else "ahead of"
    yield failed(
        f"The clock of this machine is {abs(skew):.1f} s {order} that of the database: synchronise "
        "both with NTP. Expiries of sessions, links and cached responses depend on it."
    )


def replica(url: str, primary: str, max_lag: float) -> Iterator[Finding]:
    """Wait until the replica has replayed all that the primary has written by now."""
    (row,) = _rows(primary, "SELECT pg_current_wal_lsn()::text AS position")
    started = time.monotonic()
    longest = min(max_lag, LONGEST_CATCH_UP)
    while True:
        (state,) = _rows(url, _REPLAY, position=row["position"])
        if not state["is_standby"]:
            yield failed(
                "DATABASE_REPLICA_URL leads to a server that is no standby: it lacks later writes, "
                "and reads use the primary. Set up replication, or remove the setting."
            )
            return
        seconds = time.monotonic() - started
        if state["missing"] <= 0:
            yield passed(f"The replica has replayed all writes after {seconds:.1f} s")
            return
        if seconds >= longest:
            break
        time.sleep(POLL_SECONDS)
    yield failed(
        f"The replica lacks {state['missing']} bytes of writes that are {longest:g} s old; its "
        f"newest transaction is {state['age'] or 0:.0f} s old. Reads use the primary. Look for "
        "long queries on the replica, a paused replay, and a lost connection to the primary."
    )


def _rows(url: str, statement: str, **values: Any) -> list[dict[str, Any]]:
    with psycopg.connect(
        url,
        connect_timeout=CONNECT_SECONDS,
        prepare_threshold=None,
        client_encoding="UTF8",
        row_factory=dict_row,
    ) as connection:
        # For this transaction only: behind a pooler, the session is that of others afterwards.
        connection.execute(f"SET LOCAL statement_timeout = '{STATEMENT_SECONDS}s'")
        return connection.execute(statement.encode(), values or None).fetchall()
