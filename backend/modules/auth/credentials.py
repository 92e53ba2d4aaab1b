"""The body of a sign-in, which comes as JSON or as the OAuth2 password form."""

from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.requests import Request

from backend.core.errors import BadRequestError
from backend.core.routing import JSON_TYPES, BodyRequest, check_content_type
from backend.modules.auth.schemas import FormLogin, Login

FORM_TYPES = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})
IGNORED = {"grant_type", "scope", "client_id", "client_secret"}
LOGIN_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": Login.model_json_schema()},
            "application/x-www-form-urlencoded": {
                "schema": {
                    "type": "object",
                    "required": ["username", "password"],
                    "properties": {
                        "username": {
                            "type": "string",
                            "description": "E-mail address or username.",
                        },
                        "password": {"type": "string", "format": "password"},
                        **{name: {"type": "string"} for name in sorted(IGNORED)},
                    },
                }
            },
        },
    }
}


async def read_credentials(request: Request) -> Login:
    """The name and password that were sent; 415 or 422 like any other body."""
    body = BodyRequest(request.scope, request.receive)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    check_content_type(request, JSON_TYPES | FORM_TYPES)
    if media_type in FORM_TYPES:
        try:
            values = await _form_values(body)
        except UnicodeError:
            raise BadRequestError from None
        return _validated(FormLogin, values)
    return _validated(Login, await body.json() if await body.body() else {})


async def _form_values(body: BodyRequest) -> dict[str, Any]:
    values: dict[str, Any] = {}
    async with body.form(max_files=0) as form:
        for name, value in form.multi_items():
            if name in values:
                raise _refused(name, "repeated", "Given twice.")
            if not isinstance(value, str) or "\0" in value:
                raise _refused(name, "string_type", "Must be a text without NUL.")
            if name not in IGNORED:
                values[name] = value
    return values


def _validated(model: type[Login], values: Any) -> Login:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found = [{**each, "loc": ("body", *each["loc"])} for each in error.errors()]
        raise RequestValidationError(found) from None


def _refused(field: str, code: str, message: str) -> RequestValidationError:
    return RequestValidationError([{"loc": ("body", field), "type": code, "msg": message}])
