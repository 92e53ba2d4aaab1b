from backend.core.errors import AppError


class UnknownRoleError(AppError):
    status = 422
    code = "ROLE_UNKNOWN"
    detail = "One of the roles does not exist."
