from backend.core.errors import AppError, FieldError, InvalidInputError


class UserNotFoundError(AppError):
    status = 404
    code = "USER_NOT_FOUND"
    detail = "No user has this id."


class EmailAlreadyExistsError(AppError):
    status = 409
    code = "EMAIL_ALREADY_EXISTS"
    detail = "Another account has this e-mail address."


class UsernameAlreadyExistsError(AppError):
    status = 409
    code = "USERNAME_ALREADY_EXISTS"
    detail = "Another account has this username."


class OwnEmailError(InvalidInputError):
    code = InvalidInputError.code

    def __init__(self) -> None:
        message = "Change your own address at /users/me."
        super().__init__(errors=[FieldError(field="body.email", message=message, code="own_email")])


class LastAdminError(AppError):
    status = 409
    code = "LAST_ADMIN"
    detail = (
        "This is the last active administrator with a password; appoint another one first. "
        "Somebody who was invited counts once they have chosen a password."
    )


class InvitationRefusedError(AppError):
    status = 409
    code = "INVITATION_REFUSED"
    detail = "Only an active account without a password can be invited."


class PasswordRefusedError(InvalidInputError):
    code = InvalidInputError.code

    def __init__(self, field: str, code: str, message: str) -> None:
        super().__init__(errors=[FieldError(field=f"body.{field}", message=message, code=code)])


class CurrentPasswordWrongError(AppError):
    status = 422
    code = "CURRENT_PASSWORD_WRONG"
    detail = "The current password is wrong."


class WrongPasswordError(Exception):
    """The name or the password of a sign-in is wrong. The error does not distinguish them."""
