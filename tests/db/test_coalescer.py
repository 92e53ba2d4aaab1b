"""Concurrent loads share a round trip, and no load returns a value from before it began."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import psycopg
import pytest
from sqlalchemy import bindparam, column, func, select, table

from backend.db.coalescer import Coalescer
from backend.db.connections import Timeouts
from backend.db.database import Database
from backend.db.query_runner import Query

NOTES = table("made_jots", column("name"))
ASK = Query(
    select(func.count().label("n")).select_from(NOTES).where(NOTES.c.name == bindparam("name"))
)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    made = Database(database_url, size=2, timeouts=Timeouts())
    yield made
    await made.close()


class Place:
    """A `send` that returns once `open` is set; its values hold the number of the call."""

    def __init__(self) -> None:
        self.asked: list[dict[str, int]] = []
        self.open = asyncio.Event()

    async def send(self, questions: Mapping[str, int]) -> dict[str, str]:
        self.asked.append(dict(questions))
        number = len(self.asked)
        await self.open.wait()
        if "broken" in questions:
            raise OSError(number)
        return {key: f"{key} {number}" for key in questions}


async def test_who_asks_meanwhile_shares_the_next_round_trip() -> None:
    place = Place()
    coalescer = Coalescer(place.send)
    first = asyncio.ensure_future(coalescer.load("a"))
    await asyncio.sleep(0)
    later = asyncio.gather(*(coalescer.load(key) for key in "aab"))
    await asyncio.sleep(0)
    place.open.set()
    assert await first == ("a 1", 0)
    assert await later == [("a 2", 0), ("a 2", 1), ("b 2", 0)]
    assert place.asked == [{"a": 1}, {"a": 2, "b": 1}]
    assert await coalescer.load("a") == ("a 3", 0)


async def test_a_failure_is_that_of_all_who_share_it() -> None:
    place = Place()
    place.open.set()
    coalescer = Coalescer(place.send)
    found = await asyncio.gather(
        *(coalescer.load(key) for key in ("broken", "a")), return_exceptions=True
    )
    assert [type(each) for each in found] == [OSError, OSError]
    assert await coalescer.load("a") == ("a 2", 0)


async def test_who_gives_up_takes_nobody_along() -> None:
    place = Place()
    coalescer = Coalescer(place.send)
    first = asyncio.ensure_future(coalescer.load("a"))
    await asyncio.sleep(0)
    second, third = (asyncio.ensure_future(coalescer.load("a")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    second.cancel()
    place.open.set()
    assert await third == ("a 2", 1)
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_equal_reads_share_an_answer_and_others_do_not(
    database: Database, database_url: str
) -> None:
    shared = database.primary.shared
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute("CREATE TABLE made_jots (name text)")
        await connection.commit()
        found = await asyncio.gather(
            *(shared(ASK, name="a") for _ in range(20)), shared(ASK, name="b")
        )
        assert found[0] == [{"n": 0}]
        assert all(each is found[1] for each in found[2:20])
        assert found[20] is not found[1]
        # A load after a commit sees the commit, also while earlier loads are running.
        await connection.execute("LOCK TABLE made_jots")
        held = asyncio.ensure_future(shared(ASK, name="a"))
        await asyncio.sleep(0)
        await connection.execute("INSERT INTO made_jots VALUES ('a')")
        await connection.commit()
        assert await shared(ASK, name="a") == [{"n": 1}]
        await held
