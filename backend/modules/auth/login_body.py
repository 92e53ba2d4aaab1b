"""The body of a sign-in: JSON, or the password form of OAuth2."""

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
# The form is not described: of two media types, some client generators send neither.
LOGIN_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": Login.model_json_schema()}},
    }
}


async def read_credentials(request: Request) -> Login:
    """The name and password that were sent; 415 or 422 like any other body."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    check_content_type(request, JSON_TYPES | FORM_TYPES)
    with BodyRequest(request.scope, request.receive) as body:
        if media_type not in FORM_TYPES:
            return _validated(Login, await body.json() if await body.body() else {}, [])
        form = await body.form(max_files=0)
    found = refusals(form, dict.fromkeys(FORM_FIELDS | IGNORED, False))
    refused = {each["loc"][1] for each in found}
    values = {k: v for k, v in form.items() if k in FORM_FIELDS and k not in refused}
    return _validated(FormLogin, values, found)


def _validated(model: type[Login], values: Any, found: list[Any]) -> Login:
    """The body; all that is wrong with it in one error, `found` included."""
    login = None
    try:
        login = model.model_validate(values)
    except ValidationError as error:
        known = {each["loc"] for each in found}
        more = ({**each, "loc": ("body", *each["loc"])} for each in error.errors())
        found = [*found, *(each for each in more if each["loc"] not in known)]
    if found or login is None:
        raise RequestValidationError(found)
    return login
