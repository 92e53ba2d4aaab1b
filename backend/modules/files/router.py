from typing import Annotated

from fastapi import Query, Request, Response

from backend.core.authorization import download
from backend.core.errors import NotFoundError, ServiceUnavailableError, error_responses
from backend.core.http.dependencies import CurrentContext
from backend.core.http.routing import Router
from backend.modules.files import downloads, service
from backend.modules.files.exceptions import RangeNotSatisfiableError

router = Router(prefix="/files", tags=["files"], dependencies=[download])


@router.get(
    "/{key}",
    response_class=Response,
    responses={
        **downloads.RESPONSES,
        **error_responses(NotFoundError, RangeNotSatisfiableError, ServiceUnavailableError),
    },
)
async def download_file(
    key: str,
    request: Request,
    context: CurrentContext,
    expires: Annotated[str | None, Query(description="A part of a signed link.")] = None,
    signature: Annotated[str | None, Query(description="A part of a signed link.")] = None,
) -> Response:
    """A public file, or by a signed link a private one; `Range` asks for a part of it.

    A link that is forged or has expired is 404, as an unknown file is.
    """
    file = await service.find_file(
        # A replica may lack the newest file, and no session tells that it was just stored.
        context,
        context.database.primary,
        key,
        expires=expires,
        signature=signature,
    )
    return await downloads.download(request, file)
