from typing import Annotated

from fastapi import Depends, Response

from backend.core.errors import error_responses
from backend.core.http.dependencies import Reader, Session
from backend.core.http.pagination import (
    FieldSelection,
    ListParameters,
    Page,
    PageRequest,
    ResourceParameters,
)
from backend.core.http.routing import Router
from backend.core.identity import require
from backend.modules.jobs import queries, service
from backend.modules.jobs.exceptions import JobNotFailedError, JobNotFoundError
from backend.modules.jobs.schemas import JobId, JobOut

router = Router(prefix="/jobs", tags=["jobs"])
READ, WRITE = [require("jobs:read")], [require("jobs:write")]
JobAnswer = Annotated[FieldSelection, Depends(ResourceParameters(JobOut))]
JobPage = Annotated[PageRequest, Depends(ListParameters(queries.JOBS, JobOut))]


@router.get("", response_model=Page[JobOut], dependencies=READ)
async def list_jobs(reader: Reader, page: JobPage) -> Response:
    """What is to be done later, and what could not be done; the newest first."""
    return page.render(await service.list_jobs(reader, page.query))


@router.get(
    "/{id}", response_model=JobOut, dependencies=READ, responses=error_responses(JobNotFoundError)
)
async def read_job(id: JobId, reader: Reader, answer: JobAnswer) -> Response:
    """One job."""
    return answer.render(await service.get_job(reader, id))


@router.post(
    "/{id}/retry",
    dependencies=WRITE,
    responses=error_responses(JobNotFoundError, JobNotFailedError),
)
async def retry_job(id: JobId, session: Session) -> JobOut:
    """Try a failed job again, with as many attempts as a new one."""
    return await service.retry_job(session, id)
