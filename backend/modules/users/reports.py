"""The routes of statistics and exports, a part of the module's router."""

from typing import Annotated

from fastapi import Query
from starlette.responses import JSONResponse, Response

from backend.core.authorization import CurrentPrincipal, require
from backend.core.http.dependencies import CurrentContext, Reader
from backend.core.http.exports import EXPORT, JSON_FILE, ListExport, attachment, export_parameters
from backend.core.http.routing import Router
from backend.core.lists import Integer
from backend.core.personal_data import (
    AccountExport,
    AccountStatistics,
    read_export,
    read_statistics,
)
from backend.core.principal import Principal
from backend.modules.users import queries, service
from backend.modules.users.schemas import UserStatistics

router = Router(tags=["users"])
MayRead = Annotated[Principal, require("users:read")]
UserExport = Annotated[ListExport, export_parameters(queries.USERS)]
Days = Annotated[Integer, Query(ge=1, le=366, description="Number of days, today included.")]


@router.get("/me/statistics", response_model=AccountStatistics)
async def read_my_statistics(
    by: CurrentPrincipal, context: CurrentContext, reader: Reader
) -> Response:
    """How much the caller has; sessions are those that have not ended."""
    return JSONResponse(await read_statistics(context, reader, by))


@router.get("/me/export", response_model=AccountExport, **JSON_FILE)
async def export_me(by: CurrentPrincipal, context: CurrentContext, reader: Reader) -> Response:
    """Everything that the system holds about the caller, as a file.

    Each part is as its list returns it. Audit events lack the data of other people. An incomplete
    response ends with a broken connection.
    """
    pieces = read_export(context, reader, by)
    return await attachment("account.json", "application/json", pieces)


@router.get("/statistics")
async def read_statistics_of_users(by: MayRead, reader: Reader, days: Days = 30) -> UserStatistics:
    """The number of accounts, and of new ones per day."""
    return await service.user_statistics(reader, by, days)


@router.get("/export", **EXPORT)
async def export_users(by: MayRead, reader: Reader, export: UserExport) -> Response:
    """All accounts that match, as a file. The columns are the members of an account.

    Accounts that are created meanwhile are not in the file. With another `sort` than `created_at`,
    accounts that change meanwhile may be missing or occur twice.
    """
    return await export.respond(service.export_users(reader, by, export.query))
