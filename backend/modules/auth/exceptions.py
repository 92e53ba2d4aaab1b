from backend.core.errors import AppError

BEARER = {"WWW-Authenticate": "Bearer"}


class InvalidCredentialsError(AppError):
    status = 401
    code = "INVALID_CREDENTIALS"
    detail = "E-mail address or password is not right."

    def __init__(self) -> None:
        super().__init__(headers=BEARER)


class InvalidTokenError(AppError):
    status = 401
    code = "INVALID_TOKEN"
    detail = "The access token is not good, or its session is over. Sign in again."

    def __init__(self) -> None:
        super().__init__(headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})


class TokenExpiredError(AppError):
    status = 401
    code = "TOKEN_EXPIRED"
    detail = "The access token has expired."

    def __init__(self) -> None:
        super().__init__(headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})


class AccountDisabledError(AppError):
    status = 403
    code = "ACCOUNT_DISABLED"
    detail = "This account has been disabled."


class SessionNotFoundError(AppError):
    status = 404
    code = "SESSION_NOT_FOUND"
    detail = "You have no session with this id."
