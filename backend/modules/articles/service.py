"""Use cases of articles.

Everybody sees published articles. Only the author and holders of `articles:admin` see the others.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.cache import drop_cached
from backend.core.context import Context, ExportPages
from backend.core.errors import InvalidTokenError, PermissionDeniedError
from backend.core.lists import Page, read_all
from backend.core.ownership import apply_changes
from backend.core.personal_data import export_query
from backend.core.preconditions import check_preconditions
from backend.core.principal import SYSTEM, Caller, Principal, System
from backend.db.base import utc_now
from backend.db.inserts import insert_row
from backend.db.lists.pages import fetch_page
from backend.db.lists.specs import ListQuery
from backend.db.query_runner import QueryRunner
from backend.db.session_reader import RowReader, SessionReader
from backend.modules.articles import queries
from backend.modules.articles.exceptions import (
    ArticleAlreadyArchivedError,
    ArticleAlreadyPublishedError,
    ArticleNotFoundError,
    ArticleNotPublishedError,
    ArticleWithoutContentError,
)
from backend.modules.articles.models import Article
from backend.modules.articles.schemas import ArticleCreate, ArticleOut, ArticleUpdate
from backend.modules.audit import service as audit
from backend.modules.storage_quotas import service as quotas
from backend.modules.users import service as users
from backend.modules.users.schemas import Author

ADMIN = "articles:admin"


async def list_articles(
    reader: QueryRunner, by: Caller | None, query: ListQuery
) -> Page[ArticleOut]:
    """Return a page of the articles that the caller may see.

    The authors of the page are loaded by one further statement, if the response has them.
    """
    scope = _scope(by, query.filters.get("status"))
    page = await fetch_page(reader, queries.ARTICLES, query, **scope)
    if not query.includes("author"):
        return Page.from_rows(page, lambda row: ArticleOut.from_row({**row, "author": None}))
    authors = await users.authors(reader, {row["author_id"] for row in page.rows})
    # Deleting an author between the two statements deletes their articles as well.
    rows = [row for row in page.rows if row["author_id"] in authors]
    return Page.from_rows(replace(page, rows=rows), lambda row: _to_schema(row, authors))


async def get_article(reader: RowReader, by: Caller | None, article_id: UUID) -> ArticleOut:
    row = await reader.find(queries.ARTICLE, article_id)
    if row is None or not _sees(by, row["status"], row["author_id"]):
        raise ArticleNotFoundError
    author = await users.author(reader, row["author_id"])
    if author is None:
        raise ArticleNotFoundError
    return _to_schema(row, {author.id: author})


async def export_articles(context: Context, reader: QueryRunner, by: Principal) -> ExportPages:
    """Yield the articles of the caller, in all states."""
    query = export_query(context)
    async for rows in read_all(reader, queries.ARTICLES, query, author=by.user_id):
        authors = await users.authors(reader, [by.user_id])
        if not authors:
            # The account was deleted meanwhile. An error ends the incomplete file.
            raise InvalidTokenError
        yield [_to_schema(row, authors) for row in rows]


async def create_article(
    context: Context, session: AsyncSession, by: Principal, new: ArticleCreate
) -> ArticleOut:
    """Create a draft whose author is the caller."""
    by.must("articles:write")
    await quotas.update_usage(context, session, SYSTEM, by.user_id, new=(new.title, new.content))
    now = utc_now()
    own = {"author_id": by.user_id, "created_at": now, "updated_at": now}
    row = await insert_row(session, Article, {**new.model_dump(), **own})
    return _to_schema(row, await users.authors(SessionReader(session), [by.user_id]))


async def update_article(
    context: Context, session: AsyncSession, by: Caller, article_id: UUID, changes: ArticleUpdate
) -> ArticleOut:
    by.must("articles:write")
    article = await _own(session, by, article_id)
    old = _texts(article)
    before, after = apply_changes(article, changes)
    if article.status == "published" and article.content is None:
        raise ArticleWithoutContentError
    await quotas.update_usage(
        context, session, SYSTEM, article.author_id, old=old, new=_texts(article)
    )
    saved = await _saved(session, article)
    if article.status == "published":
        await _drop_cached(context, session, article)
    target, long = ("article", article_id), queries.ARTICLES.large
    await audit.record_update(session, by, target, article.author_id, before, after, hidden=long)
    return saved


async def delete_article(
    context: Context, session: AsyncSession, by: Caller, article_id: UUID
) -> None:
    by.must("articles:delete")
    article = await _own(session, by, article_id)
    await quotas.update_usage(context, session, SYSTEM, article.author_id, old=_texts(article))
    await session.delete(article)
    await session.flush()
    if article.status == "published":
        await _drop_cached(context, session, article)
    gone = {"author_id": article.author_id, "status": article.status}
    await audit.record_delete(session, by, ("article", article_id), gone)


async def drop_articles_of(
    context: Context, session: AsyncSession, by: System, author_id: UUID
) -> None:
    """Drop all cached articles if this user has published one. For trusted callers."""
    by.must_be_system()
    if await SessionReader(session).first(queries.PUBLISHED_BY, author=author_id):
        await drop_cached(context, session, "articles", "articles:authors")


async def publish_article(
    context: Context, session: AsyncSession, by: Caller, article_id: UUID
) -> ArticleOut:
    """Publish a draft or an archived article."""
    by.must("articles:publish")
    article = await _own(session, by, article_id)
    if article.status == "published":
        raise ArticleAlreadyPublishedError
    if article.content is None:
        raise ArticleWithoutContentError
    return await _moved(context, session, by, article, "publish", "published", utc_now())


async def unpublish_article(
    context: Context, session: AsyncSession, by: Caller, article_id: UUID
) -> ArticleOut:
    """Make a published article a draft again and clear `published_at`."""
    by.must("articles:publish")
    article = await _own(session, by, article_id)
    if article.status != "published":
        raise ArticleNotPublishedError
    return await _moved(context, session, by, article, "unpublish", "draft", None)


async def archive_article(
    context: Context, session: AsyncSession, by: Caller, article_id: UUID
) -> ArticleOut:
    """Archive an article and keep `published_at`."""
    by.must("articles:publish")
    article = await _own(session, by, article_id)
    if article.status == "archived":
        raise ArticleAlreadyArchivedError
    return await _moved(context, session, by, article, "archive", "archived", article.published_at)


async def _own(session: AsyncSession, by: Caller, article_id: UUID) -> Article:
    """Return the locked article: 404 unless the caller sees it, 403 unless they may change it."""
    article = await session.get(Article, article_id, with_for_update=True)
    if article is None or not _sees(by, article.status, article.author_id):
        raise ArticleNotFoundError
    if article.author_id != by.user_id and not _is_admin(by):
        raise PermissionDeniedError
    await check_preconditions(lambda: _stored(session, article))
    return article


async def _moved(
    context: Context,
    session: AsyncSession,
    by: Caller,
    article: Article,
    action: str,
    status: str,
    published_at: datetime | None,
) -> ArticleOut:
    """Change the state of an article, and record the change."""
    before = {"status": article.status, "published_at": article.published_at}
    changes = audit.changes_of(before, {"status": status, "published_at": published_at})
    if "published" in (article.status, status):
        await _drop_cached(context, session, article)
    article.status, article.published_at = status, published_at
    saved = await _saved(session, article)
    target = ("article", article.id)
    await audit.record(
        session, f"article.{action}", target=target, actor_id=by.user_id, changes=changes
    )
    return saved


async def _drop_cached(context: Context, session: AsyncSession, article: Article) -> None:
    """Drop the cached responses that contain this article, published before or after a change."""
    await drop_cached(context, session, "articles", f"articles:{article.id}")


async def _saved(session: AsyncSession, article: Article) -> ArticleOut:
    await session.flush()
    return await _stored(session, article)


async def _stored(session: AsyncSession, article: Article) -> ArticleOut:
    authors = await users.authors(SessionReader(session), [article.author_id])
    return _to_schema(article.model_dump(exclude={"search"}), authors)


def _texts(article: Article) -> quotas.Texts:
    return article.title, article.content


def _scope(by: Caller | None, status: str | None) -> dict[str, Any]:
    """Return the scope of the articles in this state that the caller may see."""
    if _is_admin(by):
        return {}
    if by is None or status == "published":
        return {"published": True}
    return {"visible_to": by.user_id} if status is None else {"author": by.user_id}


def _is_admin(by: Caller | None) -> bool:
    return by is not None and by.may(ADMIN)


def _sees(by: Caller | None, status: str, author_id: UUID) -> bool:
    own = by is not None and by.user_id == author_id
    return own or status == "published" or _is_admin(by)


def _to_schema(row: dict[str, Any], authors: dict[UUID, Author]) -> ArticleOut:
    return ArticleOut.from_row({**row, "author": authors[row["author_id"]]})
