from sqlalchemy import bindparam
from sqlmodel import col

from backend.core.lists import list_spec, select_fields
from backend.db.queries import Query
from tests.core.versions.made_tasks.models import MadeTask
from tests.core.versions.made_tasks.schemas import MadeTaskOut

TASK = Query(
    select_fields(MadeTask, MadeTaskOut).where(
        col(MadeTask.id) == bindparam("id"), col(MadeTask.owner_id) == bindparam("owner")
    )
)
TASKS = list_spec(
    MadeTask, MadeTaskOut, scopes={"owner": lambda owner: col(MadeTask.owner_id) == owner}
)
