from typing import Annotated

from fastapi import Depends, Request, Response

from backend.core.context import context_of
from backend.core.dependencies import CurrentContext, ReadSession, Session
from backend.core.errors import documented
from backend.core.identity import OptionalPrincipal, require
from backend.core.pagination import Answer, ListParameters, Page, PageRequest, ResourceParameters
from backend.core.principal import Principal
from backend.core.routing import Router
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
from backend.modules.storage.exceptions import StorageQuotaExceededError

router = Router(prefix="/articles", tags=["articles"])
Writer = Annotated[Principal, require("articles:write")]
Publisher = Annotated[Principal, require("articles:publish")]
Deleter = Annotated[Principal, require("articles:delete")]
ArticleAnswer = Annotated[Answer, Depends(ResourceParameters(ArticleOut))]
ArticlePage = Annotated[PageRequest, Depends(ListParameters(queries.ARTICLES, ArticleOut))]


@router.get("", response_model=Page[ArticleOut])
async def list_articles(
    caller: OptionalPrincipal, reads: ReadSession, page: ArticlePage
) -> Response:
    """Published articles and the caller's own; with `articles:admin` all."""
    return page.of(await service.list_articles(reads, caller, page.query))


@router.post("", status_code=201, responses=documented(StorageQuotaExceededError))
async def create_article(
    author: Writer,
    session: Session,
    reads: ReadSession,
    request: Request,
    response: Response,
    new: ArticleCreate,
) -> ArticleOut:
    """Begin a draft."""
    article = await service.create_article(context_of(request), session, reads, author, new)
    response.headers["Location"] = f"/api/v1/articles/{article.id}"
    return article


@router.get("/{id}", response_model=ArticleOut, responses=documented(ArticleNotFoundError))
async def read_article(
    id: Id, caller: OptionalPrincipal, reads: ReadSession, answer: ArticleAnswer
) -> Response:
    """One article."""
    return answer.of(await service.get_article(reads, caller, id))


@router.patch(
    "/{id}",
    responses=documented(
        ArticleNotFoundError, ArticleWithoutContentError, StorageQuotaExceededError
    ),
)
async def update_article(
    id: Id,
    caller: Writer,
    context: CurrentContext,
    session: Session,
    reads: ReadSession,
    changes: ArticleUpdate,
) -> ArticleOut:
    """Change what is sent; `null` clears the content, unless the article is published."""
    return await service.update_article(context, session, reads, caller, id, changes)


@router.delete("/{id}", status_code=204, responses=documented(ArticleNotFoundError))
async def delete_article(
    id: Id, caller: Deleter, context: CurrentContext, session: Session
) -> None:
    """Delete an article."""
    await service.delete_article(context, session, caller, id)


@router.post(
    "/{id}/publish",
    responses=documented(
        ArticleNotFoundError, ArticleAlreadyPublishedError, ArticleWithoutContentError
    ),
)
async def publish_article(
    id: Id, caller: Publisher, session: Session, reads: ReadSession
) -> ArticleOut:
    """Show a draft or an archived article to everybody."""
    return await service.publish_article(session, reads, caller, id)


@router.post(
    "/{id}/unpublish", responses=documented(ArticleNotFoundError, ArticleNotPublishedError)
)
async def unpublish_article(
    id: Id, caller: Publisher, session: Session, reads: ReadSession
) -> ArticleOut:
    """Make a published article a draft again."""
    return await service.unpublish_article(session, reads, caller, id)


@router.post(
    "/{id}/archive", responses=documented(ArticleNotFoundError, ArticleAlreadyArchivedError)
)
async def archive_article(
    id: Id, caller: Publisher, session: Session, reads: ReadSession
) -> ArticleOut:
    """Take an article out of sight without deleting it."""
    return await service.archive_article(session, reads, caller, id)
