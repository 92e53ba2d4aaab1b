"""Reads by key share statements, but no caller gets an older row, or the error of another."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import Select, Text, Uuid, bindparam, column, table

from backend.db import keyed_reads
from backend.db.connections import Timeouts
from backend.db.database import Database
from backend.db.errors import DatabaseUnavailableError, OverloadedError
from backend.db.fair_semaphore import TURNS, FairSemaphore, admitted
from backend.db.keyed_reads import MAX_KEYS, KeyedReads
from backend.db.lists.page_bytes import rows_within
from backend.db.queries import KeyedQuery
from tests.samples import sample
from tests.statements import Statements

NOTES = table("made_notes", column("id", Uuid), column("name", Text))
OTHERS = table("others", column("id", Uuid))
NOTE = KeyedQuery(NOTES.select(), NOTES.c.id)
IDS = [UUID(int=number) for number in range(40)]


@pytest.fixture
async def notes(database_url: str) -> AsyncIterator[psycopg.AsyncConnection]:
    """A connection to a database with a table of notes, whose names are empty."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute("CREATE TABLE made_notes (id uuid PRIMARY KEY, name text)")
        await connection.execute("INSERT INTO made_notes SELECT unnest(%s), ''", [IDS])
        yield connection


@pytest.fixture
async def database(database_url: str, notes: object) -> AsyncIterator[Database]:
    made = Database(database_url, size=4, timeouts=Timeouts())
    yield made
    await made.close()


class Source:
    """A `read` that returns once `open` is set; the rows contain the number of the statement."""

    def __init__(self, *, wait: float = 1) -> None:
        self.sent: list[list[UUID]] = []
        self.open = asyncio.Event()
        self.broken: set[UUID] = set()
        self.outcomes: list[str] = []
        self.gate = FairSemaphore(4, wait, on_wait=lambda _, outcome, __: self.note(outcome))
        self.reads = KeyedReads(self.read, self.gate)

    def note(self, outcome: str) -> None:
        self.outcomes.append(outcome)

    async def read(self, keys: list[UUID]) -> dict[UUID, dict[str, Any]]:
        self.sent.append(keys)
        number = len(self.sent)
        await asyncio.sleep(0)
        await self.open.wait()
        if self.broken.intersection(keys):
            raise OSError(number)
        return {key: {"id": key, "statement": number} for key in keys}

    def ask(self, *keys: UUID) -> list["asyncio.Task[dict[str, Any] | None]"]:
        return [asyncio.ensure_future(self.reads.find(key)) for key in keys]

    async def statements_of(self, *keys: UUID) -> list[int | None]:
        """Return the number of the statement that found the row of each key."""
        rows = await asyncio.gather(*self.ask(*keys))
        return [None if row is None else row["statement"] for row in rows]


async def let_run() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_concurrent_callers_share_statements(
    database: Database, statements: Statements
) -> None:
    reads = 0

    async def caller(number: int) -> None:
        nonlocal reads
        for key in IDS[number : number + 5] * 2:
            row = await database.primary.find(NOTE, key)
            assert row == {"id": key, "name": ""}
            reads += 1

    await asyncio.gather(*(caller(number) for number in range(32)))
    assert await database.primary.find(NOTE, uuid4()) is None
    sent = [each for each in statements if "notes" in each]
    assert len(sent) < 0.3 * reads


async def test_a_row_is_read_after_its_caller_asked(
    database: Database, notes: psycopg.AsyncConnection
) -> None:
    find = database.primary.find
    async with notes.transaction():
        await notes.execute("LOCK TABLE made_notes")
        # Two statements wait for the lock, a third caller waits for their end.
        held = [asyncio.ensure_future(find(NOTE, IDS[0])) for _ in range(2)]
        await asyncio.sleep(0.1)
        waiting = asyncio.ensure_future(find(NOTE, IDS[0]))
        await asyncio.sleep(0.1)
        await notes.execute("UPDATE made_notes SET name = 'changed' WHERE id = %s", [IDS[0]])
    assert await find(NOTE, IDS[0]) == {"id": IDS[0], "name": "changed"}
    assert await waiting == {"id": IDS[0], "name": "changed"}
    await asyncio.gather(*held)


async def test_a_lone_caller_waits_for_nobody_and_the_third_shares() -> None:
    source = Source()
    first = source.ask(IDS[0])
    await let_run()
    assert source.sent == [[IDS[0]]]
    second = source.ask(IDS[0], IDS[1], IDS[1])
    await let_run()
    assert source.sent[1:] == [[IDS[0], IDS[1]]]
    # Two statements run, so these callers wait, and share the next one.
    later = source.ask(IDS[0], IDS[2])
    await let_run()
    assert len(source.sent) == 2
    source.open.set()
    rows = await asyncio.gather(*first, *second, *later)
    assert [row and row["statement"] for row in rows] == [1, 2, 2, 2, 3, 3]
    # Callers of one iteration of the event loop share a statement at once.
    assert await source.statements_of(*IDS[:3]) == [4, 4, 4]


async def test_a_statement_has_a_limited_number_of_keys() -> None:
    source = Source()
    source.open.set()
    await source.statements_of(*IDS[:2])
    await source.statements_of(*(uuid4() for _ in range(3 * MAX_KEYS + 1)))
    assert max(map(len, source.sent)) == MAX_KEYS


async def test_a_caller_that_gives_up_takes_nobody_along() -> None:
    source = Source()
    alone = source.ask(IDS[0])
    await let_run()
    shared = source.ask(IDS[0], IDS[0], IDS[1])
    await let_run()
    alone[0].cancel()
    shared[0].cancel()
    await let_run()
    source.open.set()
    rows = await asyncio.gather(*alone, *shared, return_exceptions=True)
    kinds = [asyncio.CancelledError, asyncio.CancelledError, dict, dict]
    assert [type(row) for row in rows] == kinds
    assert await source.statements_of(IDS[0]) == [3]


async def test_a_failure_is_that_of_one_statement() -> None:
    source = Source()
    source.broken = {IDS[0]}
    first = source.ask(IDS[1])
    await let_run()
    second = source.ask(IDS[0], IDS[2])
    await let_run()
    third = source.ask(IDS[3])
    source.open.set()
    rows = await asyncio.gather(*first, *second, *third, return_exceptions=True)
    assert [type(row) for row in rows] == [dict, OSError, OSError, dict]
    assert len(await source.statements_of(IDS[2])) == 1


async def test_a_key_that_would_fail_for_all_is_refused_alone(database: Database) -> None:
    keys: Any = ("\0", IDS[0], IDS[1])
    asked = (database.primary.find(NOTE, key) for key in keys)
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(each) for each in found] == [TypeError, dict, dict]


async def test_statements_that_hang_stop_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyed_reads, "SLOW_SECONDS", 0.01)
    source = Source()
    hanging = source.ask(IDS[0])
    await let_run()
    hanging += source.ask(IDS[1], IDS[2])
    await let_run()
    source.open = asyncio.Event()
    source.open.set()
    later = source.ask(IDS[3])
    assert await asyncio.wait_for(later[0], 5) == {"id": IDS[3], "statement": 3}
    for each in hanging:
        each.cancel()


@pytest.mark.usefixtures("idle_thread")
async def test_callers_are_refused_one_by_one_under_overload() -> None:
    """A request that has waited before is not refused, and none because of another one."""
    source = Source()
    gate = source.gate
    for _ in range(4):
        await gate.acquire()
    waiting = [asyncio.ensure_future(gate.acquire()) for _ in range(9)]
    await let_run()
    # As if no place had become free for long.
    gate._congestion._granted_at -= 10
    running = source.ask(IDS[0])
    await let_run()

    async def ask(waits: int) -> Any:
        admitted.set(Counter({gate: waits}))
        return await source.reads.find(IDS[1])

    asked = [asyncio.ensure_future(ask(waits)) for waits in (0, 1, 0)]
    await let_run()
    source.open.set()
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(each) for each in found] == [OverloadedError, dict, OverloadedError]
    assert source.outcomes == ["refused", "refused"]
    await asyncio.gather(*running)
    for each in waiting:
        each.cancel()


@pytest.mark.usefixtures("idle_thread")
async def test_few_callers_hang_with_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others fail after the wait for a connection, and new ones at once, until it is back."""
    monkeypatch.setattr(keyed_reads, "SLOW_SECONDS", 0.02)
    source = Source(wait=0.1)
    hanging = source.ask(IDS[0])
    await let_run()
    hanging += source.ask(IDS[1], IDS[2])
    await let_run()
    waiting = source.ask(*(uuid4() for _ in range(100)))
    await asyncio.sleep(0.3)
    assert [len(keys) for keys in source.sent] == [1, 2] + [1] * (len(source.sent) - 2)
    failed = [each for each in waiting if each.done()]
    assert {type(each.exception()) for each in failed} == {DatabaseUnavailableError}
    assert len(waiting) - len(failed) == len(source.sent) - 2 < 50
    later = source.ask(*IDS[3:13])
    await let_run()
    # One may always wait.
    refused = [each for each in later if each.done()]
    assert [type(each.exception()) for each in refused] == [OverloadedError] * 9
    assert source.outcomes == ["timed_out"] * len(failed) + ["refused"] * 9
    admitted.set(Counter({source.gate: 1}))
    late = source.ask(*(uuid4() for _ in range(60)))
    await asyncio.sleep(0.15)
    assert DatabaseUnavailableError in {type(each.exception()) for each in late if each.done()}
    hanging.pop(0).cancel()
    source.open.set()
    pending = [each for each in (*hanging, *waiting, *later, *late) if not each.done()]
    assert {type(row) for row in await asyncio.gather(*pending)} == {dict}
    await source.statements_of(*IDS)
    assert len(source.sent[-1]) == len(IDS) - 1


async def test_a_burst_of_different_keys_is_served() -> None:
    source = Source()
    source.open.set()
    keys = [uuid4() for _ in range(20 * MAX_KEYS)]
    assert None not in await source.statements_of(*keys)
    assert source.outcomes == []


@pytest.mark.usefixtures("idle_thread")
async def test_a_slow_queue_refuses_new_requests_only() -> None:
    source = Source(wait=10)
    running = source.ask(IDS[0])
    await let_run()
    running += source.ask(IDS[1])
    await let_run()
    waiting = source.ask(*(uuid4() for _ in range(2 * MAX_KEYS)))
    await let_run()
    # As if no statement had ended for long.
    source.reads._congestion._granted_at -= 11
    admitted.set(Counter({source.gate: 1}))
    waiting += source.ask(IDS[2])
    admitted.set(Counter())
    refused = source.ask(IDS[3])
    with pytest.raises(OverloadedError):
        await refused[0]
    source.open.set()
    assert {type(row) for row in await asyncio.gather(*running, *waiting)} == {dict}
    assert source.outcomes == ["refused"]


async def test_a_caller_behind_many_statements_waits_for_a_limited_time() -> None:
    source = Source(wait=0.8)
    running = source.ask(IDS[0])
    await let_run()
    running += source.ask(IDS[1])
    await let_run()
    few = source.ask(*(uuid4() for _ in range(MAX_KEYS * keyed_reads.MAX_STATEMENTS_AHEAD)))
    late = source.ask(*IDS[2:5])
    failed = await asyncio.gather(*late, return_exceptions=True)
    assert [type(each) for each in failed] == [DatabaseUnavailableError] * 3
    assert source.outcomes == ["timed_out"] * 3
    source.open.set()
    assert {type(row) for row in await asyncio.gather(*running, *few)} == {dict}
    assert not {*IDS[2:5]} & {key for keys in source.sent for key in keys}


@pytest.mark.parametrize(("waits", "first"), [(0, False), (1, True), (TURNS + 1, False)])
async def test_a_statement_goes_first_if_one_of_its_callers_does(waits: int, first: bool) -> None:
    source = Source()
    gate, order = source.gate, []

    async def read(keys: list[UUID]) -> dict[UUID, object]:
        async with gate.place():
            order.append("read")
        return {}

    async def visit() -> None:
        async with gate.place():
            order.append("new")

    reads = KeyedReads(read, gate)
    reads._is_shared = True
    for _ in range(4):
        await gate.acquire()
    visits = [asyncio.ensure_future(visit()) for _ in range(2)]
    await let_run()
    found = [asyncio.ensure_future(reads.find(IDS[0]))]
    admitted.set(Counter({gate: waits}))
    found.append(asyncio.ensure_future(reads.find(IDS[1])))
    await let_run()
    gate.release()
    await asyncio.gather(*visits, *found)
    assert order == (["read", "new", "new"] if first else ["new", "new", "read"])


async def test_keys_of_callers_that_gave_up_are_not_read() -> None:
    source = Source()
    running = source.ask(IDS[0])
    await let_run()
    running += source.ask(IDS[1])
    await let_run()
    gone = source.ask(IDS[2])
    await let_run()
    gone[0].cancel()
    await let_run()
    source.open.set()
    await asyncio.gather(*running)
    await let_run()
    assert source.sent == [[IDS[0]], [IDS[1]]]


@pytest.mark.parametrize(
    "statement",
    [
        NOTES.select().with_only_columns(NOTES.c.name),
        NOTES.select().with_only_columns(NOTES.c.id.label("note_id")),
        NOTES.select().with_only_columns(OTHERS.c.id),
        NOTES.select().where(NOTES.c.name == bindparam("name")),
        NOTES.select().limit(1),
        NOTES.select().offset(1),
        NOTES.select().fetch(1),
    ],
    ids=str,
)
def test_statements_that_cannot_be_shared_are_refused(statement: Select[Any]) -> None:
    with pytest.raises(TypeError, match="statement"):
        KeyedQuery(statement, NOTES.c.id)


async def test_large_rows_are_read_alone_and_in_parallel(
    database: Database, notes: psycopg.AsyncConnection, statements: Statements
) -> None:
    large = KeyedQuery(NOTES.select(), NOTES.c.id, max_keys=1)
    async with notes.transaction():
        await notes.execute("LOCK TABLE made_notes")
        found = [asyncio.ensure_future(database.primary.find(large, key)) for key in IDS[:4]]
        await asyncio.sleep(0.1)
        assert database.primary.gate.in_use == 4
    assert [row and row["id"] for row in await asyncio.gather(*found)] == IDS[:4]
    assert len([each for each in statements if "FROM made_notes" in each]) == 4


def test_the_size_of_rows_limits_the_keys() -> None:
    assert (rows_within([]), rows_within([10_000]), rows_within([500_000])) == (2048, 34, 1)
    assert NOTE.max_keys == MAX_KEYS
    assert sample("items.service", "ITEMS").by_id.max_keys == 34
    assert sample("articles.queries", "ARTICLE").max_keys == 1


async def test_the_pool_bounds_the_wait(database_url: str, notes: object) -> None:
    database = Database(database_url, size=1, timeouts=Timeouts(pool=0.05))
    try:
        async with database.primary.gate.place():
            found = await asyncio.gather(
                *(database.primary.find(NOTE, key) for key in IDS[:3]), return_exceptions=True
            )
        assert {type(each) for each in found} == {DatabaseUnavailableError}
        assert await database.primary.find(NOTE, IDS[0]) is not None
    finally:
        await database.close()
