"""Version 1 of the routes."""

from datetime import date
from typing import Annotated

from backend.core.authorization import CurrentPrincipal
from backend.core.deprecation import Deprecation
from backend.core.errors import NotFoundError, error_responses
from backend.core.http.dependencies import Reader, Session
from backend.core.http.deprecations import deprecated
from backend.core.http.pagination import list_parameters
from backend.core.http.routing import Router
from backend.core.lists import ListQuery, Page
from backend.core.schemas import Id
from tests.core.versions.made_tasks import queries, service
from tests.core.versions.made_tasks.schemas import MadeTaskCreate, MadeTaskOut, MadeTaskUpdate

FINISHING = Deprecation(since=date(2026, 10, 1), info="https://example.com/changes#finish")
NOT_FOUND = error_responses(NotFoundError)

router = Router(prefix="/made-tasks", tags=["made_tasks"])
TaskQuery = Annotated[ListQuery, list_parameters(queries.TASKS)]


@router.get("")
async def list_tasks(by: CurrentPrincipal, reader: Reader, query: TaskQuery) -> Page[MadeTaskOut]:
    """One's own tasks."""
    return await service.list_tasks(reader, by, query)


@router.get("/colours")
async def list_colours(by: CurrentPrincipal) -> list[str]:
    """The colours that tasks may have."""
    return ["green", "red"]


@router.get("/{id}", responses=NOT_FOUND)
async def read_task(id: Id, by: CurrentPrincipal, reader: Reader) -> MadeTaskOut:
    """One task."""
    return await service.get_task(reader, by, id)


@router.post("", status_code=201, location=read_task)
async def create_task(by: CurrentPrincipal, session: Session, new: MadeTaskCreate) -> MadeTaskOut:
    """Make a task."""
    return await service.create_task(session, by, new)


@router.patch("/{id}", responses=NOT_FOUND)
async def update_task(
    id: Id, by: CurrentPrincipal, session: Session, changes: MadeTaskUpdate
) -> MadeTaskOut:
    """Change what is sent."""
    return await service.update_task(session, by, id, changes)


@router.post("/{id}/finish", dependencies=[deprecated(FINISHING)], responses=NOT_FOUND)
async def finish_task(id: Id, by: CurrentPrincipal, session: Session) -> MadeTaskOut:
    """Finish a task."""
    return await service.update_task(session, by, id, MadeTaskUpdate(is_done=True))


@router.delete("/{id}", status_code=204, responses=NOT_FOUND)
async def delete_task(id: Id, by: CurrentPrincipal, session: Session) -> None:
    """Delete a task."""
    await service.delete_task(session, by, id)
