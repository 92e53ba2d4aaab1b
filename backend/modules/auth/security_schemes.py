"""Security schemes of the OpenAPI document: how requests are authenticated."""

from backend.core.module import SecuritySchemes
from backend.core.registry import API_PREFIX

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
