"""Extensions of schemathesis: the caller of its requests, and rules that OpenAPI cannot express.

It runs in a process of its own. The environment contains:

TRELLIS_URL         the URL of the server
TRELLIS_CALLER      the role of the caller; empty for an anonymous one
TRELLIS_ACCOUNTS    e-mail addresses of accounts with this role, comma separated
TRELLIS_PASSWORD    the password of these accounts
TRELLIS_TRANSPORT   the transport of the caller's sessions: `body` or `cookie`
"""

import os
from http import HTTPStatus
from typing import Any, ClassVar
from uuid import uuid4

import httpx
import schemathesis
from hypothesis import strategies as st

from backend.core.schemas import is_visible
from tests import images

ROLE = os.environ["TRELLIS_CALLER"]
COOKIES = ("access_token", "csrf_token")
ACCOUNTS = ("/api/v1/auth", "/api/v1/users", "/api/v1/roles")
PASSWORD = os.environ["TRELLIS_PASSWORD"]
TRANSPORT = os.environ["TRELLIS_TRANSPORT"]


class Caller:
    """The signed-in user. Requests may end the session or the account; then the next is used."""

    accounts = os.environ["TRELLIS_ACCOUNTS"].split(",")
    client = httpx.Client(base_url=f"{os.environ['TRELLIS_URL']}/api/v1")
    # Empty while nobody is signed in.
    headers: ClassVar[dict[str, str]] = {}
    cookies: ClassVar[dict[str, str]] = {}

    is_certain: ClassVar[bool] = False

    def get(self, _case: Any, _context: Any) -> bool:
        return True

    def set(self, case: Any, _: bool, _context: Any) -> None:
        """Use the present session. `before_call` does so again, as many cases are made at once."""
        while not self.is_certain and not self._is_signed_in():
            self._sign_in(self.accounts.pop())
        Caller.is_certain = True
        case.headers.update(self.headers)
        case.cookies = {**(case.cookies or {}), **self.cookies}

    def _is_signed_in(self) -> bool:
        if not self.headers:
            return False
        me = self.client.get("/users/me", headers={**self.headers, "Cookie": self._cookie()})
        return me.status_code == HTTPStatus.OK and ROLE in me.json()["roles"]

    def _cookie(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    def _sign_in(self, email: str) -> None:
        response = self.client.post(
            "/auth/login",
            params={"transport": TRANSPORT},
            json={"email": email, "password": PASSWORD},
        )
        self.client.cookies.clear()
        if response.status_code != HTTPStatus.OK:
            return
        tokens = response.json()
        if TRANSPORT == "cookie":
            Caller.headers = {"X-CSRF-Token": tokens["csrf_token"]}
            Caller.cookies = {each: response.cookies[each] for each in COOKIES}
        else:
            Caller.headers = {"Authorization": f"Bearer {tokens['access_token']}"}


if ROLE:
    schemathesis.auth(refresh_interval=None)(Caller)


schemathesis.openapi.media_type("image/png", st.just(images.png()))
schemathesis.openapi.media_type("image/jpeg", st.just(images.jpeg()))
schemathesis.openapi.media_type("image/webp", st.just(images.webp()))


def _strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [text for each in value for text in _strings(each)]
    return [value] if isinstance(value, str) else []


@schemathesis.hook
def filter_body(_: Any, body: Any) -> bool:
    # A pattern for visible characters would depend on the Unicode version.
    return all(map(is_visible, _strings(body)))


@schemathesis.hook
def filter_query(_: Any, query: Any) -> bool:
    return not isinstance(query, dict) or all(map(is_visible, _strings(query.get("q"))))


@schemathesis.hook
def before_call(context: Any, case: Any, _kwargs: Any) -> None:
    if case._has_explicit_auth:
        Caller().set(case, True, context)
        # These may end the session or the account, or change its roles.
        Caller.is_certain = case.method == "GET" or not case.path.startswith(ACCOUNTS)
    if key := (case.headers or {}).get("Idempotency-Key"):
        # Generated keys are few, and the same key with another body is refused.
        case.headers["Idempotency-Key"] = f"{key[:200]}{uuid4().hex}"
    if case.meta and case.meta.generation.mode.is_positive:
        _make_acceptable(case)


def _make_acceptable(case: Any) -> None:
    """Change what is refused although the document, which cannot express the rule, permits it."""
    if case.query:
        # Only cursors from earlier responses are valid.
        case.query.pop("cursor", None)
        if "sort" in case.query:
            # Each field once, in one direction.
            sort = case.query["sort"]
            terms = sort if isinstance(sort, list) else sort.split(",")
            case.query["sort"] = ",".join({each.removeprefix("-"): each for each in terms}.values())
    if not isinstance(case.body, dict):
        return
    if "current_password" in case.body or (case.path.endswith("/me") and "email" in case.body):
        case.body["current_password"] = PASSWORD
    if "new_password" in case.body:
        # The next request needs another account, with the known password.
        Caller.headers = {}


@schemathesis.check
def selected_members(_: Any, response: Any, case: Any) -> None:
    """A resource has the members that `fields` selects, otherwise all of them."""
    members = case.operation.definition.raw.get("x-members")
    if not members or response.status_code != HTTPStatus.OK:
        return
    query = httpx.URL(response.request.url).params
    expected = set(query["fields"].split(",") if "fields" in query else members)
    expected |= set(query["include"].split(",") if "include" in query else ())
    body = response.json()
    for resource in body["data"] if "next_cursor" in body else [body]:
        assert resource.keys() == expected


@schemathesis.check
class SignedIn:
    """The caller is really signed in: otherwise, most responses would be 401 or 403."""

    def __init__(self) -> None:
        self.succeeded: set[str] = set()

    def after_response(self, _: Any, response: Any, case: Any) -> None:
        if response.status_code < HTTPStatus.BAD_REQUEST:
            self.succeeded.add(case.operation.label)

    def after_run(self, _: Any) -> None:
        assert not ROLE or {"POST /api/v1/items", "GET /api/v1/users/me"} <= self.succeeded
