"""Five faults, one after the other: dashboard, logs and traces show which of them is present."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from drills.fault_site import POOL_SIZE, Site, site
from drills.signals import SIGNALS, Observation, logged, shown, traced
from drills.site import Writes
from tests.commands import eventually
from tests.postgres_servers import PostgresServer

# Other programs of the machine may be a fault for a moment.
ATTEMPTS = 3
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
KINDS = {"metrics": shown, "logs": logged, "traces": traced}


@dataclass
class Diagnosis:
    """The observations, by the fault that was present, and the faults that each kind showed."""

    observations: dict[str, Observation] = field(default_factory=dict)
    seen: dict[str, dict[str, set[str]]] = field(default_factory=dict)

    def add(self, fault: str, found: Observation) -> bool:
        """Return whether each kind of signal shows this fault, and no other one."""
        self.observations[fault] = found
        self.seen[fault] = {kind: seen(found) for kind, seen in KINDS.items()}
        return self.is_right(fault)

    def is_right(self, fault: str) -> bool:
        expected = {fault} & SIGNALS.keys()
        return all(faults == expected for faults in self.seen[fault].values())

    def wrong(self) -> list[str]:
        return [line for fault, line in self._lines().items() if not self.is_right(fault)]

    def failed(self) -> int:
        return len(self.wrong())

    def lines(self) -> list[str]:
        return list(self._lines().values())

    def _lines(self) -> dict[str, str]:
        return {
            fault: f"{fault:<20}"
            + "; ".join(f"{kind}: {', '.join(sorted(each)) or '-'}" for kind, each in seen.items())
            for fault, seen in self.seen.items()
        }


def faults(folder: Path) -> tuple[Diagnosis, Writes]:
    with site(folder) as made:
        return diagnose(made), Writes(0, 0)


def diagnose(made: Site) -> Diagnosis:
    """Cause each fault, and look at the signals of the same use each time."""
    found = Diagnosis()
    made.use()  # connections, caches and prepared statements
    for name, fault in FAULTS.items():
        for _ in range(ATTEMPTS):
            if found.add(name, _observe(made, fault)):
                break
    return found


class Fault(NamedTuple):
    """A fault, present in the block of `cause` in an instance with `settings`."""

    cause: Callable[[Site], AbstractContextManager[object]]
    settings: Mapping[str, Any] = {}


def _observe(made: Site, fault: Fault) -> Observation:
    if fault.settings:
        made.restart(**fault.settings)
    before = made.moment()
    with fault.cause(made):
        made.use()
        found = made.between(before, made.moment())
    if fault.settings:
        made.restart(DATABASE_POOL_SIZE=POOL_SIZE)
        made.use()
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
    eventually(made.is_suspended)
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


FAULTS = {
    "no fault": Fault(nullcontext),
    "pool too small": Fault(nullcontext, {"DATABASE_POOL_SIZE": 2}),
    "slow statement": Fault(_slow_statement),
    "lagging replica": Fault(_lagging_replica),
    "dead mail server": Fault(_dead_mail_server),
    # The last one, because the job is repeated.
    "failing job": Fault(_failing_job),
}


def _execute(server: PostgresServer, statements: str) -> None:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(statements.encode())
