"""Items are created, read, changed and deleted by their owners."""

from typing import Any
from uuid import uuid4

import pytest

from tests.actors import Actor, ActorFactory, Client
from tests.contract import is_uuid7, stable_members

ITEMS = "/api/v1/items"
MEMBERS = {"id", "title", "description", "owner_id", "created_at", "updated_at"}


async def made_by(actor: Actor, **members: Any) -> dict[str, Any]:
    answer = await actor.post(ITEMS, json={"title": "Milk", **members})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_an_item_is_told_whole_and_found_at_its_location(ada: Actor) -> None:
    answer = await ada.post(ITEMS, json={"title": "Milk", "description": "Two litres."})
    assert answer.status_code == 201
    item = answer.json()
    assert item.keys() == MEMBERS
    assert is_uuid7(item["id"])
    assert (item["title"], item["description"]) == ("Milk", "Two litres.")
    assert item["owner_id"] == str(ada.id)
    assert item["created_at"] == item["updated_at"]
    assert answer.headers["location"] == f"{ITEMS}/{item['id']}"
    read = await ada.get(answer.headers["location"])
    assert read.status_code == 200
    assert read.json() == item


async def test_times_are_utc_with_six_digits(ada: Actor) -> None:
    item = await made_by(ada)
    assert item["created_at"].endswith("Z")
    assert len(item["created_at"]) == len("2026-01-01T00:00:00.000000Z")


async def test_the_description_is_optional(ada: Actor) -> None:
    assert (await made_by(ada))["description"] is None
    assert (await made_by(ada, description=None))["description"] is None


async def test_texts_are_trimmed(ada: Actor) -> None:
    item = await made_by(ada, title="  Milk \n", description="\t Two litres. ")
    assert (item["title"], item["description"]) == ("Milk", "Two litres.")
    changed = await ada.patch(f"{ITEMS}/{item['id']}", json={"title": " Bread "})
    assert changed.json()["title"] == "Bread"


async def test_the_longest_texts_are_accepted_and_one_more_is_not(ada: Actor) -> None:
    longest = {"title": "\N{GRINNING FACE}" * 255, "description": "d" * 10_000}
    item = await made_by(ada, **longest)
    assert (item["title"], item["description"]) == (longest["title"], longest["description"])
    for member, text in longest.items():
        refused = await ada.post(ITEMS, json={"title": "Milk", member: f"{text}x"})
        assert refused.status_code == 422
        assert [each["field"] for each in refused.json()["errors"]] == [f"body.{member}"]


async def test_the_maximum_counts_after_trimming(ada: Actor) -> None:
    item = await made_by(ada, title=f"  {'x' * 255}  ")
    assert item["title"] == "x" * 255


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"title": None},
        {"title": ""},
        {"title": "   "},
        {"title": "\N{ZERO WIDTH SPACE}"},
        {"title": 5},
        {"title": ["Milk"]},
        {"title": "Milk", "description": 5},
        {"title": "Milk", "owner_id": "0198c1f2-7d3a-7c4e-9b5a-3f1e2d4c5b6a"},
        {"title": "Milk", "id": "0198c1f2-7d3a-7c4e-9b5a-3f1e2d4c5b6a"},
        {"title": "Milk", "created_at": "2026-01-01T00:00:00Z"},
        {"title": "Milk", "colour": "white"},
        [],
        "Milk",
        None,
    ],
    ids=repr,
)
async def test_what_is_no_item_is_refused(ada: Actor, body: Any) -> None:
    refused = await ada.post(ITEMS, json=body)
    assert refused.status_code == 422
    assert refused.json()["error"] == "VALIDATION_ERROR"
    assert (await ada.get(ITEMS)).json()["data"] == []


async def test_a_change_touches_only_what_was_sent(ada: Actor) -> None:
    item = await made_by(ada, description="Two litres.")
    changed = await ada.patch(f"{ITEMS}/{item['id']}", json={"title": "Bread"})
    assert changed.status_code == 200
    updated_at = changed.json()["updated_at"]
    assert changed.json() == {**item, "title": "Bread", "updated_at": updated_at}
    assert updated_at > item["updated_at"]
    assert (await ada.get(f"{ITEMS}/{item['id']}")).json() == changed.json()


async def test_null_clears_the_description_but_not_the_title(ada: Actor) -> None:
    item = await made_by(ada, description="Two litres.")
    cleared = await ada.patch(f"{ITEMS}/{item['id']}", json={"description": None})
    assert cleared.status_code == 200
    assert cleared.json()["description"] is None
    refused = await ada.patch(f"{ITEMS}/{item['id']}", json={"title": None})
    assert refused.status_code == 422


async def test_an_empty_change_changes_nothing(ada: Actor) -> None:
    item = await made_by(ada, description="Two litres.")
    answer = await ada.patch(f"{ITEMS}/{item['id']}", json={})
    assert answer.status_code == 200
    assert answer.json() == item


async def test_a_merge_patch_is_a_change(ada: Actor) -> None:
    item = await made_by(ada)
    answer = await ada.patch(
        f"{ITEMS}/{item['id']}",
        content=b'{"title": "Bread"}',
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert answer.json()["title"] == "Bread"


@pytest.mark.parametrize("member", ["id", "owner_id", "created_at", "updated_at", "colour"])
async def test_other_members_cannot_be_changed(ada: Actor, member: str) -> None:
    item = await made_by(ada)
    value = item.get(member, "white")
    refused = await ada.patch(f"{ITEMS}/{item['id']}", json={"title": "Bread", member: value})
    assert refused.status_code == 422
    assert [each["field"] for each in refused.json()["errors"]] == [f"body.{member}"]
    assert (await ada.get(f"{ITEMS}/{item['id']}")).json() == item


async def test_a_deleted_item_is_gone(ada: Actor) -> None:
    item = await made_by(ada)
    deleted = await ada.delete(f"{ITEMS}/{item['id']}")
    assert deleted.status_code == 204
    assert (await ada.get(f"{ITEMS}/{item['id']}")).status_code == 404
    assert (await ada.delete(f"{ITEMS}/{item['id']}")).status_code == 404
    assert (await ada.get(ITEMS)).json()["data"] == []


async def test_anothers_item_answers_as_an_unknown_one(ada: Actor, bob: Actor) -> None:
    item = await made_by(ada)
    for method, body in (("GET", None), ("PATCH", {"title": "Mine"}), ("DELETE", None)):
        foreign = await bob.request(method, f"{ITEMS}/{item['id']}", json=body)
        unknown = await bob.request(method, f"{ITEMS}/{uuid4()}", json=body)
        assert foreign.status_code == 404
        assert foreign.json()["error"] == "ITEM_NOT_FOUND"
        assert stable_members(foreign) == stable_members(unknown)
        assert foreign.headers.keys() == unknown.headers.keys()
    assert (await ada.get(f"{ITEMS}/{item['id']}")).json() == item


@pytest.mark.parametrize("id", ["5", "me", "0198-", "%00", "00000000-0000-0000-0000-00000000000g"])
async def test_a_malformed_id_is_not_found(ada: Actor, id: str) -> None:
    for method in ("GET", "PATCH", "DELETE"):
        answer = await ada.request(method, f"{ITEMS}/{id}", json={} if method == "PATCH" else None)
        assert answer.status_code == 404, method


async def test_items_admin_lifts_the_ownership_limit(ada: Actor, admin: Actor) -> None:
    item = await made_by(ada)
    where = f"{ITEMS}/{item['id']}"
    assert (await admin.get(where)).json() == item
    changed = await admin.patch(where, json={"title": "Bread"})
    assert changed.status_code == 200
    assert changed.json()["owner_id"] == str(ada.id)
    assert (await admin.delete(where)).status_code == 204
    assert (await ada.get(where)).status_code == 404


async def test_articles_admin_says_nothing_of_items(ada: Actor, editor: Actor) -> None:
    item = await made_by(ada)
    assert (await editor.get(f"{ITEMS}/{item['id']}")).status_code == 404
    assert (await editor.get(ITEMS)).json()["data"] == []


async def test_nobody_anonymous_gets_in(client: Client) -> None:
    where = f"{ITEMS}/{uuid4()}"
    for method, path in (
        ("GET", ITEMS),
        ("POST", ITEMS),
        ("GET", where),
        ("PATCH", where),
        ("DELETE", where),
    ):
        # The body is invalid as well: anonymous callers must not see validation errors.
        answer = await client.request(method, path, json=[])
        assert answer.status_code == 401
        assert answer.json()["error"] == "NOT_AUTHENTICATED"


async def test_a_viewer_reads_only(actor: ActorFactory) -> None:
    viewer = await actor("vera", roles=("viewer",))
    assert (await viewer.get(ITEMS)).json()["data"] == []
    for method, path in (
        ("POST", ITEMS),
        ("PATCH", f"{ITEMS}/0198c1f2-7d3a-7c4e-9b5a-3f1e2d4c5b6a"),
        ("DELETE", f"{ITEMS}/0198c1f2-7d3a-7c4e-9b5a-3f1e2d4c5b6a"),
    ):
        refused = await viewer.request(method, path, json=[])
        assert refused.status_code == 403
        assert refused.json()["error"] == "PERMISSION_DENIED"


async def test_without_a_role_nothing_is_permitted(actor: ActorFactory) -> None:
    nobody = await actor("nemo", roles=())
    for method, path in (("GET", ITEMS), ("POST", ITEMS), ("GET", f"{ITEMS}/{uuid4()}")):
        assert (await nobody.request(method, path)).status_code == 403
