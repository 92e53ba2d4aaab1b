"""Audit events are stored in the transaction of the change."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import psycopg
import pytest

from backend.core.context import Context
from backend.modules.audit import service as audit
from backend.modules.audit.service import changes_of
from tests.actors import Actor, Client
from tests.modules.audit.conftest import ids

EVENTS = "/api/v1/audit-events"
ITEMS, ARTICLES = "/api/v1/items", "/api/v1/articles"
LONG = "A text that nobody wants to read in the record. " * 20


async def events(admin: Actor, **filters: Any) -> list[dict[str, Any]]:
    """Return the events of items and articles, the earliest first."""
    answer = await admin.get(EVENTS, params={"limit": 100, "sort": "occurred_at", **filters})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return [each for each in found if each["target_type"] in ("item", "article")]


async def made(actor: Actor, path: str, **members: Any) -> str:
    answer = await actor.post(path, json={"title": "Milk", **members})
    assert answer.status_code == 201, answer.text
    where: str = answer.headers["location"]
    return where


async def test_ones_own_writing_is_ones_own_business(ada: Actor, admin: Actor) -> None:
    for path in (ITEMS, ARTICLES):
        where = await made(ada, path)
        await ada.patch(where, json={"title": "Bread"})
        await ada.get(where)
    assert await events(admin) == []


async def test_a_deleted_item_is_recorded(ada: Actor, admin: Actor) -> None:
    where = await made(ada, ITEMS)
    headers = {"X-Request-ID": "of-ada", "User-Agent": "a browser"}
    assert (await ada.delete(where, headers=headers)).status_code == 204
    (event,) = await events(admin)
    assert event == {
        "id": event["id"],
        "occurred_at": event["occurred_at"],
        "actor_id": str(ada.id),
        "action": "item.delete",
        "target_type": "item",
        "target_id": where.rpartition("/")[2],
        "outcome": "success",
        "ip": "127.0.0.1",
        "user_agent": "a browser",
        "request_id": "of-ada",
        "changes": {"owner_id": {"old": str(ada.id), "new": None}},
    }


async def test_others_changes_to_an_item_are_recorded(ada: Actor, admin: Actor) -> None:
    where = await made(ada, ITEMS)
    await admin.patch(where, json={"title": "Bread", "description": LONG})
    await admin.patch(where, json={})
    await admin.patch(where, json={"title": "Bread"})
    await admin.delete(where)
    update, delete = await events(admin)
    assert (update["action"], delete["action"]) == ("item.update", "item.delete")
    assert {update["actor_id"], delete["actor_id"]} == {str(admin.id)}
    assert update["changes"] == {
        "title": {"old": "Milk", "new": "Bread"},
        "description": {"changed": True},
    }


async def test_what_becomes_of_an_article_is_recorded(ada: Actor, admin: Actor) -> None:
    where = await made(ada, ARTICLES, content=LONG)
    for action in ("publish", "unpublish", "archive"):
        assert (await ada.post(f"{where}/{action}")).status_code == 200
        assert (await ada.post(f"{where}/{action}")).status_code in (200, 409)
    await ada.delete(where)
    found = await events(admin)
    assert [event["action"] for event in found] == [
        "article.publish",
        "article.unpublish",
        "article.archive",
        "article.delete",
    ]
    assert {event["target_id"] for event in found} == {where.rpartition("/")[2]}
    status = [event["changes"]["status"] for event in found]
    assert status == [
        {"old": "draft", "new": "published"},
        {"old": "published", "new": "draft"},
        {"old": "draft", "new": "archived"},
        {"old": "archived", "new": None},
    ]
    assert found[0]["changes"]["published_at"]["new"].endswith("Z")
    assert LONG not in str(found)


async def test_others_changes_to_an_article_are_recorded(
    ada: Actor, editor: Actor, admin: Actor
) -> None:
    where = await made(ada, ARTICLES, content="Text.")
    await ada.post(f"{where}/publish")
    assert (await editor.patch(where, json={"content": "Other."})).status_code == 200
    assert (await editor.patch(where, json={"content": None})).status_code == 422
    publish, update = await events(admin)
    assert (publish["action"], update["action"]) == ("article.publish", "article.update")
    assert update["actor_id"] == str(editor.id)
    assert update["changes"] == {"content": {"changed": True}}


async def test_a_record_goes_with_its_transaction(
    context: Context, database: psycopg.Connection
) -> None:
    async def fail() -> None:
        async with context.database.transaction() as session:
            await audit.record(session, "test.done")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert ids(database) == []
    assert database.execute("SELECT FROM audit_waiting").fetchall() == []


async def test_outside_a_request_there_is_nobody_to_name(
    context: Context, database: psycopg.Connection
) -> None:
    async with context.database.transaction() as session:
        await audit.record(session, "test.done", outcome="failure")
    row = database.execute(
        "SELECT actor_id, target_type, ip, user_agent, request_id, changes, outcome"
        " FROM audit_events"
    ).fetchone()
    assert row == (None, None, None, None, None, None, "failure")


async def test_the_record_outlives_the_account(ada: Actor, admin: Actor) -> None:
    await ada.delete(await made(ada, ITEMS))
    assert (await ada.delete("/api/v1/users/me")).status_code == 204
    assert [event["actor_id"] for event in await events(admin)] == [str(ada.id)]


async def test_a_secret_is_not_written_whoever_hands_it_over(
    context: Context, database: psycopg.Connection
) -> None:
    secret = "correct horse"
    changes = {name: {"old": None, "new": secret} for name in ("password", "api_secret")}
    changes["refresh_token"] = changes_of({}, {"password_hash": secret})
    async with context.database.transaction() as session:
        await audit.record(session, "test.done", changes={**changes, "name": "ada"})
    (found,) = database.execute("SELECT changes FROM audit_events").fetchone() or ()
    hidden = {"changed": True}
    assert found == {
        "password": hidden,
        "api_secret": hidden,
        "refresh_token": hidden,
        "name": "ada",
    }


async def test_no_password_or_token_is_on_record_after_signing_in_and_out(
    ada: Actor, client: Client, database: psycopg.Connection
) -> None:
    login = {"email": ada.email, "password": "NewUser123!"}
    tokens = (await client.post("/api/v1/auth/login", json=login)).json()
    await client.post("/api/v1/auth/login", json={**login, "password": "a wrong one"})
    await ada.post("/api/v1/auth/logout")
    (found,) = database.execute("SELECT json_agg(e)::text FROM audit_events e").fetchone() or ()
    secrets = [login["password"], "a wrong one", tokens["access_token"], ada.token]
    assert not [secret for secret in secrets if secret in (found or "")]


MOMENT = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
ID = UUID("0198c1f2-7d3a-7c4e-9b5a-3f1e2d4c5b6a")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1}, {"a": 2}, {"a": {"old": 1, "new": 2}}),
        ({"a": 1}, {}, {"a": {"old": 1, "new": None}}),
        ({}, {"a": False, "b": None}, {"a": {"old": None, "new": False}}),
        (
            {"at": MOMENT},
            {"at": None},
            {"at": {"old": "2026-01-01T10:00:00.000000Z", "new": None}},
        ),
        ({"at": MOMENT}, {"at": MOMENT.astimezone(UTC)}, {}),
        ({}, {"id": ID}, {"id": {"old": None, "new": str(ID)}}),
        ({"r": {"b", "a"}}, {"r": ["a", "b"]}, {}),
        ({"r": ("a",)}, {"r": ["a", "b"]}, {"r": {"old": ["a"], "new": ["a", "b"]}}),
        ({"text": "a"}, {"text": LONG}, {"text": {"changed": True}}),
        ({"mine": "a"}, {"mine": "b"}, {"mine": {"changed": True}}),
        ({"password_hash": "a"}, {"password_hash": "b"}, {"password_hash": {"changed": True}}),
    ],
    ids=lambda value: None,
)
def test_changes_are_told_member_by_member(
    before: dict[str, Any], after: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert changes_of(before, after, hidden=("mine",)) == expected
