"""The number of errors in a response is bounded, and ids are accepted in either case."""

from typing import Any

import pytest

from backend.core.errors import FieldError, InvalidInputError
from tests.core.conftest import Served
from tests.core.http.test_hostile_requests import ID

ITEMS, ARTICLES, AUDIT = "/api/v1/items", "/api/v1/articles", "/api/v1/audit-events"


def check_errors(answer: Any, count: int) -> None:
    assert answer.status_code == 422
    problem = answer.json()
    assert len(problem["errors"]) == min(count, 100)
    assert problem.get("errors_omitted", 0) == max(0, count - 100)
    assert ("errors_omitted" in problem) == (count > 100)
    assert len(answer.content) < 20_000


@pytest.mark.parametrize("count", [1, 100, 101, 3000])
async def test_unknown_parameters(served: Served, count: int) -> None:
    query = "&".join(f"p{number}=x" for number in range(count))
    check_errors(await served.member.get(f"{ITEMS}?{query}"), count)


async def test_one_parameter_again_and_again(served: Served) -> None:
    check_errors(await served.member.get(f"{ITEMS}?{'limit=1&' * 500}"), 499)


@pytest.mark.parametrize("count", [1, 100, 101, 999])
async def test_unknown_members(served: Served, count: int) -> None:
    body = {"title": "Tea"} | {f"m{number}": 1 for number in range(count)}
    check_errors(await served.member.post(ITEMS, json=body), count)


async def test_lists(served: Served) -> None:
    body: Any = {"name": "reader", "permissions": [f"no:{number}" for number in range(500)]}
    check_errors(await served.admin.post("/api/v1/roles", json=body), 500)
    body["permissions"] = list(range(500))
    check_errors(await served.admin.post("/api/v1/roles", json=body), 500)


def test_any_error_with_a_list() -> None:
    found = [FieldError(field=f"body.data.{n}", message="Taken.", code="taken") for n in range(150)]
    error = InvalidInputError(errors=found, errors_omitted=7)
    assert (len(error.errors), error.errors_omitted) == (100, 57)


async def test_ids_in_capitals(served: Served) -> None:
    made = (await served.member.post(ITEMS, json={"title": "Tea"})).json()
    path = f"{ITEMS}/{made['id'].upper()}"
    read = await served.member.get(path)
    assert read.json() == made
    mixed = made["id"][:20].upper() + made["id"][20:]
    assert (await served.member.get(f"{ITEMS}/{mixed}")).json() == made
    assert (await served.member.patch(path, json={"title": "Coffee"})).json()["id"] == made["id"]
    assert (await served.admin.get(path)).status_code == 200
    own = str(served.member.id)
    assert (await served.member.get(f"/api/v1/users/{own.upper()}")).json()["id"] == own
    assert (await served.member.delete(path)).status_code == 204
    gone = await served.member.get(path)
    assert (gone.status_code, gone.json()["path"], gone.json()["instance"]) == (404, path, path)


async def test_filters_in_capitals(served: Served) -> None:
    owner = str(served.member.id)
    await served.member.post(ITEMS, json={"title": "Tea"})
    for path, name in ((ITEMS, "owner_id"), (AUDIT, "target_id")):
        lower = await served.admin.get(path, params={name: owner})
        upper = await served.admin.get(path, params={name: owner.upper()})
        assert lower.json()["data"], path
        assert upper.json()["data"] == lower.json()["data"]
    assert (await served.member.get(ITEMS, params={"owner_id": owner.upper()})).status_code == 200
    for path, name in ((ARTICLES, "author_id"), (AUDIT, "actor_id"), (AUDIT, "id")):
        answer = await served.admin.get(path, params={name: owner.upper()})
        assert answer.status_code == 200


@pytest.mark.parametrize(
    "spelled", [f"urn:uuid:{ID}", f"{{{ID}}}", ID.replace("-", ""), ID[:-1], f" {ID}", "x", ""]
)
async def test_malformed_ids_in_filters(served: Served, spelled: str) -> None:
    for path, name in ((ITEMS, "owner_id"), (ARTICLES, "author_id"), (AUDIT, "actor_id")):
        answer = await served.admin.get(path, params={name: spelled})
        assert answer.status_code == 422
        assert [each["field"] for each in answer.json()["errors"]] == [f"query.{name}"]


async def test_a_cursor_does_not_mind_how_an_id_is_spelled(served: Served) -> None:
    owner = str(served.member.id)
    for title in ("Tea", "Milk"):
        await served.member.post(ITEMS, json={"title": title})
    first = await served.member.get(ITEMS, params={"owner_id": owner, "limit": 1})
    cursor = first.json()["next_cursor"]
    again = await served.member.get(ITEMS, params={"owner_id": owner.upper(), "cursor": cursor})
    assert again.status_code == 200
    assert first.json()["data"][0] not in again.json()["data"]
