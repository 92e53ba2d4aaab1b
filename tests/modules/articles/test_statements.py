"""The number of statements of a list does not depend on the number of rows."""

import re
from typing import Any

import pytest

from backend.core.context import Context
from backend.core.principal import SYSTEM
from backend.modules.articles.models import Article
from backend.modules.auth.models import UserSession
from backend.modules.users import service as users
from tests.actors import Actor, ActorFactory, Client
from tests.samples import sample
from tests.statements import Statements

Item = sample("items.models", "Item")
ARTICLES = "/api/v1/articles"


async def fill(context: Context, owner: Actor, rows: int) -> None:
    """Insert `rows` rows into every collection, each article by another author."""
    async with context.database.transaction() as session:
        for number in range(rows):
            name = f"author{len(str(number))}{number}x{rows}"
            user = await users.add_user(session, SYSTEM, email=f"{name}@example.com", username=name)
            session.add(Article(title="a", content="b", status="published", author_id=user.id))
            session.add(Item(title="a", owner_id=owner.id))
        sessions = (await session.get_one(UserSession, owner.session_id)).expires_at
        made: dict[str, Any] = {"user_id": owner.id, "expires_at": sessions, "transport": "body"}
        session.add_all(UserSession(**made, token_digest=b"") for _ in range(rows))


def tables_read(statements: list[str]) -> list[str]:
    """Return the table that each statement reads."""
    return [re.findall(r"FROM (\w+)", statement)[0] for statement in queries(statements)]


def queries(statements: list[str]) -> list[str]:
    """Return the statements without those that set limits around expensive reads."""
    return [each for each in statements if not re.match(r"b['\"](BEGIN|ROLLBACK)", each)]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/items", ["sessions", "items"]),
        ("/api/v1/articles", ["sessions", "articles", "users"]),
        ("/api/v1/articles?q=b&sort=published_at", ["sessions", "articles", "users"]),
        ("/api/v1/users", ["sessions", "users"]),
        ("/api/v1/users?role=member&q=a", ["sessions", "users"]),
        ("/api/v1/auth/sessions", ["sessions", "sessions"]),
        ("/api/v1/items?total=true", ["sessions", "items", "items"]),
    ],
)
async def test_a_list_costs_the_same_for_any_number_of_rows(
    admin: Actor, context: Context, statements: Statements, path: str, expected: list[str]
) -> None:
    for rows in (1, 9, 50):
        await fill(context, admin, rows)
        statements.clear()
        answer = await admin.get(path, params={"limit": 100} if "?" not in path else None)
        assert len(answer.json()["data"]) >= min(rows, 20)
        assert len(queries(statements)) == len(expected), statements
        if path != "/api/v1/users" and "role=" not in path:
            assert tables_read(statements) == expected


async def test_an_anonymous_page_costs_no_identity(
    ada: Actor, client: Client, context: Context, statements: Statements
) -> None:
    await fill(context, ada, 30)
    statements.clear()
    assert len((await client.get(ARTICLES, params={"limit": 100})).json()["data"]) == 30
    assert tables_read(statements) == ["articles", "users"]


async def test_an_empty_page_asks_for_no_authors(client: Client, statements: Statements) -> None:
    assert (await client.get(ARTICLES)).json()["data"] == []
    assert tables_read(statements) == ["articles"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/users/me", 2),
        ("/api/v1/items/{item}", 2),
        ("/api/v1/articles/{article}", 3),
    ],
)
async def test_a_single_resource_costs_one_read_beside_the_identity(
    ada: Actor, statements: Statements, path: str, expected: int
) -> None:
    item = await ada.post("/api/v1/items", json={"title": "a"})
    article = await ada.post(ARTICLES, json={"title": "a"})
    statements.clear()
    ids = {"item": item.json()["id"], "article": article.json()["id"]}
    assert (await ada.get(path.format(**ids))).status_code == 200
    assert len(statements) == expected


async def test_a_refused_caller_costs_the_identity_and_a_record(
    actor: ActorFactory, statements: Statements
) -> None:
    nobody = await actor("nemo", roles=())
    statements.clear()
    assert (await nobody.get("/api/v1/items")).status_code == 403
    identity, record = statements
    assert tables_read([identity]) == ["sessions"]
    assert "INSERT INTO audit_events" in record


async def test_what_is_not_recorded_costs_nothing_for_that(
    ada: Actor, statements: Statements
) -> None:
    for path in ("/api/v1/items", ARTICLES):
        statements.clear()
        made = await ada.post(path, json={"title": "a"})
        inserted = [each for each in statements if "INSERT" in each]
        assert len(inserted) == 1
        await ada.patch(made.headers["location"], json={"title": "b"})
        assert not [each for each in statements if "audit" in each]


@pytest.mark.parametrize("path", [ARTICLES, f"{ARTICLES}/{{id}}"])
async def test_an_author_who_goes_between_page_and_authors_breaks_nothing(
    ada: Actor, bob: Actor, client: Client, statements: Statements, path: str
) -> None:
    ids = []
    for author in (ada, bob):
        made = await author.post(ARTICLES, json={"title": author.username, "content": "Text."})
        await author.post(f"{made.headers['location']}/publish")
        ids.append(made.json()["id"])

    async def delete_ada() -> None:
        assert (await ada.delete("/api/v1/users/me")).status_code == 204

    statements.before("users.full_name", delete_ada)
    answer = await client.get(path.format(id=ids[0]))
    if path == ARTICLES:
        assert answer.status_code == 200
        assert [article["title"] for article in answer.json()["data"]] == ["bob"]
    else:
        assert answer.status_code == 404
        assert answer.json()["error"] == "ARTICLE_NOT_FOUND"
