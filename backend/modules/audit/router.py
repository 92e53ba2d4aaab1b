from typing import Annotated

from backend.core.authorization import require
from backend.core.http.dependencies import Reader
from backend.core.http.pagination import list_parameters
from backend.core.http.routing import Router
from backend.core.lists import ListQuery, Page
from backend.core.principal import Principal
from backend.modules.audit import queries, service
from backend.modules.audit.schemas import AuditEventOut

router = Router(prefix="/audit-events", tags=["audit"])
MayRead = Annotated[Principal, require("audit:read")]
EventQuery = Annotated[ListQuery, list_parameters(queries.EVENTS)]


@router.get("")
async def list_events(by: MayRead, reader: Reader, query: EventQuery) -> Page[AuditEventOut]:
    """Actions, with who did them and from where; the latest first."""
    return await service.list_events(reader, by, query)
