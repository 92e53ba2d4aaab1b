"""`fields` narrows the statements of lists: only needed columns and tables are read."""

import re
from typing import Any

import pytest

from backend.core.context import Context
from backend.db.lists import statements as compiled
from tests.actors import Actor
from tests.db.test_list_indexes import LISTS
from tests.samples import sample
from tests.statements import Statements

Article = sample("articles.models", "Article")
Item = sample("items.models", "Item")

ITEMS, ARTICLES, USERS = "/api/v1/items", "/api/v1/articles", "/api/v1/users"


@pytest.fixture
async def database_url(_reused_database: Any) -> Any:
    """The shared database: these tests change rows only."""
    yield _reused_database.url
    _reused_database.restore()


async def stock(context: Context, owner: Actor) -> None:
    async with context.database.transaction() as session:
        for number in range(3):
            session.add(Item(title=f"t{number}", description="d", owner_id=owner.id))
            session.add(Article(title=f"t{number}", content="c", author_id=owner.id))


def selected(statement: str) -> list[str]:
    """Return the columns that a statement selects, in the words of its first SELECT."""
    found = re.match(r"SELECT (.*?)\s+FROM ", statement, re.DOTALL)
    assert found, statement
    return [each.strip() for each in found[1].split(",")]


async def statements_of(
    actor: Actor, statements: Statements, path: str, **parameters: Any
) -> list[str]:
    """Return the statements of a list without the one for the identity."""
    statements.clear()
    answer = await actor.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    return [each for each in statements if not each.startswith("b")][1:]


async def test_a_page_selects_the_members_and_the_sort_keys(
    ada: Actor, context: Context, statements: Statements
) -> None:
    await stock(context, ada)
    for fields, sort, expected in (
        ("title,id", "title", ["items.id", "items.title"]),
        ("title", "title", ["items.title", "items.id AS sort_key_1"]),
        (
            "title,id",
            "-created_at",
            ["items.id", "items.title", "items.created_at AS sort_key_0"],
        ),
        ("owner_id,title", "title", ["items.title", "items.owner_id", "items.id AS sort_key_1"]),
    ):
        (page,) = await statements_of(ada, statements, ITEMS, fields=fields, sort=sort, limit=2)
        assert selected(page) == expected
        assert "description" not in page
    (whole,) = await statements_of(ada, statements, ITEMS)
    assert len(selected(whole)) == 6


async def test_authors_are_loaded_if_they_are_shown(
    ada: Actor, admin: Actor, context: Context, statements: Statements
) -> None:
    await stock(context, ada)
    for actor in (ada, admin):
        for fields in ("title", "id,status", "author_id"):
            (page,) = await statements_of(actor, statements, ARTICLES, fields=fields)
            assert "users" not in page
            assert "articles.content" not in page
        page, authors = await statements_of(actor, statements, ARTICLES, fields="author")
        assert "articles.author_id" in page
        assert "articles.content" not in page
        assert "articles.title" not in page
        assert "FROM users" in authors
    row = (await ada.get(ARTICLES, params={"fields": "author", "limit": 1})).json()["data"][0]
    assert row == {"author": {"id": str(ada.id), "username": "ada", "full_name": None}}


async def test_roles_are_read_if_they_are_shown(
    admin: Actor, ada: Actor, statements: Statements
) -> None:
    for fields, reads_roles in (("email", False), ("id,username", False), ("roles", True)):
        (page,) = await statements_of(admin, statements, USERS, fields=fields)
        assert ("user_roles" in page) == reads_roles
    (page,) = await statements_of(admin, statements, "/api/v1/auth/sessions", fields="current")
    assert selected(page)[0] == "sessions.id"
    assert "user_agent" not in page


async def test_each_member_alone_equals_that_of_the_whole_row(
    admin: Actor, ada: Actor, context: Context
) -> None:
    """For every list: also those members that the service adds."""
    await stock(context, admin)
    for path, spec in LISTS.items():
        if "{" in path:
            continue  # its rows belong to a resource that only its module can make
        whole = (await admin.get(path, params={"limit": 3})).json()
        members = list(spec.schema.model_fields)
        for chosen in (*([each] for each in members), members[1:], members):
            page = await admin.get(path, params={"limit": 3, "fields": ",".join(chosen)})
            expected = [{name: row[name] for name in chosen} for row in whole["data"]]
            assert page.json() == {**whole, "data": expected}, (path, chosen)


async def test_the_order_of_the_names_makes_no_other_statement(ada: Actor) -> None:
    await ada.get(ITEMS, params={"fields": "id,title,owner_id"})
    before = compiled._narrowed.cache_info().misses
    for fields in ("title,owner_id,id", "owner_id,id,title"):
        assert (await ada.get(ITEMS, params={"fields": fields})).status_code == 200
    assert compiled._narrowed.cache_info().misses == before


async def test_chosen_fields_do_not_displace_other_statements(ada: Actor) -> None:
    await ada.get(ITEMS)
    before = compiled._whole.cache_info()
    members = ["id", "title", "description", "owner_id", "created_at", "updated_at"]
    for mask in range(1, 2 ** len(members) - 1):
        chosen = [name for at, name in enumerate(members) if mask >> at & 1]
        await ada.get(ITEMS, params={"fields": ",".join(chosen)})
    await ada.get(ITEMS)
    assert compiled._whole.cache_info().misses == before.misses
    limit = compiled._narrowed.cache_info().maxsize
    assert limit is not None
    assert limit <= 256
