from backend.core.errors import AppError
from backend.db.errors import CommitAndRaise

BEARER = {"WWW-Authenticate": "Bearer"}


class InvalidCredentialsError(AppError):
    status = 401
    code = "INVALID_CREDENTIALS"
    detail = "The e-mail address or the password is wrong."

    def __init__(self) -> None:
        super().__init__(headers=BEARER)


class RefreshTokenInvalidError(AppError):
    status = 401
    code = "REFRESH_TOKEN_INVALID"
    detail = "The refresh token is not valid, or its session has ended. Sign in again."

    def __init__(self) -> None:
        super().__init__(headers=BEARER)


class RefreshTokenReusedError(AppError, CommitAndRaise):
    """Reuse of a replaced refresh token. The end of the session is committed with this error."""

    status = 401
    code = "REFRESH_TOKEN_REUSED"
    detail = "This refresh token had been replaced. Somebody may have copied it: sign in again."

    def __init__(self) -> None:
        super().__init__(headers=BEARER)


class AccountDisabledError(AppError):
    status = 403
    code = "ACCOUNT_DISABLED"
    detail = "This account has been disabled."


class EmailNotVerifiedError(AppError):
    status = 403
    code = "EMAIL_NOT_VERIFIED"
    detail = "Verify your e-mail address first, by the link that was mailed to you."


class SessionNotFoundError(AppError):
    status = 404
    code = "SESSION_NOT_FOUND"
    detail = "You have no session with this id."
