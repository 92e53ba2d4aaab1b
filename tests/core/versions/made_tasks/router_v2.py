"""Version 2: a task has a state instead of `is_done`, and no colour. The rest is that of version 1.

The functions of the service are the same; only the representation differs.
"""

from dataclasses import replace
from typing import Annotated, Literal
from uuid import UUID

from pydantic import MISSING

from backend.core.authorization import CurrentPrincipal
from backend.core.http.dependencies import Reader, Session
from backend.core.http.pagination import list_parameters
from backend.core.http.versions import LaterVersion
from backend.core.lists import ListQuery, Page
from backend.core.schemas import Id, Schema, Timestamp
from tests.core.versions.made_tasks import queries, service
from tests.core.versions.made_tasks.router import NOT_FOUND
from tests.core.versions.made_tasks.router import router as v1
from tests.core.versions.made_tasks.schemas import MadeTaskCreate, MadeTaskOut, MadeTaskUpdate, Text

State = Literal["open", "done"]


class MadeTaskOutV2(Schema):
    id: UUID
    text: str
    state: State
    created_at: Timestamp

    @classmethod
    def of(cls, task: MadeTaskOut) -> "MadeTaskOutV2":
        state: State = "done" if task.is_done else "open"
        return cls(id=task.id, text=task.text, state=state, created_at=task.created_at)


class MadeTaskCreateV2(Schema):
    text: Text


class MadeTaskUpdateV2(Schema):
    text: Text | MISSING = MISSING
    state: State | MISSING = MISSING


router = LaterVersion(v1, 2, represents={MadeTaskOut: MadeTaskOutV2.of})
router.remove("GET", "/colours")
router.remove("POST", "/{id}/finish")


@router.get("/{id}", responses=NOT_FOUND)
async def read_task(id: Id, by: CurrentPrincipal, reader: Reader) -> MadeTaskOutV2:
    """One task."""
    return MadeTaskOutV2.of(await service.get_task(reader, by, id))


@router.post("", status_code=201, location=read_task)
async def create_task(
    by: CurrentPrincipal, session: Session, new: MadeTaskCreateV2
) -> MadeTaskOutV2:
    """Make a task."""
    return MadeTaskOutV2.of(await service.create_task(session, by, MadeTaskCreate(text=new.text)))


@router.patch("/{id}", responses=NOT_FOUND)
async def update_task(
    id: Id, by: CurrentPrincipal, session: Session, changes: MadeTaskUpdateV2
) -> MadeTaskOutV2:
    """Change what is sent."""
    sent = changes.model_dump()
    if "state" in sent:
        sent["is_done"] = sent.pop("state") == "done"
    return MadeTaskOutV2.of(await service.update_task(session, by, id, MadeTaskUpdate(**sent)))


# The same list; `fields` takes the members of version 2.
TaskQueryV2 = Annotated[ListQuery, list_parameters(replace(queries.TASKS, schema=MadeTaskOutV2))]


@router.get("")
async def list_tasks(
    by: CurrentPrincipal, reader: Reader, query: TaskQueryV2
) -> Page[MadeTaskOutV2]:
    """One's own tasks."""
    page = await service.list_tasks(reader, by, replace(query, fields=None))
    tasks = [MadeTaskOutV2.of(task) for task in page.data]
    return Page(data=tasks, next_cursor=page.next_cursor, total=page.total)
