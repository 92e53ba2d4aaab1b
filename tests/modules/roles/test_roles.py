"""Roles are created, changed and deleted within the caller's own permissions."""

from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx
import psycopg
import pytest

from backend.core.context import Context
from backend.modules.roles.models import Role
from tests.actors import Actor, ActorFactory
from tests.record import Event, events

ROLES = "/api/v1/roles"
CLERK = ["items:read", "items:write", "roles:read", "roles:write"]
# Invalid names, including attempts at SQL injection through the path.
NO_NAMES = ("Reviewer", "1st", "_a", "-a", "a b", "a.b", "ä", "a" * 51, "a\n", "%00", "' or 1=1")


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


async def made(by: Actor, name: str, *permissions: str, **more: Any) -> dict[str, Any]:
    answer = await by.post(ROLES, json={"name": name, "permissions": permissions, **more})
    assert answer.status_code == 201, answer.text
    role: dict[str, Any] = answer.json()
    return role


@pytest.fixture
async def clerk(actor: ActorFactory, context: Context) -> Actor:
    """A user who may manage roles and has few other permissions."""
    async with context.database.transaction() as session:
        session.add(Role(name="clerk", permissions=CLERK))
    return await actor("clara", roles=("clerk",))


async def test_a_role_from_its_making_to_its_end(admin: Actor) -> None:
    answer = await admin.post(
        ROLES,
        json={
            "name": " reviewer ",
            "description": " Reads and publishes. ",
            "permissions": ["articles:read", "articles:publish", "articles:read"],
        },
    )
    assert answer.status_code == 201
    role = answer.json()
    assert answer.headers["location"] == f"{ROLES}/reviewer"
    assert role == {
        "name": "reviewer",
        "description": "Reads and publishes.",
        "permissions": ["articles:publish", "articles:read"],
        "built_in": False,
        "created_at": role["created_at"],
        "updated_at": role["created_at"],
    }
    assert (await admin.get(f"{ROLES}/reviewer")).json() == role
    changed = await admin.patch(
        f"{ROLES}/reviewer", json={"description": None, "permissions": ["items:read"]}
    )
    assert changed.status_code == 200
    moments = [datetime.fromisoformat(each["updated_at"]) for each in (role, changed.json())]
    assert moments[0] < moments[1]
    assert changed.json() == {
        **role,
        "description": None,
        "permissions": ["items:read"],
        "updated_at": changed.json()["updated_at"],
    }
    assert (await admin.get(f"{ROLES}/reviewer")).json() == changed.json()
    assert (await admin.delete(f"{ROLES}/reviewer")).status_code == 204
    gone = await admin.get(f"{ROLES}/reviewer")
    assert error_of(gone) == (404, "ROLE_NOT_FOUND")


async def test_what_is_not_said_of_a_role(admin: Actor) -> None:
    role = (await admin.post(ROLES, json={"name": "bare"})).json()
    assert (role["description"], role["permissions"]) == (None, [])
    some = {"description": "Some.", "permissions": ["items:read"]}
    await admin.patch(f"{ROLES}/bare", json=some)
    half = await admin.patch(f"{ROLES}/bare", json={"permissions": ["items:write"]})
    assert (half.json()["description"], half.json()["permissions"]) == ("Some.", ["items:write"])


async def test_a_change_that_changes_nothing(admin: Actor, database_url: str) -> None:
    role = await made(admin, "reviewer", "items:read", "items:write", description="Same.")
    for changes in (
        {},
        {"description": " Same. "},
        {"permissions": ["items:write", "items:read", "items:write"]},
    ):
        assert (await admin.patch(f"{ROLES}/reviewer", json=changes)).json() == role
    assert [event.action for event in await events(database_url, "role")] == ["role.create"]


@pytest.mark.parametrize("name", [*NO_NAMES, "", None, 5], ids=ascii)
async def test_what_no_role_is_called(admin: Actor, name: Any) -> None:
    if name == "a\n":
        # Surrounding white space is stripped, and the remaining name is valid.
        assert (await made(admin, name))["name"] == "a"
        return
    refused = await admin.post(ROLES, json={"name": name})
    assert error_of(refused) == (422, "VALIDATION_ERROR")
    assert refused.json()["errors"][0]["field"] == "body.name"


@pytest.mark.parametrize("name", ["a", "a" * 50, "a-b_9"])
async def test_what_a_role_may_be_called(admin: Actor, name: str) -> None:
    await made(admin, name)
    assert (await admin.get(f"{ROLES}/{name}")).status_code == 200


@pytest.mark.parametrize("name", [*NO_NAMES, "unknown", "admin ", "ADMIN"], ids=ascii)
async def test_a_name_in_the_path_that_is_no_roles(admin: Actor, name: str) -> None:
    path = f"{ROLES}/{quote(name, safe='%')}"
    # A path that ends with a line break matches no route.
    code = "NOT_FOUND" if name.endswith("\n") else "ROLE_NOT_FOUND"
    for method, body in (("GET", None), ("PATCH", {}), ("DELETE", None)):
        answer = await admin.request(method, path, json=body)
        assert error_of(answer) == (404, code), method


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"description": ""}, "body.description"),
        ({"description": "\u200b"}, "body.description"),
        ({"description": "x" * 501}, "body.description"),
        ({"description": 5}, "body.description"),
        ({"permissions": None}, "body.permissions"),
        ({"permissions": "items:read"}, "body.permissions"),
        ({"permissions": ["items:read", 5]}, "body.permissions.1"),
        ({"permissions": ["items:read"] * 1001}, "body.permissions"),
        ({"built_in": True}, "body.built_in"),
        ({"name": "other"}, "body.name"),
    ],
    ids=lambda value: ascii(value)[:40],
)
async def test_what_cannot_be_changed(admin: Actor, body: dict[str, Any], field: str) -> None:
    role = await made(admin, "reviewer", "items:write")
    refused = await admin.patch(f"{ROLES}/reviewer", json={"description": "New", **body})
    assert error_of(refused) == (422, "VALIDATION_ERROR")
    assert refused.json()["errors"][0]["field"] == field
    assert (await admin.get(f"{ROLES}/reviewer")).json() == role


async def test_a_name_is_given_once(admin: Actor) -> None:
    role = await made(admin, "reviewer", "items:write")
    for name in ("reviewer", "admin"):
        refused = await admin.post(ROLES, json={"name": name, "permissions": ["items:read"]})
        assert error_of(refused) == (409, "ROLE_ALREADY_EXISTS")
    assert (await admin.get(f"{ROLES}/reviewer")).json() == role


async def test_permissions_that_do_not_exist_are_named_by_place(admin: Actor) -> None:
    await made(admin, "reviewer", "items:read")
    sent = ["items:read", "items:fly", "", "items:read ", "*"]
    for method, path, body in (
        ("POST", ROLES, {"name": "pilot", "permissions": sent}),
        ("PATCH", f"{ROLES}/reviewer", {"permissions": sent}),
    ):
        refused = await admin.request(method, path, json=body)
        assert error_of(refused) == (422, "PERMISSION_UNKNOWN")
        fields = [error["field"] for error in refused.json()["errors"]]
        assert fields == [f"body.permissions.{place}" for place in (1, 2, 3, 4)]
        assert "fly" not in refused.text
    assert (await admin.get(f"{ROLES}/pilot")).status_code == 404
    assert (await admin.get(f"{ROLES}/reviewer")).json()["permissions"] == ["items:read"]


async def test_nobody_grants_what_they_lack(clerk: Actor) -> None:
    await made(clerk, "porter", "items:read")
    for permissions in (["users:admin"], ["items:read", "articles:read"]):
        for method, path, body in (
            ("POST", ROLES, {"name": "thief", "permissions": permissions}),
            ("PATCH", f"{ROLES}/porter", {"permissions": permissions}),
            ("PATCH", f"{ROLES}/clerk", {"permissions": [*CLERK, *permissions]}),
        ):
            refused = await clerk.request(method, path, json=body)
            assert error_of(refused) == (403, "PERMISSION_DENIED"), (method, path)
    widened = await clerk.patch(f"{ROLES}/porter", json={"permissions": CLERK})
    assert widened.json()["permissions"] == CLERK


async def test_a_role_with_more_rights_is_out_of_reach(clerk: Actor, admin: Actor) -> None:
    await made(admin, "keeper", "articles:read")
    for role in ("keeper", "member", "admin"):
        before = (await clerk.get(f"{ROLES}/{role}")).json()
        for method, body in (
            ("PATCH", {}),
            ("PATCH", {"description": "Mine now."}),
            ("PATCH", {"permissions": []}),
            ("DELETE", None),
        ):
            refused = await clerk.request(method, f"{ROLES}/{role}", json=body)
            assert error_of(refused) == (403, "PERMISSION_DENIED"), (role, method, body)
        assert (await clerk.get(f"{ROLES}/{role}")).json() == before


async def test_built_in_roles_stay(admin: Actor) -> None:
    for role in ("admin", "editor", "member", "viewer"):
        assert error_of(await admin.delete(f"{ROLES}/{role}")) == (409, "ROLE_PROTECTED")
    narrowed = await admin.patch(f"{ROLES}/member", json={"permissions": ["items:read"]})
    assert narrowed.json()["permissions"] == ["items:read"]


async def test_admin_is_never_narrowed(admin: Actor) -> None:
    role = (await admin.get(f"{ROLES}/admin")).json()
    everything: list[str] = role["permissions"]
    for permissions in (everything[:0], everything[1:], everything[:-1]):
        refused = await admin.patch(
            f"{ROLES}/admin", json={"description": "New.", "permissions": permissions}
        )
        assert error_of(refused) == (409, "ROLE_PROTECTED")
    assert (await admin.get(f"{ROLES}/admin")).json() == role
    whole = await admin.patch(f"{ROLES}/admin", json={"permissions": everything[::-1]})
    assert whole.json() == role
    described = await admin.patch(f"{ROLES}/admin", json={"description": "Looks after it all."})
    assert described.json()["description"] == "Looks after it all."


async def test_a_role_that_somebody_has_stays(admin: Actor, ada: Actor) -> None:
    await made(admin, "reviewer", "items:read")
    await admin.put(f"/api/v1/users/{ada.id}/roles", json={"roles": ["reviewer"]})
    assert error_of(await admin.delete(f"{ROLES}/reviewer")) == (409, "ROLE_IN_USE")
    assert (await ada.get("/api/v1/items")).status_code == 200
    await admin.put(f"/api/v1/users/{ada.id}/roles", json={"roles": []})
    assert (await admin.delete(f"{ROLES}/reviewer")).status_code == 204


async def test_a_change_counts_from_the_next_request_on_and_ends_no_session(
    admin: Actor, actor: ActorFactory
) -> None:
    await made(admin, "reviewer", "items:read")
    vera = await actor("vera", roles=("reviewer",))
    assert (await vera.get("/api/v1/items")).status_code == 200
    assert (await vera.post("/api/v1/items", json={"title": "a"})).status_code == 403
    await admin.patch(f"{ROLES}/reviewer", json={"permissions": ["items:write"]})
    assert (await vera.get("/api/v1/items")).status_code == 403
    assert (await vera.post("/api/v1/items", json={"title": "a"})).status_code == 201


async def test_reading_and_writing_are_two_permissions(
    actor: ActorFactory, context: Context
) -> None:
    async with context.database.transaction() as session:
        session.add(Role(name="looker", permissions=["roles:read"]))
    looker = await actor("lola", roles=("looker",))
    assert (await looker.get(ROLES)).status_code == 200
    assert (await looker.get(f"{ROLES}/admin")).status_code == 200
    for method, path, body in (
        ("POST", ROLES, {"name": "a"}),
        ("PATCH", f"{ROLES}/looker", {}),
        ("DELETE", f"{ROLES}/looker", None),
    ):
        assert (await looker.request(method, path, json=body)).status_code == 403
    member = await actor("mary")
    for known in ("admin", "unknown", "No Name"):
        assert (await member.get(f"{ROLES}/{known}")).status_code == 403


async def test_a_permission_whose_module_is_gone(admin: Actor, database_url: str) -> None:
    """Such a permission is returned, and can be kept or removed, but not added."""
    everything = (await admin.get(f"{ROLES}/admin")).json()["permissions"]
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        for role, permissions in (
            ("admin", [*everything, "gone:read"]),
            ("viewer", ["gone:read", "items:read"]),
        ):
            await connection.execute(
                "UPDATE roles SET permissions = %s WHERE name = %s", [permissions, role]
            )
    viewer = (await admin.get(f"{ROLES}/viewer")).json()
    assert viewer["permissions"] == ["gone:read", "items:read"]
    sent = {"permissions": ["gone:read"]}
    refused = await admin.post(ROLES, json={"name": "relic", **sent})
    assert error_of(refused) == (422, "PERMISSION_UNKNOWN")
    refused = await admin.patch(f"{ROLES}/member", json=sent)
    assert error_of(refused) == (422, "PERMISSION_UNKNOWN")
    # `admin` cannot lose the permission: a newer release may declare it.
    assert error_of(await admin.patch(f"{ROLES}/admin", json={"permissions": everything})) == (
        409,
        "ROLE_PROTECTED",
    )
    assert (await admin.patch(f"{ROLES}/viewer", json=sent)).json()["permissions"] == ["gone:read"]
    cleared = await admin.patch(f"{ROLES}/viewer", json={"permissions": []})
    assert cleared.json()["permissions"] == []
    assert error_of(await admin.patch(f"{ROLES}/viewer", json=sent)) == (422, "PERMISSION_UNKNOWN")


async def test_what_is_on_record(admin: Actor, database_url: str) -> None:
    await made(admin, "reviewer", "items:read", description="Reads.")
    refused = await admin.post(ROLES, json={"name": "reviewer"})
    assert refused.status_code == 409
    await admin.patch(
        f"{ROLES}/reviewer", json={"description": "Reads.", "permissions": ["items:write"]}
    )
    await admin.delete(f"{ROLES}/reviewer")
    await admin.delete(f"{ROLES}/admin")
    changes: dict[str, dict[str, Any]] = {
        "role.create": {
            "description": {"old": None, "new": "Reads."},
            "permissions": {"old": None, "new": ["items:read"]},
        },
        "role.update": {"permissions": {"old": ["items:read"], "new": ["items:write"]}},
        "role.delete": {
            "description": {"old": "Reads.", "new": None},
            "permissions": {"old": ["items:write"], "new": None},
        },
    }
    assert await events(database_url, "role") == [
        Event(action, admin.id, "reviewer", recorded) for action, recorded in changes.items()
    ]
