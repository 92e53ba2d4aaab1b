"""The list of items and its parameters."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest

from backend.core.context import Context
from backend.modules.items.models import Item
from tests.actors import Actor, Client

ITEMS = "/api/v1/items"
MEMBERS = ("id", "title", "description", "owner_id", "created_at", "updated_at")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


async def stock(context: Context, owner: UUID, *titles: str, **members: Any) -> None:
    """Insert items a minute apart, from noon on."""
    async with context.database.transaction() as session:
        for minute, title in enumerate(titles):
            at = NOON + timedelta(minutes=minute)
            values = {"created_at": at, "updated_at": at, **members}
            session.add(Item(title=title, owner_id=owner, **values))


async def titles_of(actor: Actor, **parameters: Any) -> list[str]:
    answer = await actor.get(ITEMS, params=parameters)
    assert answer.status_code == 200, answer.text
    return [item["title"] for item in answer.json()["data"]]


async def test_an_empty_list_has_the_envelope(ada: Actor) -> None:
    answer = await ada.get(ITEMS)
    assert answer.status_code == 200
    assert answer.json() == {"data": [], "next_cursor": None, "total": None}
    assert "link" not in answer.headers


async def test_only_ones_own_newest_first(ada: Actor, bob: Actor, context: Context) -> None:
    await stock(context, ada.id, "old", "new")
    await stock(context, bob.id, "foreign")
    assert await titles_of(ada) == ["new", "old"]
    assert await titles_of(ada, owner_id=str(ada.id)) == ["new", "old"]


async def test_the_list_tells_items_as_they_are_read_alone(ada: Actor, context: Context) -> None:
    await stock(context, ada.id, "a", "b", description="c")
    for item in (await ada.get(ITEMS)).json()["data"]:
        assert (await ada.get(f"{ITEMS}/{item['id']}")).json() == item


async def test_an_administrator_sees_all_and_can_ask_for_one_owner(
    ada: Actor, bob: Actor, admin: Actor, context: Context
) -> None:
    await stock(context, ada.id, "of ada")
    await stock(context, bob.id, "of bob")
    assert set(await titles_of(admin)) == {"of ada", "of bob"}
    assert await titles_of(admin, owner_id=str(bob.id)) == ["of bob"]
    assert await titles_of(admin, owner_id=str(uuid4())) == []


async def test_the_items_of_somebody_else_are_refused(ada: Actor, bob: Actor) -> None:
    for owner in (bob.id, uuid4()):
        refused = await ada.get(ITEMS, params={"owner_id": str(owner)})
        assert refused.status_code == 403
        assert refused.json()["error"] == "PERMISSION_DENIED"


async def test_limit_and_its_default(ada: Actor, context: Context) -> None:
    await stock(context, ada.id, *(f"{number:03}" for number in range(101)))
    assert len(await titles_of(ada)) == 20
    assert len(await titles_of(ada, limit=1)) == 1
    assert len(await titles_of(ada, limit=100)) == 100


async def test_offset_and_total(ada: Actor, bob: Actor, context: Context) -> None:
    await stock(context, ada.id, *"abcde")
    await stock(context, bob.id, "x")
    page = (await ada.get(ITEMS, params={"offset": 1, "limit": 2, "total": "true"})).json()
    assert [item["title"] for item in page["data"]] == ["d", "c"]
    assert page["total"] == 5
    assert await titles_of(ada, offset=10_000) == []
    assert (await ada.get(ITEMS, params={"total": "false"})).json()["total"] is None


async def test_total_counts_all_that_match(ada: Actor, context: Context) -> None:
    await stock(context, ada.id, "apple", "apple pie", "pear")
    for parameters, total in (
        ({"q": "apple", "limit": "1"}, 2),
        ({"q": "none"}, 0),
        ({"created_after": "2026-01-01T12:01:00Z", "fields": "id"}, 2),
        ({"offset": "3"}, 3),
    ):
        answer = await ada.get(ITEMS, params={"total": "true", **parameters})
        assert answer.json()["total"] == total, parameters


async def test_total_counts_on_later_pages_as_well(ada: Actor, context: Context) -> None:
    await stock(context, ada.id, *"abcde")
    first = (await ada.get(ITEMS, params={"limit": 2})).json()
    second = await ada.get(ITEMS, params={"cursor": first["next_cursor"], "total": "true"})
    assert second.json()["total"] == 5


async def test_created_after_includes_and_created_before_excludes(
    ada: Actor, context: Context
) -> None:
    await stock(context, ada.id, "12:00", "12:01", "12:02")
    at = "2026-01-01T12:01:00Z"
    assert await titles_of(ada, created_after=at) == ["12:02", "12:01"]
    assert await titles_of(ada, created_before=at) == ["12:00"]
    assert await titles_of(ada, created_after=at, created_before=at) == []
    in_paris = "2026-01-01T13:01:00.000001+01:00"
    assert await titles_of(ada, created_after=in_paris) == ["12:02"]


@pytest.mark.parametrize(
    "moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-01-01T12:00:00.5Z"]
)
async def test_any_moment_can_be_asked_for(ada: Actor, context: Context, moment: str) -> None:
    await stock(context, ada.id, "a")
    answer = await ada.get(ITEMS, params={"created_before": moment, "limit": 1})
    assert answer.status_code in (200, 422)


async def test_search_is_a_part_without_regard_to_case(ada: Actor, context: Context) -> None:
    await stock(context, ada.id, "Whole MILK", "bread", "Élan")
    await stock(context, ada.id, "tea", description="goes with milk")
    assert set(await titles_of(ada, q="milk")) == {"Whole MILK", "tea"}
    assert await titles_of(ada, q="ole mi") == ["Whole MILK"]
    assert await titles_of(ada, q="élan") == ["Élan"]
    assert await titles_of(ada, q="nothing like it") == []


@pytest.mark.parametrize("sign", ["%", "_", "\\", "'", '"', "\\%", "%_", "*", "."])
async def test_signs_in_a_search_mean_themselves(ada: Actor, context: Context, sign: str) -> None:
    await stock(context, ada.id, f"a{sign}b", "axb", "ab", "axxb")
    assert await titles_of(ada, q=f"a{sign}b") == [f"a{sign}b"]


async def test_search_finds_only_ones_own(ada: Actor, bob: Actor, context: Context) -> None:
    await stock(context, bob.id, "secret")
    assert await titles_of(ada, q="secret") == []


@pytest.mark.parametrize("member", MEMBERS)
async def test_one_field_alone(ada: Actor, context: Context, member: str) -> None:
    await stock(context, ada.id, "a", "b", description="c")
    whole = (await ada.get(ITEMS)).json()["data"]
    page = (await ada.get(ITEMS, params={"fields": member})).json()
    assert page == {
        "data": [{member: item[member]} for item in whole],
        "next_cursor": None,
        "total": None,
    }
    one = await ada.get(f"{ITEMS}/{whole[0]['id']}", params={"fields": member})
    assert one.json() == {member: whole[0][member]}


async def test_several_fields(ada: Actor, context: Context) -> None:
    await stock(context, ada.id, "a")
    whole = (await ada.get(ITEMS)).json()["data"][0]
    asked = {"fields": "title,id"}
    expected = {"title": "a", "id": whole["id"]}
    assert (await ada.get(ITEMS, params=asked)).json()["data"] == [expected]
    assert (await ada.get(f"{ITEMS}/{whole['id']}", params=asked)).json() == expected


@pytest.mark.parametrize(
    "value", ["", "colour", "id,colour", "id,", "Id", "id title", "*", "id,id"]
)
async def test_unknown_fields_are_refused(ada: Actor, context: Context, value: str) -> None:
    await stock(context, ada.id, "a")
    id = (await ada.get(ITEMS)).json()["data"][0]["id"]
    for path in (ITEMS, f"{ITEMS}/{id}"):
        refused = await ada.get(path, params={"fields": value})
        assert refused.status_code == 422
        assert [each["field"] for each in refused.json()["errors"]] == ["query.fields"]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=",
        "limit=ten",
        "limit=1.0",
        "limit=1e1",
        "limit=%201",
        "limit=99999999999999999999",
        "limit=%D9%A1",
        "limit=5&limit=5",
        "offset=-1",
        "offset=10001",
        "offset=x",
        "offset=0&offset=1",
        "sort=owner_id",
        "sort=",
        "sort=-",
        "sort=--title",
        "sort=title,title",
        "sort=title,-title",
        "sort=title,",
        "sort=rank",
        "sort=title;drop",
        "sort=Title",
        "sort=title&sort=title",
        "total=1",
        "total=True",
        "total=",
        "total=yes",
        "q=",
        "q=%20%20",
        "q=%E2%80%8B",
        "q=a%00b",
        "q=a&q=b",
        "owner_id=5",
        "owner_id=",
        "created_after=2026-01-01T12:00:00",
        "created_after=2026-01-01",
        "created_after=yesterday",
        "created_after=1767268800",
        "created_before=2026-13-01T12:00:00Z",
        "created_before=",
        "updated_after=2026-01-01T12:00:00Z",
        "title=milk",
        "page=2",
        "colour=white",
        "%00=1",
    ],
)
async def test_a_wrong_parameter_is_refused(ada: Actor, query: str) -> None:
    refused = await ada.get(f"{ITEMS}?{query}")
    assert refused.status_code == 422
    problem = refused.json()
    assert problem["error"] == "VALIDATION_ERROR"
    name = query.partition("=")[0]
    field = "query" if "%" in name else f"query.{name}"
    assert {each["field"] for each in problem["errors"]} == {field}


async def test_the_order_of_rights_before_parameters(client: Client) -> None:
    assert (await client.get(f"{ITEMS}?colour=white")).status_code == 401


async def test_a_single_item_takes_no_list_parameters(ada: Actor, context: Context) -> None:
    await stock(context, ada.id, "a")
    id = (await ada.get(ITEMS)).json()["data"][0]["id"]
    for query in ("limit=1", "total=true", "sort=title", "cursor=x"):
        assert (await ada.get(f"{ITEMS}/{id}?{query}")).status_code == 422


async def test_the_link_leads_to_the_next_page_with_all_that_was_asked(
    ada: Actor, context: Context
) -> None:
    await stock(context, ada.id, "100% é", "100% è", "100% &=#+")
    query = f"q={quote('100%')}&sort=-title&limit=1&fields=title,id&total=true"
    seen: list[str] = []
    url = f"{ITEMS}/?{query}"
    for left in (2, 1, 0):
        answer = await ada.get(url)
        assert answer.status_code == 200, url
        page = answer.json()
        assert page["total"] == 3
        assert all(item.keys() == {"title", "id"} for item in page["data"])
        seen += [item["title"] for item in page["data"]]
        assert ("link" in answer.headers) == (page["next_cursor"] is not None) == (left > 0)
        if left:
            target, _, relation = answer.headers["link"].partition(">; ")
            url = target.removeprefix("<")
            assert relation == 'rel="next"'
            assert url.startswith(f"{ITEMS}?")
    assert seen == sorted(["100% é", "100% è", "100% &=#+"], reverse=True)


async def test_a_link_from_an_offset_page_goes_on_by_cursor(ada: Actor, context: Context) -> None:
    await stock(context, ada.id, *"abcdef")
    first = await ada.get(ITEMS, params={"offset": 2, "limit": 2})
    assert [item["title"] for item in first.json()["data"]] == ["d", "c"]
    url = first.headers["link"].partition(">")[0].removeprefix("<")
    assert "offset" not in url
    assert [item["title"] for item in (await ada.get(url)).json()["data"]] == ["b", "a"]
