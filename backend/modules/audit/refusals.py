"""Audit events of requests that were not permitted."""

from starlette.requests import Request

from backend.core.context import context_of
from backend.modules.audit import service


async def record_refusal(request: Request) -> None:
    """Write down a 403, in a transaction of its own: the handler's has been rolled back."""
    principal = request.scope.get("principal")
    async with context_of(request).database.transaction() as session:
        await service.record(
            session,
            "access.denied",
            target=("route", _route(request)),
            outcome="denied",
            actor_id=principal.user_id if principal else None,
        )


def _route(request: Request) -> str:
    """Method and path as the route declares it: the path that was sent may hold anything."""
    template = request.scope.get("path_template")
    return f"{request.method} {template}" if template else request.method
