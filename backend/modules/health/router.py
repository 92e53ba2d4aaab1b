from fastapi import Response

from backend.core.authorization import unlimited
from backend.core.http.dependencies import CurrentContext
from backend.core.http.routing import Router
from backend.modules.health import service
from backend.modules.health.schemas import Health, Liveness, Readiness
from backend.product import VERSION

router = Router(prefix="/health", tags=["health"], dependencies=[unlimited], selects_fields=False)


@router.get("")
async def health() -> Health:
    """Return the running version."""
    return Health(version=VERSION)


@router.get("/live")
async def live() -> Liveness:
    """Return that the process responds. It needs no other service: restart it if this fails."""
    return Liveness()


@router.get("/ready", responses={503: {"model": Readiness, "description": "Not ready."}})
async def ready(context: CurrentContext, response: Response) -> Readiness:
    """Return whether the process is ready for requests. 503 also while it drains before a stop."""
    result = await service.readiness(context)
    if result.status not in ("ok", "degraded"):
        response.status_code = 503
        response.headers["Retry-After"] = "1"
    return result
