from sqlalchemy import bindparam
from sqlmodel import col

from backend.core.lists import list_spec, select_fields
from backend.db.query_runner import Query
from tests.core.versions.tasks.models import Task
from tests.core.versions.tasks.schemas import TaskOut

TASK = Query(
    select_fields(Task, TaskOut).where(
        col(Task.id) == bindparam("id"), col(Task.owner_id) == bindparam("owner")
    )
)
TASKS = list_spec(Task, TaskOut, scopes={"owner": lambda owner: col(Task.owner_id) == owner})
