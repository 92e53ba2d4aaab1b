from backend.core.errors import AppError


class TokenInvalidError(AppError):
    status = 400
    code = "TOKEN_INVALID"
    detail = "This link has been used or replaced, or it has expired. Ask for a new one."


class RegistrationClosedError(AppError):
    status = 403
    code = "REGISTRATION_CLOSED"
    detail = "Nobody can register here. Ask an administrator for an account."
