from collections.abc import Iterable

from backend.core.errors import AppError, FieldError


class RoleNotFoundError(AppError):
    status = 404
    code = "ROLE_NOT_FOUND"
    detail = "No role has this name."


class RoleAlreadyExistsError(AppError):
    status = 409
    code = "ROLE_ALREADY_EXISTS"
    detail = "Another role has this name."


class RoleInUseError(AppError):
    status = 409
    code = "ROLE_IN_USE"
    detail = "Somebody has this role; take it from them first (GET /users?role= finds them)."


class RoleProtectedError(AppError):
    status = 409
    code = "ROLE_PROTECTED"
    detail = "Built-in roles cannot be deleted, and `admin` keeps every permission it has."


class UnknownRoleError(AppError):
    """`unknown` are positions in the list of roles that was sent."""

    status = 422
    code = "ROLE_UNKNOWN"
    detail = "One of the roles does not exist."

    def __init__(self, unknown: Iterable[int]) -> None:
        super().__init__(errors=_unknown("roles", "No role has this name.", unknown))


class UnknownPermissionError(AppError):
    """`unknown` are positions in the list of permissions that was sent."""

    status = 422
    code = "PERMISSION_UNKNOWN"
    detail = "One of the permissions does not exist; GET /permissions lists those that do."

    def __init__(self, unknown: Iterable[int]) -> None:
        super().__init__(errors=_unknown("permissions", "No permission has this name.", unknown))


def _unknown(field: str, message: str, positions: Iterable[int]) -> list[FieldError]:
    return [
        FieldError(field=f"body.{field}.{position}", message=message, code="unknown")
        for position in positions
    ]
