from typing import Annotated

from fastapi import Depends, Response

from backend.core.http.dependencies import Reader
from backend.core.http.pagination import ListParameters, Page, PageRequest
from backend.core.http.routing import Router
from backend.core.identity import require
from backend.modules.audit import queries, service
from backend.modules.audit.schemas import AuditEventOut

router = Router(prefix="/audit-events", tags=["audit"])
EventPage = Annotated[PageRequest, Depends(ListParameters(queries.EVENTS, AuditEventOut))]


@router.get("", response_model=Page[AuditEventOut], dependencies=[require("audit:read")])
async def list_events(reader: Reader, page: EventPage) -> Response:
    """What was done, by whom and from where; the latest first."""
    return page.render(await service.list_events(reader, page.query))
