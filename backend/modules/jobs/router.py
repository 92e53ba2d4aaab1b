from typing import Annotated

from fastapi import Depends, Response

from backend.core.dependencies import ReadSession, Session
from backend.core.errors import documented
from backend.core.identity import require
from backend.core.pagination import Answer, ListParameters, Page, PageRequest, ResourceParameters
from backend.core.routing import Router
from backend.modules.jobs import queries, service
from backend.modules.jobs.exceptions import JobNotFailedError, JobNotFoundError
from backend.modules.jobs.schemas import JobId, JobOut

router = Router(prefix="/jobs", tags=["jobs"])
READ, WRITE = [require("jobs:read")], [require("jobs:write")]
JobAnswer = Annotated[Answer, Depends(ResourceParameters(JobOut))]
JobPage = Annotated[PageRequest, Depends(ListParameters(queries.JOBS, JobOut))]


@router.get("", response_model=Page[JobOut], dependencies=READ)
async def list_jobs(reads: ReadSession, page: JobPage) -> Response:
    """What is to be done later, and what could not be done; the newest first."""
    return page.of(await service.list_jobs(reads, page.query))


@router.get(
    "/{id}", response_model=JobOut, dependencies=READ, responses=documented(JobNotFoundError)
)
async def read_job(id: JobId, reads: ReadSession, answer: JobAnswer) -> Response:
    """One job."""
    return answer.of(await service.get_job(reads, id))


@router.post(
    "/{id}/retry",
    dependencies=WRITE,
    responses=documented(JobNotFoundError, JobNotFailedError),
)
async def retry_job(id: JobId, session: Session) -> JobOut:
    """Try a failed job again, with as many attempts as a new one."""
    return await service.retry_job(session, id)
