"""The list of audit events."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Identifier, Literal

from backend.db.base import uuid7
from tests.actors import Actor, ActorFactory, Client
from tests.pages import expected_order, walk

EVENTS = "/api/v1/audit-events"
ADA, BOB = UUID(int=1), UUID(int=2)
MEMBERS = {
    "id",
    "occurred_at",
    "actor_id",
    "action",
    "target_type",
    "target_id",
    "outcome",
    "ip",
    "user_agent",
    "request_id",
    "changes",
}
ROWS: tuple[dict[str, Any], ...] = (
    {"actor_id": ADA, "action": "user.update", "target_type": "user", "target_id": str(BOB)},
    {"actor_id": BOB, "action": "user.update", "target_type": "user", "target_id": str(BOB)},
    {"actor_id": ADA, "action": "auth.login", "outcome": "failure", "ip": "2001:db8::1"},
    {"action": "auth.login", "outcome": "denied", "ip": "10.0.0.1", "user_agent": "curl/8 (x)"},
    {"action": "item.delete", "target_type": "item", "request_id": "abc.1"},
)


@pytest.fixture
def rows(admin: Actor, database: psycopg.Connection) -> list[dict[str, Any]]:
    """Five events, a day apart, the latest first."""
    # Delete the event that signing in has recorded.
    database.execute("SET session_replication_role = replica")
    database.execute("DELETE FROM audit_events")
    made = []
    for day, row in enumerate(ROWS, start=1):
        at = datetime(2026, 1, day, tzinfo=UTC)
        values = {"id": uuid7(), "occurred_at": at, "outcome": "success", **row}
        database.execute(
            SQL("INSERT INTO audit_events ({}) VALUES ({})").format(
                SQL(", ").join(map(Identifier, values)),
                SQL(", ").join(map(Literal, values.values())),
            )
        )
        made.append(values)
    return made[::-1]


async def found(admin: Actor, **filters: Any) -> list[str]:
    answer = await admin.get(EVENTS, params=filters)
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()["data"]]


async def test_the_latest_comes_first_and_is_told_whole(
    admin: Actor, rows: list[dict[str, Any]]
) -> None:
    page = (await admin.get(EVENTS, params={"total": "true"})).json()
    assert [each["id"] for each in page["data"]] == [str(row["id"]) for row in rows]
    assert page["total"] == 5
    assert all(each.keys() == MEMBERS for each in page["data"])
    assert page["data"][0]["occurred_at"] == "2026-01-05T00:00:00.000000Z"


@pytest.mark.parametrize(
    ("filters", "numbers"),
    [
        ({"actor_id": ADA}, [3, 1]),
        ({"action": "auth.login"}, [4, 3]),
        ({"target_type": "user"}, [2, 1]),
        ({"target_id": BOB, "actor_id": BOB}, [2]),
        ({"outcome": "failure"}, [3]),
        ({"outcome": "denied"}, [4]),
        ({"ip": "10.0.0.1"}, [4]),
        ({"ip": "::ffff:10.0.0.1"}, [4]),
        ({"ip": "2001:0DB8:0:0::1"}, [3]),
        ({"user_agent": "curl/8 (x)"}, [4]),
        ({"user_agent": "curl"}, []),
        ({"request_id": "abc.1"}, [5]),
        ({"action": "no.such"}, []),
        ({"occurred_after": "2026-01-04T00:00:00Z"}, [5, 4]),
        ({"occurred_before": "2026-01-02T00:00:00Z"}, [1]),
        (
            {
                "occurred_after": "2026-01-02T01:00:00+01:00",
                "occurred_before": "2026-01-03T00:00:00Z",
            },
            [2],
        ),
        ({"created_after": "2026-01-04T00:00:00Z"}, [5, 4]),
        ({"created_before": "2026-01-02T00:00:00Z"}, [1]),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
async def test_filters(
    admin: Actor, rows: list[dict[str, Any]], filters: dict[str, Any], numbers: list[int]
) -> None:
    by_number = {5 - place: str(row["id"]) for place, row in enumerate(rows)}
    assert await found(admin, **filters) == [by_number[number] for number in numbers]


async def test_one_event_is_found_by_its_id(admin: Actor, rows: list[dict[str, Any]]) -> None:
    assert await found(admin, id=rows[2]["id"]) == [str(rows[2]["id"])]
    assert await found(admin, id=uuid4()) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", "5"),
        ("actor_id", "ada"),
        ("action", "login"),
        ("action", "Auth.Login"),
        ("action", "a." + "b" * 50),
        ("target_type", ""),
        ("target_type", "t" * 51),
        ("target_id", "t" * 256),
        ("outcome", "ok"),
        ("ip", "10.0.0"),
        ("ip", "10.0.0.0/8"),
        ("ip", ""),
        ("user_agent", ""),
        ("user_agent", "u" * 256),
        ("request_id", "r" * 129),
        ("occurred_after", "2026-01-01T00:00:00"),
        ("occurred_before", "yesterday"),
        ("changes", "{}"),
        ("sort", "action"),
        ("q", "login"),
        ("fields", "password"),
        ("target_id", "\0"),
    ],
)
async def test_bad_values_are_refused(admin: Actor, name: str, value: str) -> None:
    refused = await admin.get(EVENTS, params={name: value})
    assert refused.status_code == 422
    assert [each["field"] for each in refused.json()["errors"]] == [f"query.{name}"]


@pytest.mark.parametrize("sort", ["occurred_at", "-occurred_at"])
async def test_pages_hold_every_event_once_also_of_one_moment(
    admin: Actor, database: psycopg.Connection, sort: str
) -> None:
    database.execute(
        "INSERT INTO audit_events (id, occurred_at, action, outcome)"
        " SELECT gen_random_uuid(), '2026-01-01', 'test.done', 'success' FROM generate_series(1, 7)"
    )

    async def page_of(**parameters: Any) -> dict[str, Any]:
        parameters |= {"limit": 2, "sort": sort, "action": "test.done"}
        page: dict[str, Any] = (await admin.get(EVENTS, params=parameters)).json()
        return page

    rows = await walk(page_of)
    assert len({row["id"] for row in rows}) == 7
    assert rows == expected_order(rows, sort)


async def test_parts_of_an_event(admin: Actor, rows: list[dict[str, Any]]) -> None:
    page = (await admin.get(EVENTS, params={"fields": "action,ip", "limit": 1})).json()
    assert page["data"] == [{"action": "item.delete", "ip": None}]


async def test_only_holders_of_the_permission_read_it(
    client: Client, ada: Actor, editor: Actor, actor: ActorFactory
) -> None:
    assert (await client.get(EVENTS)).status_code == 401
    for each in (ada, editor, await actor("vera", roles=("viewer",))):
        refused = await each.get(EVENTS, params={"no": "such"})
        assert refused.json()["error"] == "PERMISSION_DENIED"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_nobody_writes_it_by_hand(admin: Actor, method: str) -> None:
    assert (await admin.request(method, EVENTS, json={})).status_code == 405
