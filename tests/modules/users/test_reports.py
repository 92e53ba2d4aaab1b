"""Export and statistics of all accounts."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import sql

from tests.actors import Actor, ActorFactory
from tests.applications import MODULES
from tests.statements import Statements

EXPORT = "/api/v1/users/export"
STATISTICS = "/api/v1/users/statistics"
# Accounts `user1@example.com` and so on, the first of them the newest, a minute apart.
INSERT = """
INSERT INTO users (id, email, email_key, full_name, is_active, is_verified, created_at, updated_at,
    sessions_valid_after)
SELECT gen_random_uuid(), name, name, '=SUM(1)', i %% 2 = 0, i %% 5 = 0,
    now() - i * interval '1 minute', now(), now()
FROM generate_series(1, %s) AS i, LATERAL (SELECT 'user' || i || '@example.com' AS name) AS named
"""


def insert_accounts(url: str, count: int) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(INSERT, [count])


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


async def test_csv_has_a_row_for_each_account(admin: Actor, database_url: str) -> None:
    insert_accounts(database_url, 1100)  # More than two batches.
    response = await admin.get(EXPORT, params={"format": "csv"})
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.headers["content-disposition"] == 'attachment; filename="users.csv"'
    assert response.headers["cache-control"] == "no-store"
    header, first = response.text.split("\r\n")[:2]
    assert header == (
        "id,email,username,full_name,is_active,is_verified,roles,avatar_url,created_at,updated_at"
    )
    listed = (await admin.get("/api/v1/users", params={"limit": 1})).json()["data"][0]
    assert first.startswith(f"{listed['id']},root@example.com,root,,true,false,admin,")
    assert first.endswith(f",{listed['created_at']},{listed['updated_at']}")
    rows = rows_of(response.text)
    assert [row["email"] for row in rows] == [
        "root@example.com",
        *(f"user{number}@example.com" for number in range(1, 1101)),
    ]
    assert rows[1]["full_name"] == "'=SUM(1)"


async def test_ndjson_has_the_accounts_of_the_list(admin: Actor, ada: Actor) -> None:
    response = await admin.get(EXPORT, params={"format": "ndjson"})
    assert response.headers["content-type"] == "application/x-ndjson"
    listed = (await admin.get("/api/v1/users")).json()["data"]
    assert [json.loads(line) for line in response.text.splitlines()] == listed
    assert {each["email"] for each in listed} == {admin.email, ada.email}


async def test_filters_search_and_sort_are_those_of_the_list(
    admin: Actor, actor: ActorFactory
) -> None:
    for name in ("carl", "bert"):
        await actor(name)
    await actor("edith", roles=("editor",))
    for query, expected in (
        ("role=member&sort=username", ["bert", "carl"]),
        ("q=ER", ["bert"]),
        ("sort=email&is_active=true", ["bert", "carl", "edith", "root"]),
        ("sort=-username", ["root", "edith", "carl", "bert"]),
        ("created_before=2020-01-01T00:00:00Z", []),
    ):
        response = await admin.get(f"{EXPORT}?{query}")
        assert [row["username"] for row in rows_of(response.text)] == expected


@pytest.mark.parametrize("path", [EXPORT, STATISTICS])
async def test_they_need_a_permission(ada: Actor, editor: Actor, path: str) -> None:
    for caller in (ada, editor):
        assert (await caller.get(path)).status_code == 403


async def test_totals_and_new_accounts_per_day(admin: Actor, database_url: str) -> None:
    today = datetime.now(UTC).date()
    midnight = datetime(today.year, today.month, today.day, tzinfo=UTC)
    for number, moment in enumerate(
        (
            midnight - timedelta(days=2),
            midnight - timedelta(days=1, microseconds=1),
            midnight - timedelta(days=2, microseconds=1),
        )
    ):
        insert_account(database_url, number, moment, is_active=number > 0, is_verified=number > 1)
    found = await admin.get(STATISTICS, params={"days": 3})
    assert found.status_code == 200
    assert found.json() == {
        "total": 4,
        "active": 3,
        "verified": 1,
        "new_per_day": [
            {"date": str(today - timedelta(days=2)), "count": 2},
            {"date": str(today - timedelta(days=1)), "count": 0},
            {"date": str(today), "count": 1},
        ],
    }
    usual = (await admin.get(STATISTICS)).json()["new_per_day"]
    assert len(usual) == 30
    assert sum(day["count"] for day in usual) == 4
    longest = (await admin.get(STATISTICS, params={"days": 366})).json()["new_per_day"]
    assert len({day["date"] for day in longest}) == 366


def insert_account(
    url: str, number: int, moment: datetime, *, is_active: bool, is_verified: bool
) -> None:
    name = f"made{number}@example.com"
    with psycopg.connect(url) as connection:
        # The session's zone must not matter.
        connection.execute("SET timezone TO 'Pacific/Auckland'")
        connection.execute(
            "INSERT INTO users (id, email, email_key, is_active, is_verified, created_at,"
            " updated_at, sessions_valid_after)"
            " VALUES (gen_random_uuid(), %s, %s, %s, %s, %s, now(), now())",
            [name, name, is_active, is_verified, moment],
        )


@pytest.mark.parametrize("days", ["0", "367", "-1", "x", "1.5", "", "30&days=30"])
async def test_days_out_of_range_are_refused(admin: Actor, days: str) -> None:
    response = await admin.get(f"{STATISTICS}?days={days}")
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "query.days"


async def test_each_number_takes_one_statement(
    admin: Actor, statements: Statements, database_url: str
) -> None:
    insert_accounts(database_url, 50)
    counting = len([module for module in MODULES if module.statistics])
    for path, count in ((STATISTICS, 2), ("/api/v1/users/me/statistics", counting)):
        await admin.get(path)
        statements.clear()
        await admin.get(path)
        read = [each for each in statements if "count(" in each]
        assert len(read) == count, statements
        # Beside them, only the caller is read.
        others = [each for each in statements if each not in read and "BEGIN" not in each]
        assert len([each for each in others if "SELECT" in each]) == 1, others


async def test_ones_own_statistics_count_open_sessions(ada: Actor, database_url: str) -> None:
    path = "/api/v1/users/me/statistics"
    nothing = (await ada.get(path)).json()
    assert nothing == dict.fromkeys(nothing, 0) | {"sessions": 1}
    with psycopg.connect(database_url) as connection:
        for column in ("revoked_at", "expires_at"):
            # A session that has ended, or expired.
            connection.execute("CREATE TEMP TABLE copied AS SELECT * FROM sessions LIMIT 1")
            connection.execute(
                sql.SQL(
                    "UPDATE copied SET id = gen_random_uuid(), user_id = %s, {} = now()"
                ).format(sql.Identifier(column)),
                [ada.id],
            )
            connection.execute("INSERT INTO sessions SELECT * FROM copied")
            connection.execute("DROP TABLE copied")
    assert (await ada.get(path)).json() == nothing
