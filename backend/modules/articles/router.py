from typing import Annotated

from fastapi import Request

from backend.core.authorization import OptionalPrincipal, require
from backend.core.context import context_of
from backend.core.errors import error_responses
from backend.core.http.caching import cached
from backend.core.http.dependencies import CurrentContext, Reader, Session
from backend.core.http.pagination import list_parameters
from backend.core.http.routing import Router
from backend.core.lists import ListQuery, Page
from backend.core.principal import Principal
from backend.core.schemas import Id
from backend.modules.articles import queries, service
from backend.modules.articles.exceptions import (
    ArticleAlreadyArchivedError,
    ArticleAlreadyPublishedError,
    ArticleNotFoundError,
    ArticleNotPublishedError,
    ArticleWithoutContentError,
)
from backend.modules.articles.schemas import ArticleCreate, ArticleOut, ArticleUpdate
from backend.modules.storage_quotas.exceptions import StorageQuotaExceededError

router = Router(prefix="/articles", tags=["articles"])
MayWrite = Annotated[Principal, require("articles:write")]
MayPublish = Annotated[Principal, require("articles:publish")]
MayDelete = Annotated[Principal, require("articles:delete")]
# Searches and further pages have too many variants to be cached.
CACHED = ("limit", "sort", "fields", "status", "author_id")
ArticleQuery = Annotated[ListQuery, list_parameters(queries.ARTICLES)]


@router.get("", dependencies=[cached("articles", parameters=CACHED)])
async def list_articles(
    by: OptionalPrincipal, reader: Reader, query: ArticleQuery
) -> Page[ArticleOut]:
    """Published articles and the caller's own; with `articles:admin` all."""
    return await service.list_articles(reader, by, query)


@router.get(
    "/{id}",
    responses=error_responses(ArticleNotFoundError),
    dependencies=[cached("articles:{id}", "articles:authors", parameters=("fields",))],
)
async def read_article(id: Id, by: OptionalPrincipal, reader: Reader) -> ArticleOut:
    """One article."""
    return await service.get_article(reader, by, id)


@router.post(
    "",
    status_code=201,
    location=read_article,
    responses=error_responses(StorageQuotaExceededError),
)
async def create_article(
    by: MayWrite, request: Request, session: Session, new: ArticleCreate
) -> ArticleOut:
    """Begin a draft."""
    return await service.create_article(context_of(request), session, by, new)


@router.patch(
    "/{id}",
    responses=error_responses(
        ArticleNotFoundError, ArticleWithoutContentError, StorageQuotaExceededError
    ),
)
async def update_article(
    id: Id, by: MayWrite, context: CurrentContext, session: Session, changes: ArticleUpdate
) -> ArticleOut:
    """Change what is sent; `null` clears the content, unless the article is published."""
    return await service.update_article(context, session, by, id, changes)


@router.delete("/{id}", status_code=204, responses=error_responses(ArticleNotFoundError))
async def delete_article(id: Id, by: MayDelete, context: CurrentContext, session: Session) -> None:
    """Delete an article."""
    await service.delete_article(context, session, by, id)


@router.post(
    "/{id}/publish",
    responses=error_responses(
        ArticleNotFoundError, ArticleAlreadyPublishedError, ArticleWithoutContentError
    ),
)
async def publish_article(
    id: Id, by: MayPublish, context: CurrentContext, session: Session
) -> ArticleOut:
    """Show a draft or an archived article to everybody."""
    return await service.publish_article(context, session, by, id)


@router.post(
    "/{id}/unpublish", responses=error_responses(ArticleNotFoundError, ArticleNotPublishedError)
)
async def unpublish_article(
    id: Id, by: MayPublish, context: CurrentContext, session: Session
) -> ArticleOut:
    """Make a published article a draft again."""
    return await service.unpublish_article(context, session, by, id)


@router.post(
    "/{id}/archive", responses=error_responses(ArticleNotFoundError, ArticleAlreadyArchivedError)
)
async def archive_article(
    id: Id, by: MayPublish, context: CurrentContext, session: Session
) -> ArticleOut:
    """Take an article out of sight without deleting it."""
    return await service.archive_article(context, session, by, id)
