"""Reads of articles, as constant statements."""

import re
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Double,
    and_,
    bindparam,
    cast,
    func,
    literal_column,
    select,
)
from sqlmodel import col

from backend.core.lists import list_spec, select_fields
from backend.core.personal_data import counts
from backend.db.lists.page_bytes import rows_within
from backend.db.lists.specs import Filter, Search, equals
from backend.db.queries import KeyedQuery, Query
from backend.modules.articles.models import NEVER, Article
from backend.modules.articles.schemas import MAX_CONTENT, ArticleOut, Status

# As in its indexes, which no parameter matches.
_PUBLISHED_AT = func.coalesce(col(Article.published_at), literal_column(NEVER))
# PostgreSQL fails on more than 32 signs that exclude nothing.
_LONE_MINUS = re.compile(r'(?<!\w)-(?![\w"])')


# A literal, because a parameter does not match the condition of a partial index.
_PUBLISHED: ColumnElement[str] = literal_column("'published'")


def _published(_: BindParameter[Any]) -> ColumnElement[bool]:
    return col(Article.status) == _PUBLISHED


def _own_unpublished(author: BindParameter[Any]) -> ColumnElement[bool]:
    return and_(col(Article.author_id) == author, col(Article.status) != _PUBLISHED)


def _searchable(q: str) -> str:
    return _LONE_MINUS.sub(" ", q)


def _tsquery(words: BindParameter[Any]) -> ColumnElement[Any]:
    return func.websearch_to_tsquery("english", words)


def _rank(words: BindParameter[Any]) -> ColumnElement[float]:
    # A subquery is computed once, and not for each row of a prepared statement.
    wanted = select(_tsquery(words)).scalar_subquery()
    return cast(func.ts_rank(col(Article.search), wanted), Double)


_LARGE = {"content": MAX_CONTENT}
ARTICLE = KeyedQuery(
    select_fields(Article, ArticleOut, without=("author",)),
    col(Article.id),
    max_keys=rows_within(_LARGE.values()),
)
PUBLISHED_BY = Query(
    select(col(Article.id))
    .where(col(Article.author_id) == bindparam("author"), col(Article.status) == "published")
    .limit(1)
)
ARTICLES = list_spec(
    Article,
    ArticleOut,
    computed={"author": ("author_id",)},
    sorts={
        "created_at": col(Article.created_at),
        "updated_at": col(Article.updated_at),
        "published_at": _PUBLISHED_AT,
        "title": col(Article.title),
    },
    filters={
        "status": Filter(Status, equals(col(Article.status)), "In this state."),
        "author_id": Filter(UUID, equals(col(Article.author_id)), "By this user."),
    },
    scopes={
        "published": _published,
        "author": equals(col(Article.author_id)),
        "visible_to": (_published, _own_unpublished),
    },
    search=Search(
        lambda words: col(Article.search).op("@@")(_tsquery(words)),
        rank=_rank,
        prepare=_searchable,
        description='Words of title and content; "a phrase", `or` and `-without` work.',
    ),
    large=_LARGE,
)
STATISTICS = counts(
    ARTICLES,
    "author",
    articles=None,
    articles_published=col(Article.status) == "published",
)
