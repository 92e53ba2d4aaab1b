from backend.core.errors import AppError


class JobNotFoundError(AppError):
    status = 404
    code = "JOB_NOT_FOUND"
    detail = "No job has this id. Jobs that succeed are not kept."


class JobNotFailedError(AppError):
    status = 409
    code = "JOB_NOT_FAILED"
    detail = "Only a failed job can be retried; this one is waiting, running or done."
