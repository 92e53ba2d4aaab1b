"""Old events are deleted by whole seals, and the remaining ones can still be verified."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
import structlog
from pydantic import ValidationError

from backend.core.context import Context
from backend.core.principal import SYSTEM
from backend.modules.audit import retention
from backend.modules.audit import service as audit
from backend.modules.audit.digests import epoch, seal_digest, signature_of, signing_keys
from backend.modules.audit.retention import delete_expired
from backend.modules.audit.sealing import CHAIN_LOCK, seal_waiting
from backend.modules.audit.settings import FLOOR_DAYS, AuditSettings
from tests.applications import make_context
from tests.modules.audit.conftest import Write, ids

Database = psycopg.Connection
Log = list[structlog.typing.EventDict]
DAYS = 100


@pytest.fixture
def context(database_url: str, context: Context) -> Context:
    """A context that keeps events for `DAYS` days."""
    settings = make_context(database_url, audit_retention_days=DAYS).module_settings
    return replace(context, module_settings=settings)


async def seals(context: Context, write: Write, intruder: Database, *ages: int) -> list[str]:
    """Write a seal with two events for each age in days; return the ids of all events."""
    for days_ago in ages:
        await write(2, days_ago=days_ago)
        await seal_waiting(context)
    backdate(context, intruder, ages)
    assert (await audit.verify(context, SYSTEM)).findings == []
    return [id for _, found in stored(intruder) for id in found]


def stored(connection: Database) -> list[tuple[int, list[str]]]:
    """Return the number and the events of every seal."""
    rows = connection.execute("SELECT number, event_ids::text[] FROM audit_seals ORDER BY number")
    return [(number, found) for number, found in rows]


def backdate(context: Context, intruder: Database, ages: tuple[int, ...]) -> None:
    """Rewrite the seals as if they had been made so many days ago."""
    key_id, key = next(iter(signing_keys(context).items()))
    previous = None
    for (number, found), days_ago in zip(stored(intruder), ages, strict=True):
        moment = datetime.now(UTC) - timedelta(days=days_ago)
        row = intruder.execute(
            "SELECT first_kept, event_digests FROM audit_seals WHERE number = %s", [number]
        ).fetchone()
        assert row is not None
        digest = seal_digest(number, epoch(moment), row[0], previous, found, row[1])
        intruder.execute(
            "UPDATE audit_seals SET sealed_at = %s, previous_digest = %s, digest = %s,"
            " signature = %s, key_id = %s WHERE number = %s",
            [moment, previous, digest, signature_of(digest, key), key_id, number],
        )
        previous = digest


async def test_old_seals_go_with_their_events_and_the_rest_is_good(
    context: Context, database: Database, write: Write, intruder: Database, log: Log
) -> None:
    kept = (await seals(context, write, intruder, DAYS + 20, DAYS + 1, DAYS - 1, 1))[4:]
    waiting = await write()
    log.clear()
    await delete_expired(context)
    assert ids(database) == sorted(kept + waiting)
    assert stored(database) == [(3, kept[:2]), (4, kept[2:]), (5, waiting)]
    assert [line["event"] for line in log] == ["audit_sealed", "audit_removed"]
    result = await audit.verify(context, SYSTEM)
    assert result == audit.VerificationResult(events=5, seals=3)
    await delete_expired(context)
    assert len(stored(database)) == 3
    await write()
    await seal_waiting(context)
    assert await audit.verify(context, SYSTEM) == audit.VerificationResult(events=6, seals=4)


async def test_removing_goes_on_until_nothing_old_is_left(
    context: Context,
    database: Database,
    write: Write,
    intruder: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retention, "SEALS_AT_ONCE", 2)
    await seals(context, write, intruder, *range(DAYS + 5, DAYS, -1), 1)
    await delete_expired(context)
    assert [number for number, found in stored(database) if found] == [6]
    assert len(ids(database)) == 2
    assert (await audit.verify(context, SYSTEM)).findings == []


async def test_the_last_seal_stays_however_old(
    context: Context, database: Database, write: Write, intruder: Database
) -> None:
    await seals(context, write, intruder, DAYS + 2, DAYS + 1)
    await delete_expired(context)
    assert [number for number, _ in stored(database)] == [2, 3]
    await delete_expired(context)
    assert [number for number, _ in stored(database)] == [3, 4]
    assert ids(database) == []
    await delete_expired(context)
    assert [number for number, _ in stored(database)] == [3, 4]
    assert (await audit.verify(context, SYSTEM)).findings == []


async def test_a_seal_goes_only_when_all_of_it_is_old(
    context: Context, database: Database, write: Write, intruder: Database
) -> None:
    await write(1, days_ago=DAYS + 9)
    await write(1, days_ago=DAYS - 1)
    await seal_waiting(context)
    await write(1, days_ago=DAYS + 8)
    await seal_waiting(context)
    await write()
    await seal_waiting(context)
    backdate(context, intruder, (DAYS + 1, DAYS + 1, 0))
    await delete_expired(context)
    assert [number for number, _ in stored(database)] == [1, 2, 3]
    assert len(ids(database)) == 4


async def test_an_event_from_the_future_does_not_stay_for_ever(
    context: Context, database: Database, write: Write, intruder: Database
) -> None:
    await write(1, days_ago=-4000)
    await seal_waiting(context)
    await write()
    await seal_waiting(context)
    backdate(context, intruder, (DAYS + 1, 0))
    await delete_expired(context)
    assert [number for number, _ in stored(database)] == [2, 3]
    assert len(ids(database)) == 1


async def test_what_somebody_else_removed_is_not_taken_for_retention(
    context: Context, database: Database, write: Write, intruder: Database
) -> None:
    """The rows are old enough for the database to permit deletion, but not for retention."""
    await seals(context, write, intruder, FLOOR_DAYS + 5, FLOOR_DAYS + 4, 1)
    database.execute("DELETE FROM audit_seals WHERE number = 1")
    database.execute("DELETE FROM audit_events WHERE occurred_at < now() - interval '34.5 days'")
    assert (await audit.verify(context, SYSTEM)).findings == ["Seal 1 is missing."]


async def test_a_removed_seal_is_no_longer_there_to_compare(
    context: Context, database: Database, write: Write, intruder: Database
) -> None:
    await seals(context, write, intruder, DAYS + 2, 1)
    await delete_expired(context)
    result = await audit.verify(context, SYSTEM, anchor=audit.Anchor(1, "00" * 32))
    assert (result.findings, len(result.notes)) == ([], 1)


async def test_it_waits_for_the_sealer(
    context: Context, database: Database, write: Write, intruder: Database
) -> None:
    await seals(context, write, intruder, DAYS + 2, 1)
    with database.transaction():
        database.execute("SELECT pg_advisory_xact_lock(%s)", [CHAIN_LOCK])
        task = asyncio.create_task(delete_expired(context))
        while not intruder.execute(  # noqa: ASYNC110  # the server sets no event
            "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        ).fetchall():
            await asyncio.sleep(0.01)
        assert len(stored(database)) == 2
    await task
    assert [number for number, _ in stored(database)] == [2, 3]


@pytest.mark.parametrize("days", [FLOOR_DAYS - 1, 0, -1, 36_501])
def test_nobody_keeps_less_than_the_floor(days: int) -> None:
    with pytest.raises(ValidationError):
        AuditSettings(audit_retention_days=days)
    assert AuditSettings(audit_retention_days=FLOOR_DAYS).audit_retention_days == FLOOR_DAYS


def test_code_and_schema_have_one_floor(database: Database) -> None:
    triggers = database.execute(
        "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname LIKE 'audit%kept'"
    ).fetchall()
    assert len(triggers) == 2
    assert all(f"'{FLOOR_DAYS} days'" in definition for (definition,) in triggers)
