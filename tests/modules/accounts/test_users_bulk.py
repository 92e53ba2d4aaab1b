"""Users are created in bulk and invited: all of them, or none."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from backend.core.context import Context
from backend.db.base import utc_now
from backend.modules.roles.models import Role
from backend.modules.users.bulk import NewUser, store_users
from backend.modules.users.changes import lock_for_import
from tests.actors import PASSWORD, Actor, ActorFactory
from tests.mails import token_of
from tests.modules.accounts.post import FORGOT, OWN, Post
from tests.statements import Statements

BULK = "/api/v1/users/bulk"


def rows(count: int) -> list[dict[str, Any]]:
    return [
        {"email": f"u{number}@example.com", "username": f"user{number}"} for number in range(count)
    ]


def errors_of(answer: Any) -> list[tuple[str, str]]:
    return [(error["field"], error["code"]) for error in answer.json()["errors"]]


async def total(admin: Actor) -> int:
    answer = await admin.get("/api/v1/users", params={"total": "true"})
    count: int = answer.json()["total"]
    return count


async def test_users_are_created_in_order_and_invited(post: Post, admin: Actor) -> None:
    sent = [*rows(3), {"email": "Grace@Example.com", "roles": ["viewer"], "full_name": "Grace"}]
    answer = await admin.post(BULK, json={"data": sent})
    assert answer.status_code == 201, answer.text
    assert "location" not in answer.headers
    created = answer.json()["data"]
    assert [row["email"] for row in created] == [
        *(row["email"] for row in sent[:3]),
        "Grace@example.com",
    ]
    assert [row["roles"] for row in created] == [["member"]] * 3 + [["viewer"]]
    for row in created:
        assert (await admin.get(f"/api/v1/users/{row['id']}")).json() == row
    mails = await post.mails()
    assert sorted(mail["to"] for mail in mails) == sorted(row["email"] for row in created)
    assert (await post.reset(token_of((await post.mails("u1@example.com"))[0]))).status_code == 204
    assert await post.signs_in("user1", OWN)
    assert len(post.audited("user.create")) >= 4


@pytest.mark.parametrize("count", [0, 1001])
async def test_their_number_is_limited(admin: Actor, count: int) -> None:
    answer = await admin.post(BULK, json={"data": rows(count)})
    assert (answer.status_code, errors_of(answer)[0][0]) == (422, "body.data")


async def test_duplicates_within_the_batch_are_refused(post: Post, admin: Actor) -> None:
    before = await total(admin)
    sent = [*rows(2), {"email": "U0@EXAMPLE.com"}, {"email": "x@example.com", "username": "USER1"}]
    answer = await admin.post(BULK, json={"data": sent})
    assert (answer.status_code, answer.json()["error"]) == (422, "VALIDATION_ERROR")
    assert errors_of(answer) == [
        ("body.data.2.email", "duplicate"),
        ("body.data.3.username", "duplicate"),
    ]
    assert await total(admin) == before
    assert await post.mails() == []


async def test_taken_names_are_refused_by_index(post: Post, admin: Actor, ada: Actor) -> None:
    before = await total(admin)
    sent = [*rows(1), {"email": "ADA@example.com"}, {"email": "x@example.com", "username": "ADA"}]
    answer = await admin.post(BULK, json={"data": sent})
    assert (answer.status_code, answer.json()["error"]) == (409, "EMAIL_ALREADY_EXISTS")
    assert errors_of(answer) == [("body.data.1.email", "taken"), ("body.data.2.username", "taken")]
    only_username = await admin.post(BULK, json={"data": [sent[2]]})
    assert only_username.json()["error"] == "USERNAME_ALREADY_EXISTS"
    assert await total(admin) == before
    assert await post.mails() == []


async def test_errors_of_rows_are_reported_together(admin: Actor) -> None:
    sent = [
        {"email": "nowhere"},
        {"email": "a@example.com", "password": PASSWORD},
        {"email": "b@example.com", "username": "a b"},
    ]
    answer = await admin.post(BULK, json={"data": sent})
    assert answer.status_code == 422
    fields = [field for field, _ in errors_of(answer)]
    assert fields == ["body.data.0.email", "body.data.1.password", "body.data.2.username"]


async def test_unknown_roles_are_refused_by_index(admin: Actor) -> None:
    sent = [{**row, "roles": ["member", "unknown"]} for row in rows(2)]
    answer = await admin.post(BULK, json={"data": sent})
    assert answer.status_code == 422
    assert [field for field, _ in errors_of(answer)] == ["body.data.0.roles", "body.data.1.roles"]


async def test_nobody_grants_what_they_lack(
    context: Context, actor: ActorFactory, ada: Actor
) -> None:
    async with context.database.transaction() as session:
        session.add(Role(name="clerk", permissions=["users:write"]))
        session.add(Role(name="manager", permissions=["users:admin", "users:write"]))
    clerk = await actor("clerk", roles=("clerk",))
    manager = await actor("manager", roles=("manager",))
    row = {"email": "x@example.com"}
    assert (await ada.post(BULK, json={"data": [row]})).status_code == 403
    assert (await clerk.post(BULK, json={"data": [{**row, "roles": []}]})).status_code == 403
    for roles, status in ((["admin"], 403), ([], 201)):
        answer = await manager.post(BULK, json={"data": [{**row, "roles": roles}]})
        assert answer.status_code == status
    # An invitation with the default role needs none of its permissions.
    assert (await clerk.post(BULK, json={"data": rows(1)})).status_code == 201


async def test_a_thousand_users_take_few_statements(
    post: Post, admin: Actor, statements: Statements
) -> None:
    statements.clear()
    answer = await admin.post(BULK, json={"data": rows(1000)})
    assert answer.status_code == 201
    assert len(answer.json()["data"]) == 1000
    assert len(statements) < 20, statements
    assert post.sql("SELECT count(*) FROM procrastinate_jobs") == [(1000,)]


async def test_a_repetition_invites_nobody_twice(post: Post, admin: Actor) -> None:
    headers = {"Idempotency-Key": "bulk-1"}
    first = await admin.post(BULK, json={"data": rows(2)}, headers=headers)
    again = await admin.post(BULK, json={"data": rows(2)}, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert len(await post.mails()) == 2


async def test_invitations_wait_for_other_mails(post: Post, admin: Actor, ada: Actor) -> None:
    assert (await admin.post(BULK, json={"data": rows(3)})).status_code == 201
    assert (await post.client.post(FORGOT, json={"email": ada.email})).status_code == 202
    assert [mail["to"] == ada.email for mail in await post.mails()] == [True, False, False, False]


def new(name: str) -> NewUser:
    return NewUser(f"{name}@example.com", None, None, None, True, False, ["member"])


async def test_the_same_accounts_in_another_order_are_no_deadlock(
    admin: Actor, context: Context
) -> None:
    moment = utc_now()

    async def store(first: str, second: str, pause: Awaitable[None]) -> list[str]:
        async with context.database.transaction() as session:
            await lock_for_import(session)
            await store_users(session, [new(first)], moment=moment)
            await pause
            stored = await store_users(session, [new(second)], moment=moment)
            return [error.code for error in stored.errors]

    other: list[asyncio.Task[list[str]]] = []

    async def start_other() -> None:
        other.append(asyncio.create_task(store("b", "a", asyncio.sleep(0))))
        await asyncio.sleep(0.2)

    assert await store("a", "b", start_other()) == []
    assert await other[0] == ["duplicate"]


async def test_simultaneous_requests_wait_for_each_other(admin: Actor) -> None:
    sent = (rows(200), rows(200)[::-1], [{"email": "grace@example.com"}])
    answers = await asyncio.gather(*(admin.post(BULK, json={"data": each}) for each in sent))
    assert sorted(answer.status_code for answer in answers) == [201, 201, 409]


async def test_requests_do_not_wait_for_an_import(admin: Actor, context: Context) -> None:
    async with context.database.transaction() as session:
        await lock_for_import(session)
        async with asyncio.timeout(2):
            answer = await admin.post(BULK, json={"data": rows(2)})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
        assert "import" in answer.json()["detail"]
    assert (await admin.post(BULK, json={"data": rows(2)})).status_code == 201
