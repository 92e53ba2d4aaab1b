"""Items are created in bulk: all of them, or none."""

from typing import Any

import pytest

from tests.actors import Actor, ActorFactory
from tests.statements import Statements

BULK = "/api/v1/items/bulk"


async def titles_of(actor: Actor) -> list[str]:
    rows = (await actor.get("/api/v1/items", params={"limit": 100})).json()["data"]
    return [row["title"] for row in rows]


async def test_items_are_created_in_order(ada: Actor) -> None:
    sent = [{"title": f"Item {number}", "description": str(number)} for number in range(20)]
    answer = await ada.post(BULK, json={"data": sent})
    assert answer.status_code == 201
    assert "location" not in answer.headers
    assert answer.json().keys() == {"data"}
    created = answer.json()["data"]
    assert [{name: row[name] for name in sent[0]} for row in created] == sent
    assert {row["owner_id"] for row in created} == {str(ada.id)}
    for row in (created[0], created[-1]):
        assert (await ada.get(f"/api/v1/items/{row['id']}")).json() == row


@pytest.mark.parametrize("count", [0, 1001])
async def test_their_number_is_limited(ada: Actor, count: int) -> None:
    answer = await ada.post(BULK, json={"data": [{"title": "Milk"}] * count})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["body.data"]


async def test_an_error_names_its_row_and_nothing_is_stored(ada: Actor) -> None:
    rows: list[Any] = [{"title": "Milk"}, {"title": " "}, {"name": "Tea"}, "Bread"]
    answer = await ada.post(BULK, json={"data": rows})
    assert answer.status_code == 422
    fields = {error["field"] for error in answer.json()["errors"]}
    assert fields == {"body.data.1.title", "body.data.2.title", "body.data.2.name", "body.data.3"}
    assert await titles_of(ada) == []


async def test_many_errors_are_counted(ada: Actor) -> None:
    answer = await ada.post(BULK, json={"data": [{"title": ""}] * 300})
    assert len(answer.json()["errors"]) == 100
    assert answer.json()["errors_omitted"] == 200


async def test_a_thousand_items_take_few_statements(ada: Actor, statements: Statements) -> None:
    rows = [{"title": f"Item {number}", "description": "d" * 300} for number in range(1000)]
    statements.clear()
    answer = await ada.post(BULK, json={"data": rows})
    assert answer.status_code == 201
    assert len(answer.json()["data"]) == 1000
    # Authentication, the quota, BEGIN and COMMIT; the rows are sent together.
    assert len(statements) <= 4, statements


async def test_more_than_a_megabyte_is_accepted(ada: Actor) -> None:
    rows = [{"title": f"Item {number}", "description": "d" * 10_000} for number in range(200)]
    assert (await ada.post(BULK, json={"data": rows})).status_code == 201


async def test_too_large_a_body_is_refused(ada: Actor) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await ada.post(BULK, content=b" " * (16 * 1024 * 1024 + 1), headers=headers)
    assert answer.status_code == 413


async def test_a_repetition_creates_nothing_more(ada: Actor) -> None:
    headers = {"Idempotency-Key": "bulk-1"}
    first = await ada.post(BULK, json={"data": [{"title": "Milk"}]}, headers=headers)
    again = await ada.post(BULK, json={"data": [{"title": "Milk"}]}, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert again.headers["idempotency-replayed"] == "true"
    assert await titles_of(ada) == ["Milk"]


async def test_it_needs_permission_before_the_body_is_read(actor: ActorFactory) -> None:
    viewer = await actor("vera", roles=("viewer",))
    assert (await viewer.post(BULK, json={"data": []})).status_code == 403
