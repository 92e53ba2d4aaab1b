"""Requests with an `Idempotency-Key` take effect once, and get one response."""

import asyncio
import hmac
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from fastapi import Depends, FastAPI
from psycopg.sql import SQL, Identifier
from sqlalchemy import MetaData, text
from sqlmodel import Field, SQLModel
from starlette.responses import Response

from backend.core.authorization import public
from backend.core.context import Context
from backend.core.http.dependencies import Session
from backend.core.http.routing import Router
from backend.core.module import Module
from backend.core.schemas import Schema
from backend.db.inserts import insert_row
from backend.modules.repeated_requests.jobs import PURGE_KEYS
from tests.actors import Actor, ActorFactory, Client
from tests.applications import MODULES, make_app, make_context
from tests.declared import operations_of, table
from tests.statements import Statements, waits_for_a_lock

API = "/api/v1"
ITEMS = f"{API}/items"
KEY = {"Idempotency-Key": "k-1"}
ROUTES: dict[str, Mapping[str, Any]] = table("REPEATABLE")
# Every header that a client acts on.
REPEATED = ("location", "etag", "content-type", "cache-control", "vary", "content-length")


@pytest.fixture
def db(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def rows(db: psycopg.Connection, table: str = "idempotency_keys") -> int:
    found = db.execute(SQL("SELECT count(*) FROM {}").format(Identifier(table))).fetchone()
    assert found is not None
    return int(found[0])


def is_replay(answer: httpx.Response) -> bool:
    return "idempotency-replayed" in answer.headers


def code(answer: httpx.Response) -> str:
    return str(answer.json()["error"])


def test_the_table_of_routes_is_complete(app: FastAPI) -> None:
    found = {
        f"{method.upper()} {path.removeprefix(API)}"
        for path, operations in app.openapi()["paths"].items()
        for method, operation in operations.items()
        if any(each["name"] == "Idempotency-Key" for each in operation.get("parameters", ()))
    }
    assert found & operations_of("REPEATABLE") == {f"POST {path}" for path in ROUTES}


@pytest.mark.parametrize("path", ROUTES)
async def test_a_repetition_gets_the_first_response(
    path: str, admin: Actor, client: Client, db: psycopg.Connection
) -> None:
    caller: Any = client if path == "/auth/register" else admin
    audited = rows(db, "audit_events")
    first = await caller.post(f"{API}{path}", json=ROUTES[path], headers=KEY)
    assert first.status_code == 201, first.text
    assert not is_replay(first)
    recorded = rows(db, "audit_events")
    second = await caller.post(f"{API}{path}/", json=ROUTES[path], headers=KEY)
    assert (second.status_code, second.content) == (201, first.content)
    assert second.headers["idempotency-replayed"] == "true"
    for name in REPEATED:
        assert second.headers.get(name) == first.headers.get(name), name
    assert (rows(db), rows(db, "audit_events")) == (1, recorded)
    assert recorded - audited <= 2
    other = {**ROUTES[path], "title" if "title" in ROUTES[path] else "full_name": "Other"}
    if path == "/roles":
        other = {"name": "other"}
    if "data" in other:
        other = {"data": other["data"][:1]}
    refused = await caller.post(f"{API}{path}", json=other, headers=KEY)
    assert (refused.status_code, code(refused)) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert (rows(db), rows(db, "audit_events")) == (1, recorded)


async def test_the_body_is_compared_by_its_meaning(ada: Actor) -> None:
    sent = b'{"title": "T\\u00e9a", "description": null}'
    headers = {**KEY, "Content-Type": "application/json"}
    first = await ada.post(ITEMS, content=sent, headers=headers)
    same = '{ "description":null,\n"title":"T\u00e9a" }'.encode()
    assert is_replay(await ada.post(ITEMS, content=same, headers=headers))
    assert first.status_code == 201


async def test_a_thread_hashes_large_bodies(ada: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    new, in_loop = hmac.new, []

    def recorded(*arguments: Any) -> hmac.HMAC:
        # Tokens of sign-in are verified with another function.
        if arguments[-1] == "sha256":
            in_loop.append(threading.current_thread() is threading.main_thread())
        return new(*arguments)

    monkeypatch.setattr(hmac, "new", recorded)
    body = {"data": [{"title": "Tea", "description": "x" * 9_000}] * 40}
    for replayed in (False, True):
        answer = await ada.post(f"{ITEMS}/bulk", json=body, headers=KEY)
        assert (answer.status_code, is_replay(answer)) == (201, replayed)
    assert in_loop == [False, False]


@pytest.mark.parametrize(
    "sent", ["", " ", "two words", "\u00e9", "a\tb", "x" * 256, "two lines", "\x7f"]
)
async def test_a_malformed_key_is_refused(sent: str, ada: Actor, db: psycopg.Connection) -> None:
    lines = [(b"Idempotency-Key", sent.encode())]
    if sent == "two lines":
        lines = [(b"Idempotency-Key", b"a"), (b"Idempotency-Key", b"a")]
    answer = await ada.post(ITEMS, json={"title": "Tea"}, headers=lines)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == "header.Idempotency-Key"
    assert rows(db, "items") == 0


@pytest.mark.parametrize("sent", ["!", '"quoted"', "~" * 255])
async def test_every_visible_key_is_accepted(sent: str, ada: Actor) -> None:
    for replayed in (False, True):
        answer = await ada.post(ITEMS, json={"title": "Tea"}, headers={"Idempotency-Key": sent})
        assert (answer.status_code, is_replay(answer)) == (201, replayed)


async def test_an_invalid_request_is_refused_before_its_key(ada: Actor, client: Client) -> None:
    bad = {"Idempotency-Key": "two words"}
    answer = await ada.post(ITEMS, json={}, headers=bad)
    assert [error["field"] for error in answer.json()["errors"]] == ["body.title"]
    assert (await client.post(ITEMS, json={}, headers=bad)).status_code == 401


async def test_errors_free_the_key(ada: Actor, admin: Actor, db: psycopg.Connection) -> None:
    invalid = await ada.post(ITEMS, json={"title": ""}, headers=KEY)
    assert invalid.status_code == 422
    assert (await ada.post(ITEMS, json={"title": "Tea"}, headers=KEY)).status_code == 201
    new = {"email": ada.email}
    taken = await admin.post(f"{API}/users", json=new, headers=KEY)
    assert (taken.status_code, rows(db)) == (409, 1)
    answer = await admin.post(f"{API}/users", json={"email": "x@example.com"}, headers=KEY)
    assert (answer.status_code, is_replay(answer)) == (201, False)


async def test_keys_belong_to_a_user_and_a_route(
    ada: Actor, bob: Actor, app: FastAPI, db: psycopg.Connection
) -> None:
    for actor in (ada, bob):
        for path in ("/items", "/articles"):
            answer = await actor.post(f"{API}{path}", json={"title": "Tea"}, headers=KEY)
            assert (answer.status_code, is_replay(answer)) == (201, False)
    assert rows(db) == 4
    # An anonymous caller is an address: of IPv6, a network.
    addresses = {"192.0.2.1": False, "192.0.2.2": None, "2001:db8::1": None, "2001:db8::2": None}
    statuses = []
    for address in [*addresses, "192.0.2.1"]:
        async with Client(app, address=address) as client:
            answer = await client.post(
                f"{API}/auth/register", json=ROUTES["/auth/register"], headers=KEY
            )
            statuses.append((answer.status_code, is_replay(answer)))
    assert statuses == [(201, False), (409, False), (409, False), (409, False), (201, True)]


async def test_a_former_key_of_the_server_still_compares(
    ada: Actor, app: FastAPI, context: Context
) -> None:
    await ada.post(ITEMS, json={"title": "Tea"}, headers=KEY)
    newer = (b"a newer secret, which is long enough as well", *context.secret_keys)
    app.state.context = replace(context, secret_keys=newer)
    assert is_replay(await ada.post(ITEMS, json={"title": "Tea"}, headers=KEY))
    refused = await ada.post(ITEMS, json={"title": "Coffee"}, headers=KEY)
    assert code(refused) == "IDEMPOTENCY_KEY_REUSED"


async def test_rights_are_checked_before_a_replay(
    admin: Actor, actor: ActorFactory, db: psycopg.Connection
) -> None:
    ada = await actor("ada")
    await ada.post(ITEMS, json={"title": "Tea"}, headers=KEY)
    roles = {"roles": ["viewer"]}
    assert (await admin.put(f"{API}/users/{ada.id}/roles", json=roles)).status_code == 200
    refused = await ada.post(ITEMS, json={"title": "Tea"}, headers=KEY)
    assert refused.status_code == 403
    await admin.post(f"{API}/users/{ada.id}/logout-all")
    refused = await ada.post(ITEMS, json={"title": "Tea"}, headers=KEY)
    assert (refused.status_code, rows(db)) == (401, 1)


async def test_a_permission_that_only_the_service_requires_is_checked_before_a_replay(
    admin: Actor, actor: ActorFactory
) -> None:
    body = {"name": "manager", "permissions": ["users:admin", "users:write"]}
    await admin.post(f"{API}/roles", json=body)
    manager = await actor("manager", roles=("manager",))
    invited = {"email": "new@example.com", "roles": []}
    first = await manager.post(f"{API}/users", json=invited, headers=KEY)
    assert first.status_code == 201
    await admin.patch(f"{API}/roles/manager", json={"permissions": ["users:write"]})
    refused = await manager.post(f"{API}/users", json=invited, headers=KEY)
    assert refused.status_code == 403


async def test_other_methods_ignore_the_key(ada: Actor, db: psycopg.Connection) -> None:
    made = await ada.post(ITEMS, json={"title": "Tea"})
    for method in ("GET", "HEAD", "PATCH", "DELETE"):
        body = {"title": "Coffee"} if method == "PATCH" else None
        path = made.headers["location"]
        answer = await ada.request(method, path, json=body, headers={"Idempotency-Key": "a b"})
        assert answer.status_code in (200, 204)
    assert rows(db) == 0


async def test_while_the_first_runs_the_others_are_refused(
    ada: Actor, statements: Statements, db: psycopg.Connection
) -> None:
    inside: list[httpx.Response] = []
    path, body = f"{ITEMS}/bulk", {"data": [{"title": "Tea"}]}

    async def repeat() -> None:
        inside.append(await ada.post(path, json=body, headers=KEY))

    statements.before("INSERT INTO items", repeat)
    first = await ada.post(path, json=body, headers=KEY)
    assert first.status_code == 201
    assert [(each.status_code, code(each)) for each in inside] == [(409, "IDEMPOTENCY_IN_PROGRESS")]
    assert rows(db, "items") == 1
    assert is_replay(await ada.post(path, json=body, headers=KEY))


async def test_the_first_runs_while_its_commit_waits(
    ada: Actor, database_url: str, db: psycopg.Connection
) -> None:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as watching:
        with db.transaction():
            db.execute("SELECT FROM users FOR UPDATE")
            first = asyncio.create_task(ada.post(ITEMS, json={"title": "Tea"}, headers=KEY))
            await waits_for_a_lock(watching, first)
            second = await ada.post(ITEMS, json={"title": "Tea"}, headers=KEY)
    assert (second.status_code, code(second)) == (409, "IDEMPOTENCY_IN_PROGRESS")
    assert (await first).status_code == 201
    assert (rows(db, "items"), rows(db)) == (1, 1)


async def test_a_large_response_is_stored_with_its_write(
    ada: Actor, db: psycopg.Connection
) -> None:
    body = {"title": "Tea", "description": "x" * 5000}
    first = await ada.post(ITEMS, json=body, headers=KEY)
    again = await ada.post(ITEMS, json=body, headers=KEY)
    assert (first.status_code, is_replay(again)) == (201, True)
    assert again.content == first.content
    assert (rows(db, "items"), rows(db)) == (1, 1)


@pytest.mark.parametrize("path", ROUTES)
async def test_a_response_that_is_stored_meanwhile_is_replayed(
    path: str, admin: Actor, client: Client, statements: Statements, db: psycopg.Connection
) -> None:
    caller: Any = client if path == "/auth/register" else admin
    firsts: list[httpx.Response] = []

    async def overtake() -> None:
        firsts.append(await caller.post(f"{API}{path}", json=ROUTES[path], headers=KEY))

    statements.before("pg_try_advisory_xact_lock", overtake)
    second = await caller.post(f"{API}{path}", json=ROUTES[path], headers=KEY)
    assert is_replay(second)
    assert second.content == firsts[0].content
    assert rows(db) == 1


async def test_a_registration_that_reveals_nothing_is_replayed(
    database_url: str, statements: Statements, db: psycopg.Connection
) -> None:
    context = make_context(database_url, registration_mode="strict")
    answers: list[httpx.Response] = []
    async with Client(make_app(context)) as client:

        async def register() -> None:
            body = ROUTES["/auth/register"]
            answers.append(await client.post(f"{API}/auth/register", json=body, headers=KEY))

        statements.before("pg_try_advisory_xact_lock", register)
        await register()
    await context.database.close()
    assert [answer.status_code for answer in answers] == [202, 202]
    assert is_replay(answers[1])
    assert rows(db, "mailed_tokens") == 1


async def test_many_at_once_make_one(ada: Actor, db: psycopg.Connection) -> None:
    answers = await asyncio.gather(
        *(ada.post(ITEMS, json={"title": "Tea"}, headers=KEY) for _ in range(20))
    )
    made = {answer.content for answer in answers if answer.status_code == 201}
    assert len(made) == 1
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert (rows(db, "items"), rows(db)) == (1, 1)


async def test_an_expired_key_is_replaced_by_use_and_deleted_by_the_job(
    ada: Actor, context: Context, db: psycopg.Connection
) -> None:
    await ada.post(ITEMS, json={"title": "Tea"}, headers=KEY)
    await ada.post(ITEMS, json={"title": "Tea"}, headers={"Idempotency-Key": "k-2"})
    left = "SELECT expires_at BETWEEN now() + '23:59:00' AND now() + '1 day' FROM idempotency_keys"
    assert db.execute(left).fetchall() == [(True,), (True,)]
    db.execute("UPDATE idempotency_keys SET expires_at = now() - interval '1 second'")
    answer = await ada.post(ITEMS, json={"title": "Coffee"}, headers=KEY)
    assert (answer.status_code, is_replay(answer)) == (201, False)
    assert rows(db) == 2
    assert is_replay(await ada.post(ITEMS, json={"title": "Coffee"}, headers=KEY))
    await PURGE_KEYS.run(context)
    assert db.execute(left).fetchall() == [(True,)]


async def test_deleting_a_user_erases_their_responses(
    ada: Actor, bob: Actor, db: psycopg.Connection
) -> None:
    for actor in (ada, bob):
        await actor.post(ITEMS, json={"title": "Tea"}, headers=KEY)
    assert (await ada.delete(f"{API}/users/me")).status_code == 204
    assert db.execute("SELECT user_id FROM idempotency_keys").fetchall() == [(bob.id,)]


@pytest.mark.parametrize("path", ["/auth/register", "/users", "/users/bulk"])
async def test_deleting_a_user_erases_responses_of_others_about_them(
    path: str, admin: Actor, client: Client, db: psycopg.Connection
) -> None:
    caller: Any = client if path == "/auth/register" else admin
    made = await caller.post(f"{API}{path}", json=ROUTES[path], headers=KEY)
    await admin.post(f"{API}/roles", json=ROUTES["/roles"], headers=KEY)
    assert rows(db) == 2
    user = made.json().get("data", [made.json()])[-1]
    assert (await admin.delete(f"{API}/users/{user['id']}")).status_code == 204
    left = db.execute("SELECT body FROM idempotency_keys").fetchall()
    assert len(left) == 1
    assert user["email"].encode() not in left[0][0]


async def test_strict_registration_is_replayed_alike(
    context: Context, database_url: str, db: psycopg.Connection
) -> None:
    strict = make_context(database_url, registration_mode="strict")
    strict.state.started = True
    async with Client(make_app(strict)) as client:
        new = ROUTES["/auth/register"]
        first, second = [
            await client.post(f"{API}/auth/register", json=new, headers=KEY) for _ in range(2)
        ]
    await strict.database.close()
    assert (first.status_code, second.status_code) == (202, 202)
    assert (first.content, is_replay(second)) == (second.content, True)
    found = db.execute("SELECT count(*) FROM procrastinate_jobs").fetchone()
    assert found == (1,)


async def test_without_a_key_nothing_more_is_sent(ada: Actor, statements: Statements) -> None:
    await ada.post(ITEMS, json={"title": "Tea"})
    assert not [each for each in statements if "idempotency" in each or "advisory" in each]
    plain = len(statements)
    statements.clear()
    await ada.post(ITEMS, json={"title": "Tea"}, headers=KEY)
    # The look. The statement of the item takes the lock and stores the response.
    assert len(statements) == plain + 1


class Cup(Schema):
    name: str


class MadeCup(SQLModel, table=True):
    __tablename__ = "made_cups"
    metadata = MetaData()

    id: UUID = Field(primary_key=True)


made = Router(prefix="/made-cups", tags=["made_cups"], dependencies=[public])


@made.post("/wash", idempotent=True)
async def wash(session: Session, cup: Cup) -> Cup:
    return cup


@made.post("/break", idempotent=True, status_code=204)
async def break_cup(session: Session) -> None: ...


@made.post("/paint", idempotent=True)
async def paint(session: Session, response: Response) -> Cup:
    response.headers["X-Colour"] = "blue"
    return Cup(name="blue")


async def session_with_an_end(session: Session) -> AsyncIterator[None]:
    yield
    # Before the response, in the transaction if there is one still.
    await (await session.connection()).execute(text("SELECT 1"))


@made.post("/keep", idempotent=True, dependencies=[Depends(session_with_an_end, scope="function")])
async def keep(session: Session) -> Cup:
    await insert_row(session, MadeCup, {"id": uuid4()})
    return Cup(name="kept")


async def test_a_dependency_may_use_the_session_afterwards(
    context: Context, db: psycopg.Connection
) -> None:
    db.execute("CREATE TABLE made_cups (id uuid PRIMARY KEY)")
    app = make_app(context, [*MODULES, Module("made_cups", made)])
    async with Client(app) as client:
        first, second = [await client.post(f"{API}/made-cups/keep", headers=KEY) for _ in range(2)]
    assert (first.status_code, is_replay(first), is_replay(second)) == (200, False, True)
    assert (rows(db, "made_cups"), rows(db)) == (1, 1)


async def test_any_post_may_take_a_key(context: Context) -> None:
    app = make_app(context, [*MODULES, Module("made_cups", made)])
    async with Client(app) as client:
        for path, body in (("wash", {"name": "x"}), ("break", None), ("paint", None)):
            first, second = [
                await client.post(f"{API}/made-cups/{path}", json=body, headers=KEY)
                for _ in range(2)
            ]
            assert (first.status_code, first.content) == (second.status_code, second.content)
            assert is_replay(second)
            assert first.headers.get("x-colour") == ("blue" if path == "paint" else None)
        # The query is part of the request.
        other = await client.post(f"{API}/made-cups/wash?a=1", json={"name": "x"}, headers=KEY)
        assert other.status_code == 422
