"""The command `backend audit verify`."""

import asyncio
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import psycopg
import pytest

from backend.core.context import Context
from backend.db.schema.migrations import newest_revision
from backend.modules.audit.sealing import seal_waiting
from tests import commands
from tests.modules.audit.conftest import Write, ids

Verify = Callable[..., Awaitable["subprocess.CompletedProcess[str]"]]


@pytest.fixture
def verify(context: Context, database_url: str, tmp_path: Path) -> Verify:
    """Runs the command on the database of the test, with the key of the test."""
    key = context.secret_keys[0].decode()

    async def run(*options: str, secret: str = key) -> "subprocess.CompletedProcess[str]":
        return await asyncio.to_thread(
            commands.backend,
            *("audit", "verify", *options),
            folder=tmp_path,
            DATABASE_URL=database_url,
            SECRET_KEY=secret,
            ENVIRONMENT="test",
        )

    return run


async def test_one_line_says_that_all_is_well(
    context: Context, write: Write, verify: Verify
) -> None:
    await write(2)
    await seal_waiting(context)
    await write(1)
    await seal_waiting(context)
    await write(3)
    done = await verify()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "3 events in 2 seals are unchanged, 3 events are not sealed yet.\n"


async def test_it_counts_in_english_and_asks_for_the_worker(
    context: Context, write: Write, verify: Verify
) -> None:
    await write()
    await seal_waiting(context)
    await write(1, days_ago=1)
    done = await verify()
    assert done.returncode == 0
    assert done.stdout == (
        "1 event in 1 seal is unchanged, 1 event is not sealed yet. "
        "1 of them waits for more than a minute: start `backend worker`.\n"
    )


async def test_what_is_wrong_is_told_line_by_line(
    context: Context, write: Write, intruder: psycopg.Connection, verify: Verify
) -> None:
    await write(2)
    await seal_waiting(context)
    first, second = ids(intruder)
    intruder.execute("UPDATE audit_events SET ip = '10.0.0.1' WHERE id = %s", [first])
    intruder.execute("DELETE FROM audit_events WHERE id = %s", [second])
    done = await verify()
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines() == [
        f"Event {first} of seal 1 was changed.",
        f"Event {second} of seal 1 is missing.",
        "The record is not as it was sealed: 2 findings.",
    ]


async def test_a_wrong_key_is_named(context: Context, write: Write, verify: Verify) -> None:
    await write()
    await seal_waiting(context)
    done = await verify(secret="another key, as long as a real one: 0123456789")
    assert done.returncode == 1
    assert "SECRET_KEY_PREVIOUS" in done.stdout


@pytest.mark.slow
async def test_a_seal_from_the_log_can_be_named(
    context: Context, write: Write, intruder: psycopg.Connection, verify: Verify
) -> None:
    await write()
    await seal_waiting(context)
    (digest,) = intruder.execute("SELECT encode(digest, 'hex') FROM audit_seals").fetchone() or ()
    assert (await verify("--anchor", f"1:{digest}")).returncode == 0
    done = await verify("--anchor", f"2:{digest}")
    assert done.returncode == 1
    assert done.stdout.startswith("Seal 2 is missing.\n")


async def test_a_seal_has_to_be_named_as_the_log_does(verify: Verify) -> None:
    done = await verify("--anchor", "1")
    assert done.returncode == 1
    assert "audit_sealed" in done.stderr


async def test_a_schema_that_is_behind_is_not_judged(
    verify: Verify, database: psycopg.Connection
) -> None:
    database.execute("UPDATE alembic_version SET version_num = '0001'")
    try:
        done = await verify()
    finally:
        database.execute("UPDATE alembic_version SET version_num = %s", [newest_revision()])
    assert done.returncode == 1
    assert "run `backend db upgrade`." in done.stderr
