"""Commands run behind a pooler, or state their requirement."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from backend.db.schema.migrations import newest_revision
from tests.commands import backend, output_of, refusal, running
from tests.poolers import Pooler, pooler

pytestmark = pytest.mark.slow

LOST = (
    "leads to a transaction pooler, where prepared statements, session settings and LISTEN do not "
    "work"
)
KEPT = "keeps sessions: prepared statements, session settings and LISTEN work"
DIRECT = "set DATABASE_DIRECT_URL to the server itself, for migrations and the worker"
ADMIN = ("users", "create-admin", "--email", "ada@example.com", "--password", "correct horse 1")


@pytest.fixture
def bouncer(own_database_url: str) -> Iterator[Pooler]:
    with pooler(own_database_url) as made:
        yield made


def doctor(folder: Path, **settings: Any) -> tuple[int, list[str]]:
    """Return the exit code of doctor and its lines about databases."""
    done = backend("doctor", "--port", "0", folder=folder, **settings)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    first = next(number for number, line in enumerate(lines) if "PostgreSQL" in line)
    return done.returncode, lines[first:-1]


def answers(name: str) -> str:
    return f"answers at {name} (15 or newer is needed)"


def test_doctor_finds_nothing_wrong_with_the_right_settings(
    bouncer: Pooler, own_database_url: str, tmp_path: Path
) -> None:
    settings = {
        "DATABASE_URL": bouncer.url,
        "DATABASE_POOLER": "transaction",
        "DATABASE_DIRECT_URL": own_database_url,
    }
    code, lines = doctor(tmp_path, **settings)
    assert code == 0
    (advice,) = [number for number, line in enumerate(lines) if line.startswith("! ")]
    assert "The role postgres has no client_connection_check_interval" in lines[advice]
    changes = [line.strip() for line in lines if line.startswith("    ALTER ROLE ")]
    assert "SET \"statement_timeout\" = '15000';" in changes[0]
    good = [line for line in lines if not line.startswith(("! ", "    "))]
    assert answers("DATABASE_URL") in good[0]
    assert good[1] == (
        "✓ DATABASE_URL leads to a transaction pooler, as DATABASE_POOLER=transaction says"
    )
    assert answers("DATABASE_DIRECT_URL") in good[2]
    assert good[3:5] == [
        f"✓ DATABASE_DIRECT_URL {KEPT}",
        f"✓ The schema is at {newest_revision()}, the newest revision",
    ]
    # The changes that doctor advises make it succeed.
    with psycopg.connect(own_database_url, autocommit=True) as connection:
        for change in changes:
            connection.execute(change.encode())
    bouncer.kill()
    bouncer.start()
    code, lines = doctor(tmp_path, **settings)
    assert code == 0
    assert lines[:5] == good[:5]


def test_doctor_names_what_a_transaction_pooler_loses(bouncer: Pooler, tmp_path: Path) -> None:
    code, lines = doctor(tmp_path, DATABASE_URL=bouncer.url)
    assert code == 1
    assert lines[1] == f"✗ DATABASE_URL {LOST}: set DATABASE_POOLER=transaction, and {DIRECT}."
    settings = {"DATABASE_URL": bouncer.url, "DATABASE_POOLER": "transaction"}
    code, lines = doctor(tmp_path, **settings)
    assert code == 1
    assert lines[-1] == f"✗ DATABASE_POOLER=transaction leaves no session: {DIRECT}."
    code, lines = doctor(tmp_path, **settings, DATABASE_DIRECT_URL=bouncer.url)
    assert code == 1
    assert f"✗ DATABASE_DIRECT_URL {LOST}: {DIRECT}." in lines


@pytest.mark.parametrize(
    "server", [{"ignore_startup_parameters": "options"}, {"server_round_robin": 1}], ids=str
)
def test_doctor_is_not_deceived(
    own_database_url: str, tmp_path: Path, server: dict[str, Any]
) -> None:
    with pooler(own_database_url, **server) as bouncer:
        code, lines = doctor(tmp_path, DATABASE_URL=bouncer.url)
    assert code == 1
    assert lines[1] == f"✗ DATABASE_URL {LOST}: set DATABASE_POOLER=transaction, and {DIRECT}."


def test_doctor_knows_other_kinds_of_poolers(own_database_url: str, tmp_path: Path) -> None:
    with pooler(own_database_url, pool_mode="session") as bouncer:
        code, lines = doctor(tmp_path, DATABASE_URL=bouncer.url)
        assert code == 1
        assert lines[1] == (
            "✗ DATABASE_URL leads to a pooler that keeps sessions, but refuses or ignores the "
            "startup parameter 'options', by which statements get their time limits: set "
            f"DATABASE_POOLER=transaction, and {DIRECT}."
        )
        settings = {"DATABASE_URL": bouncer.url, "DATABASE_POOLER": "transaction"}
        # A pooler that keeps sessions suffices where sessions are required.
        code, lines = doctor(tmp_path, **settings, DATABASE_DIRECT_URL=bouncer.url)
        assert code == 0
    with pooler(own_database_url, pool_mode="statement") as bouncer:
        settings = {"DATABASE_URL": bouncer.url, "DATABASE_POOLER": "transaction"}
        code, lines = doctor(tmp_path, **settings, DATABASE_DIRECT_URL=own_database_url)
        assert code == 1
        assert (
            "✗ DATABASE_URL leads to a pooler that takes no transactions: set its pool_mode to "
            "transaction." in lines
        )


@pytest.mark.parametrize(
    ("mode", "command"),
    [
        ("session", ["db", "upgrade"]),
        ("transaction", ["db", "check"]),
        ("transaction", ["db", "downgrade", "-1"]),
    ],
)
def test_migrations_do_not_go_through_a_transaction_pooler(
    bouncer: Pooler, own_database_url: str, tmp_path: Path, mode: str, command: list[str]
) -> None:
    settings = {"folder": tmp_path, "DATABASE_URL": bouncer.url, "DATABASE_POOLER": mode}
    said = refusal(*command, **settings)
    assert said == f"DATABASE_URL {LOST}: set DATABASE_POOLER=transaction, and {DIRECT}."
    assert output_of(*command, **settings, DATABASE_DIRECT_URL=own_database_url)


def test_other_commands_need_transactions_only(bouncer: Pooler, tmp_path: Path) -> None:
    settings = {"folder": tmp_path, "DATABASE_URL": bouncer.url}
    for command in (ADMIN, ("audit", "verify")):
        assert refusal(*command, **settings).startswith(f"DATABASE_URL {LOST}: ")
        assert output_of(*command, **settings, DATABASE_POOLER="transaction")


def test_the_worker_needs_a_session(bouncer: Pooler, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"DATABASE_URL": bouncer.url, "DATABASE_POOLER": "transaction"}
    assert refusal("worker", folder=tmp_path, **settings) == (
        "The worker needs a database session, and DATABASE_POOLER=transaction provides none: "
        "set DATABASE_DIRECT_URL to the server itself."
    )
    with running("worker", folder=tmp_path, DATABASE_DIRECT_URL=bouncer.url, **settings) as worker:
        worker.wait_for(
            "a transaction pooler keeps none: set DATABASE_DIRECT_URL to the server itself"
        )
        worker.kill(signal.SIGTERM)
        assert worker.wait() == 0
