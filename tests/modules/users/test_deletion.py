"""Deleting an account deletes its data."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import func, select, text
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context, Eraser, PersonalData
from backend.core.module import Module
from backend.core.personal_data import personal_data_of
from backend.core.principal import Principal
from backend.modules.users import service as users
from backend.modules.users.models import User
from tests.actors import PASSWORD, Actor, ActorFactory, Client
from tests.jobs import run_jobs
from tests.statements import Statements, waits_for_a_lock

USERS = "/api/v1/users"


async def rows_of(database_url: str, user_id: object) -> dict[str, int]:
    """Return the number of this user's rows in each table, found through the foreign keys."""
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        columns = await connection.execute(
            "SELECT a.attrelid::regclass::text, a.attname FROM pg_constraint c "
            "JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey) "
            "WHERE c.contype = 'f' AND c.confrelid = 'users'::regclass"
        )
        found = {}
        for table, column in [("users", "id"), *await columns.fetchall()]:
            statement = f"SELECT count(*) FROM {table} WHERE {column} = %s"  # noqa: S608  # names from the catalogue
            counted = await (await connection.execute(statement, [user_id])).fetchone()
            assert counted is not None
            found[table] = counted[0]
    return found


def mentions_of(database_url: str, user_id: object) -> set[str]:
    """Return the tables of the application with this id in a column of ids, texts or JSON."""
    with psycopg.connect(database_url) as connection:
        columns = connection.execute(
            "SELECT table_name, column_name FROM information_schema.columns"
            " WHERE table_schema = 'public' AND data_type IN"
            " ('uuid', 'text', 'character varying', 'jsonb')"
        ).fetchall()
        return {
            table
            for table, column in columns
            if connection.execute(
                sql.SQL("SELECT FROM {} WHERE {}::text LIKE %s LIMIT 1").format(
                    sql.Identifier(table), sql.Identifier(column)
                ),
                [f"%{user_id}%"],
            ).rowcount
        }


async def test_afterwards_only_the_audit_record_knows_the_id(
    ada: Actor, bob: Actor, context: Context, database_url: str
) -> None:
    for actor in (ada, bob):
        article = await possessions(actor)
        await actor.patch(article, json={"content": "Long. " * 100})
        change = {"email": f"new-{actor.email}", "current_password": PASSWORD}
        assert (await actor.patch(f"{USERS}/me", json=change)).status_code == 200
    before = mentions_of(database_url, ada.id)
    assert before >= {"users", "user_roles", "sessions", "items", "articles", "mailed_tokens"}
    assert (await ada.delete(f"{USERS}/me")).status_code == 204
    assert mentions_of(database_url, bob.id) == before
    # The counts of stored bytes are erased by a job.
    left = {"audit_events", "procrastinate_jobs", "stored_bytes"}
    assert mentions_of(database_url, ada.id) == left
    await run_jobs(context)
    assert mentions_of(database_url, ada.id) == {"audit_events"}


async def test_a_concurrent_write_of_the_owner_is_no_deadlock(
    ada: Actor, statements: Statements
) -> None:
    deletions: list[asyncio.Task[httpx.Response]] = []

    async def delete() -> None:
        # The write has counted its bytes, and locks the account next.
        deletions.append(asyncio.create_task(ada.delete(f"{USERS}/me")))
        await asyncio.wait(deletions, timeout=0.5)

    new = {"title": "Tea", "description": "Long. " * 100}
    assert (await ada.post("/api/v1/items", json=new)).status_code == 201
    statements.before("INSERT INTO items", delete)
    late = await ada.post("/api/v1/items", json=new)
    assert (await deletions[0]).status_code == 204
    assert late.status_code == 401


async def delete_me(context: Context, actor: Actor) -> None:
    async with context.database.transaction() as session:
        by = Principal(actor.id, actor.session_id, frozenset())
        await users.delete_me(context, session, by)


async def test_erasers_run_before_the_row_is_deleted_dependents_first(
    context: Context, ada: Actor
) -> None:
    calls: list[str] = []

    def eraser(name: str) -> Eraser:
        async def erase(_: Context, session: AsyncSession, user_id: UUID) -> None:
            assert user_id == ada.id
            assert await session.scalar(select(func.count()).select_from(User)) == 1
            calls.append(name)

        return erase

    modules = [Module(name=name, erase=eraser(name)) for name in ("first", "second")]
    erasing = replace(context, personal_data=personal_data_of(modules))
    await delete_me(erasing, ada)
    assert calls == ["second", "first"]


async def test_an_eraser_that_fails_keeps_everything(
    context: Context, ada: Actor, database_url: str
) -> None:
    await possessions(ada)
    before = await rows_of(database_url, ada.id)

    async def erase_items(_: Context, session: AsyncSession, user_id: UUID) -> None:
        await (await session.connection()).execute(text("DELETE FROM items"))

    async def fail(_: Context, _session: AsyncSession, _user_id: UUID) -> None:
        raise RuntimeError("the module has a defect")

    failing = replace(context, personal_data=PersonalData(erasers=[erase_items, fail]))
    with pytest.raises(RuntimeError):
        await delete_me(failing, ada)
    assert await rows_of(database_url, ada.id) == before
    assert (await ada.get(f"{USERS}/me")).status_code == 200


async def possessions(actor: Actor) -> str:
    """Create an item and a published article, and return the path of the article."""
    assert (await actor.post("/api/v1/items", json={"title": "Milk"})).status_code == 201
    article = await actor.post("/api/v1/articles", json={"title": "Notes", "content": "Text."})
    where: str = article.headers["location"]
    assert (await actor.post(f"{where}/publish")).status_code == 200
    return where


@pytest.mark.parametrize("by", ["oneself", "an administrator"])
async def test_everything_goes_with_the_account(
    ada: Actor, bob: Actor, admin: Actor, client: Client, database_url: str, by: str
) -> None:
    article = await possessions(ada)
    bobs_article = await possessions(bob)
    before = await rows_of(database_url, ada.id)
    assert before.keys() >= {"users", "items", "articles", "sessions", "user_roles"}
    assert all(before[table] for table in ("users", "items", "articles", "sessions", "user_roles"))
    caller, path = (ada, "me") if by == "oneself" else (admin, str(ada.id))
    assert (await caller.delete(f"{USERS}/{path}")).status_code == 204
    assert set((await rows_of(database_url, ada.id)).values()) == {0}
    assert (await client.get(article)).status_code == 404
    assert (await client.get(bobs_article)).status_code == 200
    assert [user["username"] for user in (await admin.get(USERS)).json()["data"]] == ["root", "bob"]


async def test_a_deleted_users_token_is_good_for_nothing(ada: Actor) -> None:
    assert (await ada.delete(f"{USERS}/me")).status_code == 204
    for method, path in (
        ("GET", f"{USERS}/me"),
        ("DELETE", f"{USERS}/me"),
        ("GET", "/api/v1/articles"),
        ("POST", "/api/v1/auth/logout"),
    ):
        answer = await ada.request(method, path)
        assert answer.status_code == 401
        assert answer.json()["error"] == "INVALID_TOKEN"


@pytest.mark.parametrize("path", ["/api/v1/items", "/api/v1/articles"])
async def test_what_is_made_while_its_owner_is_deleted_is_theirs_no_more(
    ada: Actor, database_url: str, path: str
) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute("DELETE FROM users WHERE id = %s", [ada.id])
        # Ada's row is visible until the deletion is committed; the insert waits for that.
        made = asyncio.ensure_future(ada.post(path, json={"title": "Too late"}))
        await waits_for_a_lock(connection, made)
    answer = await made
    assert (answer.status_code, answer.json()["error"]) == (401, "INVALID_TOKEN")


async def test_the_address_and_the_username_are_free_again(ada: Actor, client: Client) -> None:
    await ada.delete(f"{USERS}/me")
    credentials = {"email": ada.email, "password": PASSWORD}
    refused = await client.post("/api/v1/auth/login", json=credentials)
    assert (refused.status_code, refused.json()["error"]) == (401, "INVALID_CREDENTIALS")
    again = await client.post("/api/v1/auth/register", json={**credentials, "username": "ADA"})
    assert again.status_code == 201
    assert again.json()["id"] != str(ada.id)
    assert (await client.post("/api/v1/auth/login", json=credentials)).status_code == 200
    # The new account has another id, so the old token is invalid.
    assert (await ada.get(f"{USERS}/me")).status_code == 401


async def test_a_refused_deletion_deletes_nothing(
    admin: Actor, context: Context, database_url: str
) -> None:
    await possessions(admin)
    before = await rows_of(database_url, admin.id)
    refused = await admin.delete(f"{USERS}/me")
    assert refused.status_code == 409
    assert await rows_of(database_url, admin.id) == before


async def test_deletion_needs_its_own_permission(
    actor: ActorFactory, ada: Actor, bob: Actor
) -> None:
    for caller in (ada, await actor("edith", roles=("editor",))):
        refused: Any = await caller.delete(f"{USERS}/{bob.id}")
        assert refused.status_code == 403
