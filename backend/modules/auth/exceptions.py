from backend.core.errors import AppError

BEARER = {"WWW-Authenticate": "Bearer"}


class InvalidCredentialsError(AppError):
    status = 401
    code = "INVALID_CREDENTIALS"
    detail = "E-mail address or password is not right."

    def __init__(self) -> None:
        super().__init__(headers=BEARER)


class AccountDisabledError(AppError):
    status = 403
    code = "ACCOUNT_DISABLED"
    detail = "This account has been disabled."


class SessionNotFoundError(AppError):
    status = 404
    code = "SESSION_NOT_FOUND"
    detail = "You have no session with this id."
