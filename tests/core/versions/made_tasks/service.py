from uuid import UUID

from sqlalchemy import delete
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context
from backend.core.errors import NotFoundError
from backend.core.lists import ListQuery, Page, read_page
from backend.core.preconditions import check_preconditions
from backend.core.principal import Principal
from backend.db.query_runner import QueryRunner
from tests.core.versions.made_tasks import queries
from tests.core.versions.made_tasks.models import MadeTask
from tests.core.versions.made_tasks.schemas import MadeTaskCreate, MadeTaskOut, MadeTaskUpdate


async def list_tasks(reader: QueryRunner, by: Principal, query: ListQuery) -> Page[MadeTaskOut]:
    return await read_page(reader, queries.TASKS, query, owner=by.user_id)


async def get_task(reader: QueryRunner, by: Principal, task_id: UUID) -> MadeTaskOut:
    row = await reader.first(queries.TASK, id=task_id, owner=by.user_id)
    if row is None:
        raise NotFoundError
    return MadeTaskOut.from_row(row)


async def create_task(session: AsyncSession, by: Principal, new: MadeTaskCreate) -> MadeTaskOut:
    task = MadeTask(text=new.text, colour=new.colour, owner_id=by.user_id)
    session.add(task)
    await session.flush()
    return _to_schema(task)


async def update_task(
    session: AsyncSession, by: Principal, task_id: UUID, changes: MadeTaskUpdate
) -> MadeTaskOut:
    task = await _locked(session, by, task_id)
    for name, value in changes.model_dump().items():
        setattr(task, name, value)
    await session.flush()
    return _to_schema(task)


async def delete_task(session: AsyncSession, by: Principal, task_id: UUID) -> None:
    await session.delete(await _locked(session, by, task_id))


async def _locked(session: AsyncSession, by: Principal, task_id: UUID) -> MadeTask:
    task = await session.get(MadeTask, task_id, with_for_update=True)
    if task is None or task.owner_id != by.user_id:
        raise NotFoundError
    await check_preconditions(lambda: _to_schema(task))
    return task


def _to_schema(task: MadeTask) -> MadeTaskOut:
    return MadeTaskOut.from_row(task.model_dump())


async def erase_tasks(_: Context, session: AsyncSession, user_id: UUID) -> None:
    await session.exec(delete(MadeTask).where(col(MadeTask.owner_id) == user_id))
