"""`GET /users/{id}?include=items`: a user with the first page of their items."""

from uuid import UUID, uuid4

import pytest

from backend.core.context import Context
from backend.modules.items.models import Item
from tests.actors import Actor, ActorFactory, Client
from tests.contract import stable_members
from tests.statements import Statements

ITEMS = "/api/v1/items"
USERS = "/api/v1/users"
INCLUDED = {"include": "items"}


async def stock(context: Context, owner: UUID, number: int) -> None:
    async with context.database.transaction() as session:
        session.add_all(Item(title=str(each), owner_id=owner) for each in range(number))


async def holder(admin: Actor, actor: ActorFactory, *permissions: str) -> Actor:
    """Return an actor who holds these permissions and no others."""
    name = f"role-{len(permissions)}-{uuid4().hex}"
    role = {"name": name, "permissions": permissions}
    assert (await admin.post("/api/v1/roles", json=role)).status_code == 201
    return await actor(name[:20], roles=(name,))


async def tag_of(caller: Actor, owner: Actor, **parameters: str) -> str:
    answer = await caller.get(f"{USERS}/{owner.id}", params=parameters)
    assert answer.status_code == 200, answer.text
    return str(answer.headers["etag"])


async def test_ones_own_items_beside_the_user(ada: Actor, bob: Actor, context: Context) -> None:
    await stock(context, ada.id, 3)
    await stock(context, bob.id, 1)
    user = (await ada.get(f"{USERS}/{ada.id}")).json()
    answer = await ada.get(f"{USERS}/{ada.id}", params=INCLUDED)
    page = (await ada.get(ITEMS)).json()
    assert len(page["data"]) == 3
    assert answer.json() == {**user, "items": page}
    assert "link" not in answer.headers
    assert (await ada.head(f"{USERS}/{ada.id}", params=INCLUDED)).status_code == 200


async def test_no_items_are_an_empty_page(ada: Actor) -> None:
    found = (await ada.get(f"{USERS}/{ada.id}", params=INCLUDED)).json()
    assert found["items"] == {"data": [], "next_cursor": None, "total": None}


async def test_an_administrator_sees_anybodys(ada: Actor, admin: Actor, context: Context) -> None:
    await stock(context, ada.id, 2)
    await stock(context, admin.id, 1)
    for owner, number in ((ada, 2), (admin, 1)):
        found = (await admin.get(f"{USERS}/{owner.id}", params=INCLUDED)).json()
        assert found["id"] == str(owner.id)
        assert [each["owner_id"] for each in found["items"]["data"]] == [str(owner.id)] * number


async def test_the_list_of_items_continues_the_page(
    ada: Actor, admin: Actor, context: Context
) -> None:
    await stock(context, ada.id, 25)
    await stock(context, admin.id, 1)
    for caller in (ada, admin):
        page = (await caller.get(f"{USERS}/{ada.id}", params=INCLUDED)).json()["items"]
        assert page["total"] is None
        assert len(page["data"]) == 20
        more = {"owner_id": str(ada.id), "cursor": page["next_cursor"]}
        rest = (await caller.get(ITEMS, params=more)).json()
        assert rest["next_cursor"] is None
        titles = [each["title"] for each in page["data"] + rest["data"]]
        assert sorted(titles, key=int) == [str(each) for each in range(25)]


async def test_who_may_not_see_the_items_is_refused_before_the_user_is_sought(
    ada: Actor, admin: Actor, actor: ActorFactory, client: Client
) -> None:
    readers = {
        "others need users:read": ada,
        "their items need items:admin": await holder(admin, actor, "users:read", "items:read"),
        "all items need items:read": await holder(admin, actor, "users:read", "items:admin"),
        "and the account users:read": await holder(admin, actor, "items:read", "items:admin"),
    }
    for reason, reader in readers.items():
        known = await reader.get(f"{USERS}/{admin.id}", params=INCLUDED)
        unknown = await reader.get(f"{USERS}/{uuid4()}", params=INCLUDED)
        assert known.status_code == unknown.status_code == 403, reason
        assert known.json()["error"] == "PERMISSION_DENIED"
        assert stable_members(known) == stable_members(unknown)
    assert (await client.get(f"{USERS}/{ada.id}", params=INCLUDED)).status_code == 401


async def test_ones_own_items_need_the_permission_to_see_items(
    admin: Actor, actor: ActorFactory
) -> None:
    for permissions, status in (((), 403), (("items:read",), 200)):
        reader = await holder(admin, actor, *permissions)
        assert (await reader.get(f"{USERS}/{reader.id}")).status_code == 200
        answer = await reader.get(f"{USERS}/{reader.id}", params=INCLUDED)
        assert answer.status_code == status


async def test_an_unknown_user_is_not_found(admin: Actor) -> None:
    for id, code in ((uuid4(), "USER_NOT_FOUND"), ("ada", "NOT_FOUND")):
        answer = await admin.get(f"{USERS}/{id}", params=INCLUDED)
        assert answer.status_code == 404
        assert answer.json()["error"] == code


@pytest.mark.parametrize(
    "value",
    ["", "colour", "items,items", "items,", ",items", "items,colour", "Items", "*", "items ", "id"],
)
async def test_a_wrong_name_is_refused(ada: Actor, value: str) -> None:
    refused = await ada.get(f"{USERS}/{ada.id}", params={"include": value})
    assert refused.status_code == 422
    assert [each["field"] for each in refused.json()["errors"]] == ["query.include"]


@pytest.mark.parametrize(
    "path",
    [
        "/users/me?include=items",
        "/users?include=items",
        "/users/{ada}?include=items&include=items",
        "/users/{ada}?fields=items&include=items",
        "/users/{ada}?include=items&limit=1",
        "/articles?include=",
        "/articles?include=author",
        "/items?include=owner",
    ],
)
async def test_where_it_is_no_parameter_it_is_refused(admin: Actor, path: str) -> None:
    refused = await admin.get(f"/api/v1{path.format(ada=admin.id)}")
    assert refused.status_code == 422


async def test_fields_select_members_of_the_user_only(ada: Actor, context: Context) -> None:
    await stock(context, ada.id, 1)
    found = await ada.get(f"{USERS}/{ada.id}", params={"fields": "email,id", **INCLUDED})
    items = (await ada.get(ITEMS)).json()
    assert found.json() == {"id": str(ada.id), "email": ada.email, "items": items}


async def test_the_tag_covers_user_and_items(ada: Actor, bob: Actor) -> None:
    before = await tag_of(ada, ada, include="items")
    assert before != await tag_of(ada, ada)
    assert before == await tag_of(ada, ada, include="items", fields="id")
    made = await ada.post(ITEMS, json={"title": "Tea"})
    with_item = await tag_of(ada, ada, include="items")
    await ada.patch(made.headers["location"], json={"title": "Coffee"})
    changed = await tag_of(ada, ada, include="items")
    await ada.patch(f"{USERS}/me", json={"full_name": "Ada"})
    renamed = await tag_of(ada, ada, include="items")
    await bob.post(ITEMS, json={"title": "Tea"})
    assert len({before, with_item, changed, renamed}) == 4
    assert await tag_of(ada, ada, include="items") == renamed


async def test_unchanged_user_and_items_are_not_sent_again(ada: Actor) -> None:
    for fields in ({}, {"fields": "id"}):
        tag = await tag_of(ada, ada, include="items")
        asked = {"params": {**INCLUDED, **fields}, "headers": {"If-None-Match": tag}}
        assert (await ada.get(f"{USERS}/{ada.id}", **asked)).status_code == 304
        await ada.post(ITEMS, json={"title": "Tea"})
        answer = await ada.get(f"{USERS}/{ada.id}", **asked)
        assert answer.status_code == 200
        assert answer.json()["items"]["data"][0]["title"] == "Tea"


async def test_changes_take_the_tag_without_inclusions(ada: Actor, admin: Actor) -> None:
    for parameters, status in ((INCLUDED, 412), ({}, 200)):
        tag = await tag_of(admin, ada, **parameters)
        answer = await admin.patch(
            f"{USERS}/{ada.id}", json={"full_name": "Ada"}, headers={"If-Match": tag}
        )
        assert answer.status_code == status


async def test_items_cost_one_more_statement_however_many_they_are(
    ada: Actor, context: Context, statements: Statements
) -> None:
    await ada.get(f"{USERS}/{ada.id}")
    plain = list(statements)[-2:]
    for number in (0, 1, 50):
        await stock(context, ada.id, number)
        statements.clear()
        await ada.get(f"{USERS}/{ada.id}", params=INCLUDED)
        identity, items, user = statements
        assert [identity, user] == plain
        assert "FROM items" in items
