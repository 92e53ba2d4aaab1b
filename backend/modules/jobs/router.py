from typing import Annotated

from backend.core.authorization import require
from backend.core.errors import error_responses
from backend.core.http.dependencies import Reader, Session
from backend.core.http.pagination import list_parameters
from backend.core.http.routing import Router
from backend.core.lists import ListQuery, Page
from backend.core.principal import Principal
from backend.modules.jobs import queries, service
from backend.modules.jobs.exceptions import JobNotFailedError, JobNotFoundError
from backend.modules.jobs.schemas import JobId, JobOut

router = Router(prefix="/jobs", tags=["jobs"])
MayRead = Annotated[Principal, require("jobs:read")]
MayWrite = Annotated[Principal, require("jobs:write")]
JobQuery = Annotated[ListQuery, list_parameters(queries.JOBS)]


@router.get("")
async def list_jobs(by: MayRead, reader: Reader, query: JobQuery) -> Page[JobOut]:
    """Jobs that wait, run or have failed; the newest first."""
    return await service.list_jobs(reader, by, query)


@router.get("/{id}", responses=error_responses(JobNotFoundError))
async def read_job(id: JobId, by: MayRead, reader: Reader) -> JobOut:
    """One job."""
    return await service.get_job(reader, by, id)


@router.post("/{id}/retry", responses=error_responses(JobNotFoundError, JobNotFailedError))
async def retry_job(id: JobId, by: MayWrite, session: Session) -> JobOut:
    """Try a failed job again, with as many attempts as a new one."""
    return await service.retry_job(session, by, id)
