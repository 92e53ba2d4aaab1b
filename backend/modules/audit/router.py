from typing import Annotated

from fastapi import Depends, Response

from backend.core.dependencies import ReadSession
from backend.core.identity import require
from backend.core.pagination import ListParameters, Page, PageRequest
from backend.core.routing import Router
from backend.modules.audit import queries, service
from backend.modules.audit.schemas import AuditEventOut

router = Router(prefix="/audit-events", tags=["audit"])
EventPage = Annotated[PageRequest, Depends(ListParameters(queries.EVENTS, AuditEventOut))]


@router.get("", response_model=Page[AuditEventOut], dependencies=[require("audit:read")])
async def list_events(reads: ReadSession, page: EventPage) -> Response:
    """What was done, by whom and from where; the latest first."""
    return page.of(await service.list_events(reads, page.query))
