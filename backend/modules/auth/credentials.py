"""Credentials that come in other ways than `Authorization`; how OpenAPI describes them."""

from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.requests import Request

from backend.core.http.bodies import BodyRequest
from backend.core.http.forms import FORM_TYPES, refusals
from backend.core.http.request_checks import JSON_TYPES, check_content_type
from backend.core.module import SecuritySchemes
from backend.core.registry import API_PREFIX
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
SIGN_IN, COOKIE, CSRF, REFRESH_COOKIE = "SignIn", "Cookie", "CSRFToken", "RefreshCookie"
SECURITY = SecuritySchemes(
    schemes={
        SIGN_IN: {
            "type": "oauth2",
            "description": "`Authorization: Bearer` with the access token of a sign-in.",
            "flows": {"password": {"tokenUrl": f"{API_PREFIX}/auth/login", "scopes": {}}},
        },
        COOKIE: {
            "type": "apiKey",
            "in": "cookie",
            "name": "access_token",
            "description": "Set by `POST /auth/login?transport=cookie`. Outside development its "
            "name is `__Host-access_token`.",
        },
        REFRESH_COOKIE: {
            "type": "apiKey",
            "in": "cookie",
            "name": "refresh_token",
            "description": "Set beside the cookie `access_token`, and sent to `/auth` only. "
            "Outside development its name is `__Secure-refresh_token`.",
        },
        CSRF: {
            "type": "apiKey",
            "in": "header",
            "name": "X-CSRF-Token",
            "description": "`csrf_token` of the sign-in or refresh, beside the cookie.",
        },
    },
    safe=((SIGN_IN,), (COOKIE,)),
    unsafe=((SIGN_IN,), (COOKIE, CSRF)),
)
_BY_REFRESH_COOKIE: dict[str, list[str]] = {REFRESH_COOKIE: [], CSRF: []}
# These routes read credentials themselves. `{}` stands for a token in the body.
REFRESH_SECURITY = {"security": [{}, {SIGN_IN: []}, _BY_REFRESH_COOKIE]}
LOGOUT_SECURITY = {
    "security": [{SIGN_IN: []}, {COOKIE: [], CSRF: []}, _BY_REFRESH_COOKIE, {}],
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
