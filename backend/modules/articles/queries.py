"""Reads of articles, as constant statements."""

import re
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BindParameter, ColumnElement, Double, bindparam, cast, func, or_, select
from sqlmodel import col

from backend.core.lists import list_spec, select_fields
from backend.core.personal_data import counts
from backend.db.lists.pages import Filter, Search
from backend.db.query_runner import Query
from backend.modules.articles.models import Article
from backend.modules.articles.schemas import MAX_CONTENT, ArticleOut, Status

# Articles that were never published sort as if published before all others.
NEVER = datetime(1, 1, 1, tzinfo=UTC)
# PostgreSQL fails on more than 32 signs that exclude nothing.
_LONE_MINUS = re.compile(r'(?<!\w)-(?![\w"])')


def _visible_to(caller: BindParameter[Any]) -> ColumnElement[bool]:
    return or_(col(Article.status) == "published", col(Article.author_id) == caller)


def _searchable(q: str) -> str:
    return _LONE_MINUS.sub(" ", q)


def _tsquery(words: BindParameter[Any]) -> ColumnElement[Any]:
    return func.websearch_to_tsquery("english", words)


def _rank(words: BindParameter[Any]) -> ColumnElement[float]:
    # A subquery is computed once, and not for each row of a prepared statement.
    wanted = select(_tsquery(words)).scalar_subquery()
    return cast(func.ts_rank(col(Article.search), wanted), Double)


ARTICLE = Query(
    select_fields(Article, ArticleOut, without=("author",)).where(
        col(Article.id) == bindparam("id")
    )
)
ARTICLES = list_spec(
    Article,
    ArticleOut,
    without=("author",),
    sorts={
        "created_at": col(Article.created_at),
        "updated_at": col(Article.updated_at),
        "published_at": func.coalesce(col(Article.published_at), NEVER),
        "title": col(Article.title),
    },
    filters={
        "status": Filter(Status, lambda status: col(Article.status) == status, "In this state."),
        "author_id": Filter(UUID, lambda author: col(Article.author_id) == author, "By this user."),
    },
    scopes={"visible_to": _visible_to, "author": lambda author: col(Article.author_id) == author},
    indexed=("author_id",),
    search=Search(
        lambda words: col(Article.search).op("@@")(_tsquery(words)),
        rank=_rank,
        prepare=_searchable,
        description='Words of title and content; "a phrase", `or` and `-without` work.',
    ),
    large={"content": MAX_CONTENT},
)
STATISTICS = counts(
    ARTICLES,
    "author",
    articles=None,
    articles_published=col(Article.status) == "published",
)
