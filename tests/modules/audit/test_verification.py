"""Verification detects every change of the audit log."""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL

from backend.core.context import Context
from backend.core.principal import SYSTEM
from backend.modules.audit import digests, verification
from backend.modules.audit import service as audit
from backend.modules.audit.sealing import append_seal, seal_waiting
from tests.modules.audit.conftest import Write, ids

Intruder = psycopg.Connection


@pytest.fixture
async def sealed(context: Context, write: Write, intruder: Intruder) -> list[str]:
    """Six events in three seals, two in each."""
    for _ in range(3):
        await write(2, target=("user", "5"), changes={"a": {"old": 1, "new": 2}})
        await seal_waiting(context)
    assert (await audit.verify(context, SYSTEM)).findings == []
    return ids(intruder)


async def findings(context: Context) -> list[str]:
    return (await audit.verify(context, SYSTEM)).findings


async def test_nothing_is_wrong_with_nothing(context: Context) -> None:
    assert await audit.verify(context, SYSTEM) == audit.VerificationResult()


async def test_it_counts_what_is_sealed_and_what_waits(
    context: Context, sealed: list[str], write: Write
) -> None:
    await write(3)
    await write(1, days_ago=1)
    assert await audit.verify(context, SYSTEM) == audit.VerificationResult(
        events=6, seals=3, waiting=4, overdue=1
    )


@pytest.mark.parametrize(
    "assignment",
    [
        "occurred_at = occurred_at + interval '1 microsecond'",
        "occurred_at = 'infinity'",
        "actor_id = gen_random_uuid()",
        "action = 'test.other'",
        "target_type = 'User'",
        "target_type = NULL",
        "target_id = target_id || ' '",
        "target_type = 'user5', target_id = ''",
        "outcome = 'denied'",
        "ip = '10.0.0.1'",
        "user_agent = 'a browser'",
        "request_id = ''",
        "changes = NULL",
        'changes = \'{"a": {"old": 1, "new": 2.0}}\'',
        "changes = changes || '{\"b\": 0}'",
    ],
)
async def test_an_altered_event_is_found(
    context: Context, sealed: list[str], intruder: Intruder, assignment: str
) -> None:
    statement = SQL("UPDATE audit_events SET {} WHERE id = %s").format(SQL(assignment))
    intruder.execute(statement, [sealed[3]])
    assert await findings(context) == [f"Event {sealed[3]} of seal 2 was changed."]


async def test_a_value_moved_to_another_member_is_found(
    context: Context, intruder: Intruder
) -> None:
    intruder.execute(
        "WITH event AS (INSERT INTO audit_events (id, occurred_at, action, outcome, ip)"
        " VALUES (gen_random_uuid(), now(), 'test.done', 'success', '10.0.0.1') RETURNING id)"
        " INSERT INTO audit_waiting SELECT id FROM event"
    )
    await seal_waiting(context)
    assert await findings(context) == []
    intruder.execute("UPDATE audit_events SET ip = NULL, user_agent = ip")
    assert len(await findings(context)) == 1


async def test_a_removed_event_is_found(
    context: Context, sealed: list[str], intruder: Intruder
) -> None:
    intruder.execute("DELETE FROM audit_events WHERE id = %s", [sealed[2]])
    assert await findings(context) == [f"Event {sealed[2]} of seal 2 is missing."]


async def test_an_event_removed_before_it_was_sealed_is_found(
    context: Context, write: Write, intruder: Intruder
) -> None:
    first, second = await write(2)
    intruder.execute("DELETE FROM audit_events WHERE id = %s", [first])
    assert await findings(context) == [f"Event {first} is missing; it was not sealed yet."]
    await seal_waiting(context)
    assert await findings(context) == [f"Event {first} of seal 1 is missing."]
    intruder.execute(
        "INSERT INTO audit_events SELECT %s, occurred_at, actor_id, action, target_type, target_id,"
        " outcome, ip, user_agent, request_id, changes FROM audit_events WHERE id = %s",
        [first, second],
    )
    assert await findings(context) == [f"Event {first} was missing when seal 1 was made."]


async def test_an_event_slipped_in_is_found(
    context: Context, sealed: list[str], intruder: Intruder
) -> None:
    slipped = intruder.execute(
        "INSERT INTO audit_events (id, occurred_at, action, outcome)"
        " VALUES (gen_random_uuid(), '2026-01-01', 'test.done', 'success') RETURNING id"
    ).fetchone()
    assert slipped is not None
    await seal_waiting(context)
    found = await findings(context)
    assert found == [f"Event {slipped[0]} was written by another program: no seal will hold it."]


@pytest.mark.parametrize(
    ("removed", "expected"),
    [
        ("number = 1", ["Seal 1 is missing."]),
        ("number = 2", ["Seal 2 is missing."]),
        ("number < 3", ["Seals 1 to 2 are missing."]),
    ],
)
async def test_a_removed_seal_is_found(
    context: Context, sealed: list[str], intruder: Intruder, removed: str, expected: list[str]
) -> None:
    intruder.execute(SQL("DELETE FROM audit_seals WHERE {}").format(SQL(removed)))
    found = await findings(context)
    assert [each for each in found if each.startswith("Seal")] == expected
    # Deleting its events as well does not hide the removal.
    intruder.execute(
        "DELETE FROM audit_events WHERE id NOT IN (SELECT unnest(event_ids) FROM audit_seals)"
    )
    assert await findings(context) == expected


async def test_a_removed_end_is_found_by_what_was_logged(
    context: Context, sealed: list[str], intruder: Intruder
) -> None:
    (digest,) = intruder.execute("SELECT digest FROM audit_seals WHERE number = 3").fetchone() or ()
    anchor = audit.Anchor(3, digest.hex())
    assert (await audit.verify(context, SYSTEM, anchor=anchor)).findings == []
    intruder.execute("DELETE FROM audit_seals WHERE number = 3")
    intruder.execute("DELETE FROM audit_events WHERE id = ANY(%s)", [sealed[4:]])
    assert await findings(context) == []
    reported = (await audit.verify(context, SYSTEM, anchor=anchor)).findings
    assert reported == ["Seal 3 is missing."]
    # The application continues, and its next seal reuses the number.
    async with context.database.transaction() as session:
        await audit.record(session, "test.later")
    await seal_waiting(context)
    assert await findings(context) == []
    reported = (await audit.verify(context, SYSTEM, anchor=anchor)).findings
    assert reported == ["Seal 3 is not the one that was logged."]


def change_seal(intruder: Intruder, assignment: str) -> None:
    intruder.execute(SQL("UPDATE audit_seals SET {} WHERE number = 2").format(SQL(assignment)))


async def test_a_seal_that_was_good_elsewhere_is_found(
    context: Context, sealed: list[str], intruder: Intruder, write: Write
) -> None:
    """Both seals are genuine, but the later one followed a different seal."""
    intruder.execute("CREATE TEMPORARY TABLE kept AS SELECT * FROM audit_seals WHERE number = 3")
    intruder.execute("DELETE FROM audit_seals WHERE number > 1")
    intruder.execute("DELETE FROM audit_events WHERE id = ANY(%s)", [sealed[2:4]])
    await write()
    await seal_waiting(context)
    intruder.execute("INSERT INTO audit_seals SELECT * FROM kept")
    assert await findings(context) == [
        "Seal 3 does not follow from seal 2: one of them was replaced."
    ]


@pytest.mark.parametrize(
    "assignment",
    [
        "sealed_at = sealed_at - interval '1 day'",
        "sealed_at = '-infinity'",
        "event_ids = event_ids[2:] || event_ids[1]",
        "event_digests = event_digests || '\\x00'",
        "digest = sha256('')",
    ],
)
async def test_an_altered_seal_is_found(
    context: Context, sealed: list[str], intruder: Intruder, assignment: str
) -> None:
    change_seal(intruder, assignment)
    assert "Seal 2 was changed." in await findings(context)


async def test_a_later_beginning_of_the_chain_cannot_be_pretended(
    context: Context, sealed: list[str], intruder: Intruder
) -> None:
    intruder.execute("UPDATE audit_seals SET first_kept = 2 WHERE number > 1")
    intruder.execute("DELETE FROM audit_seals WHERE number = 1")
    found = await findings(context)
    assert "Seal 2 was changed." in found
    assert "Seal 3 was changed." in found


@pytest.mark.parametrize("ids_of_events", ["'{NULL}'", "event_ids || NULL::uuid", "'{}'"])
async def test_a_mutilated_seal_is_reported_and_not_stumbled_over(
    context: Context, sealed: list[str], intruder: Intruder, ids_of_events: str
) -> None:
    change_seal(intruder, f"event_ids = {ids_of_events}")
    assert "Seal 2 was changed." in await findings(context)


async def test_an_exchanged_signature_is_found(
    context: Context, sealed: list[str], intruder: Intruder
) -> None:
    intruder.execute("UPDATE audit_seals SET signature = sha256('') WHERE number = 2")
    assert await findings(context) == ["The signature of seal 2 is wrong."]


async def rewritten(context: Context, intruder: Intruder, keys: dict[str, bytes]) -> None:
    """Change all events and replace the chain by a consistent one made with `keys`."""
    intruder.execute("UPDATE audit_events SET ip = '10.0.0.1'")
    intruder.execute("INSERT INTO audit_waiting SELECT id FROM audit_events")
    intruder.execute("DELETE FROM audit_seals")
    async with context.database.transaction() as session:
        await append_seal(session, keys)


async def test_a_chain_made_anew_by_another_key_is_found(
    context: Context, sealed: list[str], intruder: Intruder
) -> None:
    await rewritten(context, intruder, {"0123456789abcdef": b"a key of somebody else's"})
    (found,) = await findings(context)
    assert found.startswith("Seal 1 is signed with a key that is not known (0123456789abcdef)")


async def test_a_chain_made_anew_under_the_name_of_the_right_key_is_found(
    context: Context, sealed: list[str], intruder: Intruder
) -> None:
    name = next(iter(digests.signing_keys(context)))
    await rewritten(context, intruder, {name: b"a key of somebody else's"})
    assert await findings(context) == ["The signature of seal 1 is wrong."]


async def test_the_sealer_vouches_for_no_forgery(
    context: Context, sealed: list[str], intruder: Intruder, write: Write, log: list[Any]
) -> None:
    await rewritten(context, intruder, {"0123456789abcdef": b"a key of somebody else's"})
    log.clear()
    await write(2)
    await seal_waiting(context)
    assert [line["event"] for line in log] == ["audit_chain_broken", "audit_sealed"]
    result = await audit.verify(context, SYSTEM)
    (found,) = result.findings
    assert found.startswith("Seal 1 is signed with a key that is not known")
    assert (result.seals, result.notes) == (2, [])


@pytest.fixture
def secrets(context: Context) -> Callable[..., Context]:
    """Returns the context with other secret keys, of which the first is in use."""
    return lambda *found: replace(context, secret_keys=found)


async def test_seals_of_a_former_key_stay_good(
    secrets: Callable[..., Context], write: Write
) -> None:
    for context in (secrets(b"old"), secrets(b"new", b"old")):
        await write(2)
        await seal_waiting(context)
    assert (await audit.verify(secrets(b"new", b"old"), SYSTEM)).findings == []
    result = await audit.verify(secrets(b"new"), SYSTEM)
    assert result.findings == []
    (note,) = result.notes
    key_id = hmac.new(secrets(b"old").key("audit seals"), b"key id", hashlib.sha256).hexdigest()
    assert note.startswith(
        f"Seal 1 is signed with a key that is not known any more ({key_id[:16]}); seal 2"
    )


async def test_a_key_that_was_lost_before_another_vouched_for_it_is_told(
    secrets: Callable[..., Context], write: Write
) -> None:
    for context in (secrets(b"old"), secrets(b"new")):
        await write(2)
        await seal_waiting(context)
    (found,) = (await audit.verify(secrets(b"new"), SYSTEM)).findings
    assert found.startswith("Seal 1 is signed with a key that is not known (")
    assert "SECRET_KEY_PREVIOUS" in found
    assert (await audit.verify(secrets(b"new", b"old"), SYSTEM)).findings == []


async def test_it_ends_when_enough_is_found(
    context: Context, write: Write, intruder: Intruder
) -> None:
    for _ in range(verification.SEALS_AT_ONCE + 5):
        await write()
        await seal_waiting(context)
    intruder.execute("UPDATE audit_events SET ip = '10.0.0.1'")
    seen: list[tuple[int, int]] = []
    result = await audit.verify(
        context, SYSTEM, progress=lambda done, total: seen.append((done, total))
    )
    assert result.is_full
    assert seen == [(verification.SEALS_AT_ONCE, verification.SEALS_AT_ONCE + 5)]


async def test_it_sees_one_moment_of_a_record_that_goes_on(
    context: Context, write: Write, intruder: Intruder
) -> None:
    for _ in range(verification.SEALS_AT_ONCE + 1):
        await write()
        await seal_waiting(context)
    last = ids(intruder)[-1]

    def intervene(done: int, total: int) -> None:
        if done < total:
            intruder.execute("DELETE FROM audit_events WHERE id = %s", [last])

    assert (await audit.verify(context, SYSTEM, progress=intervene)).findings == []
    assert len(await findings(context)) == 1
