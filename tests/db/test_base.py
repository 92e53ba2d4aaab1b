"""Ids sort by time, and stored times are in UTC."""

import time
from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from uuid import RFC_4122, UUID

import psycopg
import pytest
from sqlalchemy.exc import StatementError

from backend.core.context import Context
from backend.db.base import utc_now, uuid7
from backend.modules.users.models import User


def test_id_is_a_uuid_of_version_7() -> None:
    for _ in range(1000):
        made = uuid7()
        assert (made.version, made.variant) == (7, RFC_4122)
        assert UUID(str(made)) == made


def test_ids_tell_when_they_were_made() -> None:
    before = time.time_ns() // 1_000_000
    milliseconds = uuid7().int >> 80
    assert before <= milliseconds <= time.time_ns() // 1_000_000


def test_ids_are_never_the_same() -> None:
    assert len({uuid7() for _ in range(100_000)}) == 100_000


@pytest.mark.parametrize("step", [245, 1_000, 1_000_000, 10**9])
def test_later_ids_sort_behind_earlier_ones(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """The clock steps by a quarter of a microsecond or more, also across milliseconds."""
    clock = count(1_800_000_000_000_000_000 - 10 * step, step)
    monkeypatch.setattr(time, "time_ns", clock.__next__)
    made = [uuid7() for _ in range(10_000)]
    assert made == sorted(made)
    assert [str(each) for each in made] == sorted(map(str, made))
    assert [each.bytes for each in made] == sorted(each.bytes for each in made)


def test_ids_of_one_moment_differ_and_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    for moment in (0, 999_999, 1_800_000_000_000_999_999, 2**48 * 1_000_000 - 1):
        monkeypatch.setattr(time, "time_ns", lambda moment=moment: moment)
        made = {uuid7() for _ in range(1000)}
        assert len(made) == 1000
        assert {(each.version, each.variant) for each in made} == {(7, RFC_4122)}
        assert {each.int >> 80 for each in made} == {moment // 1_000_000}


def test_now_is_aware_and_in_utc() -> None:
    assert utc_now().tzinfo is UTC
    assert abs(utc_now() - datetime.now(UTC)) < timedelta(seconds=5)


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 3, 29, 1, 59, 59, 999_999, UTC),
        datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=-9, minutes=-30))),
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC),
    ],
)
async def test_times_come_back_in_utc_to_the_microsecond(
    context: Context, database_url: str, moment: datetime
) -> None:
    user = User(email="ada@example.com", created_at=moment)
    async with context.database.transaction() as session:
        session.add(user)
    async with context.database.transaction() as session:
        read = await session.get_one(User, user.id)
        assert (read.created_at, read.created_at.tzinfo) == (moment, UTC)
    with psycopg.connect(database_url, options="-c timezone=UTC") as connection:
        assert connection.execute("SELECT created_at FROM users").fetchone() == (moment,)


async def test_time_without_a_zone_is_refused(context: Context, database_url: str) -> None:
    async def write() -> None:
        async with context.database.transaction() as session:
            session.add(User(email="ada@example.com", created_at=datetime(2026, 1, 1)))  # noqa: DTZ001

    with pytest.raises(StatementError, match="must have timezone information"):
        await write()
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (0,)


async def test_change_is_dated_and_creation_stays(context: Context) -> None:
    async with context.database.transaction() as session:
        user = User(email="ada@example.com")
        session.add(user)
    made, changed = user.created_at, user.updated_at
    async with context.database.transaction() as session:
        read = await session.get_one(User, user.id)
        read.full_name = "Ada"
    assert read.created_at == made
    assert read.updated_at > changed
