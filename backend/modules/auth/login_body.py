"""The body of a sign-in: JSON, or the OAuth2 password form."""

from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.requests import Request

from backend.core.http.bodies import BodyRequest
from backend.core.http.forms import FORM_TYPES, refusals
from backend.core.http.request_checks import JSON_TYPES, check_content_type
from backend.modules.auth.schemas import FormLogin, Login

FORM_FIELDS = {"username", "password"}
IGNORED = {"grant_type", "scope", "client_id", "client_secret"}
# The form is not documented: with two media types, some client generators send no body.
LOGIN_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": Login.model_json_schema()}},
    }
}


async def read_credentials(request: Request) -> Login:
    """Return the name and password of a sign-in. Errors are 415 and 422, as for other bodies."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    check_content_type(request, JSON_TYPES | FORM_TYPES)
    with BodyRequest(request.scope, request.receive) as body:
        if media_type not in FORM_TYPES:
            return _validated(Login, await body.json() if await body.body() else {}, [])
        form = await body.form(max_files=0)
    errors = refusals(form, dict.fromkeys(FORM_FIELDS | IGNORED, False))
    refused = {each["loc"][1] for each in errors}
    values = {k: v for k, v in form.items() if k in FORM_FIELDS and k not in refused}
    return _validated(FormLogin, values, errors)


def _validated(model: type[Login], values: Any, errors: list[Any]) -> Login:
    """Return the validated body; raise one error with all of its problems and `errors`."""
    login = None
    try:
        login = model.model_validate(values)
    except ValidationError as error:
        reported = {each["loc"] for each in errors}
        more = ({**each, "loc": ("body", *each["loc"])} for each in error.errors())
        errors = [*errors, *(each for each in more if each["loc"] not in reported)]
    if errors or login is None:
        raise RequestValidationError(errors)
    return login
