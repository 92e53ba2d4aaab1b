from typing import Annotated

from fastapi import Depends, Request, Response

from backend.core.context import context_of
from backend.core.errors import error_responses
from backend.core.http.dependencies import CurrentContext, Reader, Session
from backend.core.http.pagination import (
    FieldSelection,
    ListParameters,
    Page,
    PageRequest,
    ResourceParameters,
)
from backend.core.http.routing import Router
from backend.core.identity import OptionalPrincipal, require
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
from backend.modules.storage.exceptions import StorageQuotaExceededError

router = Router(prefix="/articles", tags=["articles"])
Writer = Annotated[Principal, require("articles:write")]
Publisher = Annotated[Principal, require("articles:publish")]
Deleter = Annotated[Principal, require("articles:delete")]
ArticleAnswer = Annotated[FieldSelection, Depends(ResourceParameters(ArticleOut))]
ArticlePage = Annotated[PageRequest, Depends(ListParameters(queries.ARTICLES, ArticleOut))]


@router.get("", response_model=Page[ArticleOut])
async def list_articles(caller: OptionalPrincipal, reader: Reader, page: ArticlePage) -> Response:
    """Published articles and the caller's own; with `articles:admin` all."""
    return page.render(await service.list_articles(reader, caller, page.query))


@router.post("", status_code=201, responses=error_responses(StorageQuotaExceededError))
async def create_article(
    author: Writer,
    session: Session,
    reader: Reader,
    request: Request,
    response: Response,
    new: ArticleCreate,
) -> ArticleOut:
    """Begin a draft."""
    article = await service.create_article(context_of(request), session, reader, author, new)
    response.headers["Location"] = f"/api/v1/articles/{article.id}"
    return article


@router.get("/{id}", response_model=ArticleOut, responses=error_responses(ArticleNotFoundError))
async def read_article(
    id: Id, caller: OptionalPrincipal, reader: Reader, answer: ArticleAnswer
) -> Response:
    """One article."""
    return answer.render(await service.get_article(reader, caller, id))


@router.patch(
    "/{id}",
    responses=error_responses(
        ArticleNotFoundError, ArticleWithoutContentError, StorageQuotaExceededError
    ),
)
async def update_article(
    id: Id,
    caller: Writer,
    context: CurrentContext,
    session: Session,
    reader: Reader,
    changes: ArticleUpdate,
) -> ArticleOut:
    """Change what is sent; `null` clears the content, unless the article is published."""
    return await service.update_article(context, session, reader, caller, id, changes)


@router.delete("/{id}", status_code=204, responses=error_responses(ArticleNotFoundError))
async def delete_article(
    id: Id, caller: Deleter, context: CurrentContext, session: Session
) -> None:
    """Delete an article."""
    await service.delete_article(context, session, caller, id)


@router.post(
    "/{id}/publish",
    responses=error_responses(
        ArticleNotFoundError, ArticleAlreadyPublishedError, ArticleWithoutContentError
    ),
)
async def publish_article(
    id: Id, caller: Publisher, session: Session, reader: Reader
) -> ArticleOut:
    """Show a draft or an archived article to everybody."""
    return await service.publish_article(session, reader, caller, id)


@router.post(
    "/{id}/unpublish", responses=error_responses(ArticleNotFoundError, ArticleNotPublishedError)
)
async def unpublish_article(
    id: Id, caller: Publisher, session: Session, reader: Reader
) -> ArticleOut:
    """Make a published article a draft again."""
    return await service.unpublish_article(session, reader, caller, id)


@router.post(
    "/{id}/archive", responses=error_responses(ArticleNotFoundError, ArticleAlreadyArchivedError)
)
async def archive_article(
    id: Id, caller: Publisher, session: Session, reader: Reader
) -> ArticleOut:
    """Take an article out of sight without deleting it."""
    return await service.archive_article(session, reader, caller, id)
