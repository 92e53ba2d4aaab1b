"""Declarations of this module for the tests of all modules; see tests/declared.py."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from backend.core.context import Context
from backend.modules.articles.exceptions import ArticleNotFoundError
from backend.modules.articles.models import Article
from backend.modules.articles.schemas import ArticleUpdate
from tests.actors import Actor
from tests.declared import (
    MEMBER,
    OWN,
    Arguments,
    Case,
    Change,
    Make,
    Place,
    Resource,
    Rule,
    created,
    stored,
)


def with_article(*, published: bool = False, **more: Any) -> Arguments:
    """Return arguments of a call about an article of the owner."""

    async def arguments(place: Place) -> Mapping[str, Any]:
        article = {"title": "On milk", "content": "White."}
        made = await place.owner.post("/api/v1/articles", json=article)
        if published:
            await place.owner.post(f"/api/v1/articles/{made.json()['id']}/publish")
        return {"article_id": UUID(made.json()["id"]), **more}

    return arguments


async def draft_of(context: Context, owner: Actor) -> UUID:
    article = Article(title="Tea", content="Leaves.", author_id=owner.id)
    return await stored(context, article, article.id)


async def published_article_of(context: Context, owner: Actor) -> UUID:
    article = Article(title="Tea", content="Leaves.", status="published", author_id=owner.id)
    article.published_at = article.created_at
    return await stored(context, article, article.id)


# Ownership decides whether a draft exists for a caller, and what is allowed for a published
# article.
DRAFT, PUBLISHED = with_article(), with_article(published=True)
ARTICLE = created("/articles", {"title": "Tea", "content": "Leaves."})
_OWN = {"articles:read", "articles:write", "articles:publish", "articles:delete"}
GRANTED = {
    "viewer": {"articles:read"},
    "member": _OWN,
    "editor": _OWN | {"articles:admin"},
}
THINGS: dict[str, Make] = {
    r".*/unpublish": published_article_of,
    r"/api/v1/articles.*": draft_of,
}
RULES = (
    Rule("GET /api/v1/articles", "public", others="articles:admin"),
    Rule("POST /api/v1/articles", "articles:write"),
    Rule("GET /api/v1/articles/{id}", "public", others="articles:admin"),
    Rule("PATCH /api/v1/articles/{id}", "articles:write", others="articles:admin"),
    Rule("DELETE /api/v1/articles/{id}", "articles:delete", others="articles:admin"),
    Rule("POST /api/v1/articles/{id}/publish", "articles:publish", others="articles:admin"),
    Rule(
        "POST /api/v1/articles/{id}/unpublish",
        "articles:publish",
        others="articles:admin",
        refusal=403,
    ),
    Rule("POST /api/v1/articles/{id}/archive", "articles:publish", others="articles:admin"),
)
CASES: dict[str, Case] = {
    "archive_article": Case(PUBLISHED, MEMBER),
    "delete_article": Case(DRAFT, MEMBER, ArticleNotFoundError),
    "publish_article": Case(DRAFT, MEMBER, ArticleNotFoundError),
    "unpublish_article": Case(PUBLISHED, MEMBER),
    "update_article": Case(
        with_article(published=True, changes=ArticleUpdate(title="On tea")), MEMBER
    ),
}
OPEN: dict[str, str] = {
    "export_articles": OWN,
    "get_article": "Published articles are public.",
    "list_articles": "Published articles are public.",
}
RESOURCES: dict[str, Resource] = {
    "/articles/{id}": ARTICLE,
}
CHANGES: dict[str, Change] = {
    "PATCH /articles/{id}": (ARTICLE, {"title": "Coffee"}),
    "DELETE /articles/{id}": (ARTICLE, None),
    "POST /articles/{id}/publish": (ARTICLE, None),
    "POST /articles/{id}/unpublish": (ARTICLE, None),
    "POST /articles/{id}/archive": (ARTICLE, None),
}
REPEATABLE: dict[str, Mapping[str, Any]] = {
    "/articles": {"title": "Tea", "content": "Leaves."},
}
