"""Lists of roles and permissions, with the parameters of all lists."""

from typing import Any

import httpx
import pytest

from backend.core.context import Context
from backend.core.features import Feature
from backend.modules.roles.models import Role
from tests.actors import Actor
from tests.applications import MODULES
from tests.pages import walk

ROLES = "/api/v1/roles"
PERMISSIONS = "/api/v1/permissions"
BUILT_IN = ["admin", "editor", "member", "viewer"]


async def page(by: Actor, path: str, **parameters: Any) -> dict[str, Any]:
    answer = await by.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def names(by: Actor, **parameters: Any) -> list[str]:
    return [role["name"] for role in (await page(by, ROLES, **parameters))["data"]]


async def some_roles(context: Context) -> None:
    async with context.database.transaction() as session:
        for name, description in (
            ("clerk", "Looks after members"),
            ("auditor_x", None),
            ("porter", "100% of the doors"),
        ):
            session.add(Role(name=name, description=description, permissions=["items:read"]))


async def test_roles_are_told_as_they_are_read_alone(admin: Actor, context: Context) -> None:
    await some_roles(context)
    whole = await page(admin, ROLES, total="true")
    assert (whole["total"], whole["next_cursor"]) == (7, None)
    assert [role["name"] for role in whole["data"]] == sorted(
        [*BUILT_IN, "clerk", "auditor_x", "porter"]
    )
    for role in whole["data"]:
        assert (await admin.get(f"{ROLES}/{role['name']}")).json() == role


@pytest.mark.parametrize("sort", ["name", "-name", "created_at", "-updated_at,name"])
async def test_roles_page_by_page(admin: Actor, context: Context, sort: str) -> None:
    await some_roles(context)
    whole = await names(admin, sort=sort)
    assert len(whole) == 7
    if sort == "-name":
        assert whole == sorted(whole, reverse=True)

    async def some(**parameters: Any) -> dict[str, Any]:
        return await page(admin, ROLES, sort=sort, limit=2, **parameters)

    assert [role["name"] for role in await walk(some)] == whole


async def test_roles_are_searched_and_filtered(admin: Actor, context: Context) -> None:
    await some_roles(context)
    assert await names(admin, q="MEMBER") == ["clerk", "member"]
    assert await names(admin, q="100%") == ["porter"]
    assert await names(admin, q="r_x") == ["auditor_x"]
    assert await names(admin, q="%") == ["porter"]
    assert await names(admin, built_in="true") == BUILT_IN
    assert await names(admin, built_in="false", limit=1, offset=1) == ["clerk"]
    assert await names(admin, created_before="2020-01-01T00:00:00Z") == []


async def test_permissions_are_those_of_the_modules(ada: Actor, context: Context) -> None:
    found = await page(ada, PERMISSIONS, limit=100, total="true")
    assert found["total"] == len(found["data"])
    declared = {feature.name: feature for module in MODULES for feature in module.features}
    assert [each["feature"] for each in found["data"]] == sorted(declared)
    for each in found["data"]:
        feature = declared[each["feature"]]
        assert each["description"] == feature.description
        assert each["actions"] == [
            {"action": action, "permission": f"{feature.name}:{action}", "description": text}
            for action, text in feature.actions.items()
        ]
    assert {"roles", "users", "items", "articles"} <= declared.keys()


async def test_permissions_page_by_page(ada: Actor) -> None:
    async def some(**parameters: Any) -> dict[str, Any]:
        return await page(ada, PERMISSIONS, limit=2, **parameters)

    whole = (await page(ada, PERMISSIONS, limit=100))["data"]
    assert await walk(some) == whole
    assert await walk(some, sort="-feature") == whole[::-1]
    assert (await page(ada, PERMISSIONS, limit=1, offset=1))["data"] == whole[1:2]
    first = await ada.get(PERMISSIONS, params={"limit": 1, "fields": "feature"})
    assert first.json()["data"] == [{"feature": whole[0]["feature"]}]
    assert first.headers["link"].endswith('>; rel="next"')


async def test_a_feature_that_two_modules_declare_is_told_once(
    ada: Actor, context: Context
) -> None:
    more = Feature("items", "Declared by another module.", {"share": "Show items to others."})
    object.__setattr__(context, "features", (*context.features, more))
    found = (await page(ada, PERMISSIONS, limit=100, total="true"))["data"]
    (items,) = [each for each in found if each["feature"] == "items"]
    assert items["description"] != more.description
    assert items["actions"][-1] == {
        "action": "share",
        "permission": "items:share",
        "description": "Show items to others.",
    }


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


@pytest.mark.parametrize(
    "query",
    ["sort=permissions", "sort=", "built_in=1", "q=", "limit=0", "colour=red", "fields=colour"],
)
async def test_what_roles_do_not_take(admin: Actor, query: str) -> None:
    assert error_of(await admin.get(f"{ROLES}?{query}")) == (422, "VALIDATION_ERROR")


@pytest.mark.parametrize(
    "query",
    ["sort=actions", "q=items", "declared=[]", "limit=101", "colour=red", "offset=1&cursor=x"],
)
async def test_what_permissions_do_not_take(ada: Actor, query: str) -> None:
    assert error_of(await ada.get(f"{PERMISSIONS}?{query}")) == (422, "VALIDATION_ERROR")


async def test_cursors_belong_to_their_list(admin: Actor) -> None:
    cursor = (await page(admin, ROLES, limit=1))["next_cursor"]
    for path in (f"{PERMISSIONS}?", f"{ROLES}?sort=-name&", f"{ROLES}?q=e&"):
        answer = await admin.get(f"{path}cursor={cursor}")
        assert error_of(answer) == (400, "INVALID_CURSOR")


async def test_permissions_are_for_people_who_are_signed_in(client: httpx.AsyncClient) -> None:
    assert (await client.get(PERMISSIONS)).status_code == 401
