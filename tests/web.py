"""Cookie mode in-process, with httpx as the browser."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from http.cookiejar import Cookie
from typing import Any

import httpx
from fastapi import FastAPI

from backend.core.context import Context
from tests.actors import PASSWORD, Client
from tests.applications import make_app, make_context
from tests.sessions import LOGIN

ACCESS, REFRESHING, CSRF = "access_token", "refresh_token", "csrf_token"
COOKIES = {ACCESS, REFRESHING, CSRF}
COOKIE_LOGIN = f"{LOGIN}?transport=cookie"
CSRF_FAILED = (403, "CSRF_FAILED")
OWN_ORIGIN = "http://testserver"
ALLOWED_ORIGIN = "http://localhost:3000"


# Each version of the API has a copy of the refresh cookie; only that of the first is examined.
_LATER = re.compile(r"/api/v(?!1/)\d+/")


@dataclass(frozen=True)
class SetCookie:
    """A Set-Cookie header; attributes by name in lower case, flags with an empty value."""

    value: str
    attributes: dict[str, str]


@dataclass(frozen=True)
class Page:
    """A page whose user is signed in by cookies; `login` is the body of the login response."""

    client: Client
    login: dict[str, Any]

    @property
    def csrf(self) -> dict[str, str]:
        return {"X-CSRF-Token": self.login["csrf_token"]}

    @property
    def session_id(self) -> str:
        session_id: str = self.login["session_id"]
        return session_id

    @property
    def cookies(self) -> dict[str, str]:
        """The values of the browser's cookies, by name."""
        return {each.name: each.value or "" for each in first_version(self.client)}

    def cookie(self, name: str) -> str | None:
        """Return the value of this cookie, or None if the browser has none."""
        return self.cookies.get(name)

    def change_cookie(self, name: str, value: str | None) -> None:
        """Replace the browser's cookie, or delete it if `value` is None."""
        (cookie,) = (each for each in first_version(self.client) if each.name == name)
        if value is None:
            self.client.cookies.jar.clear(cookie.domain, cookie.path, name)
        else:
            cookie.value = value

    def __getattr__(self, name: str) -> Any:
        # get, post, put, patch, delete, head, request ...
        return getattr(self.client, name)


def first_version(client: httpx.Client | httpx.AsyncClient) -> Iterator[Cookie]:
    """Yield the client's cookies, without those of later versions of the API."""
    return (each for each in client.cookies.jar if not _LATER.search(f"{each.path}/"))


async def sign_in_by_cookie(client: Client, name: str = "ada") -> Page:
    """Sign in by cookies."""
    response = await client.post(COOKIE_LOGIN, json={"email": name, "password": PASSWORD})
    assert response.status_code == 200, response.text
    return Page(client, response.json())


def cookies_set(response: httpx.Response) -> dict[str, SetCookie]:
    """Return the cookies that a response sets or clears, by name; fail if one occurs twice."""
    cookies = {}
    for line in response.headers.get_list("set-cookie"):
        pair, *parts = (part.strip() for part in line.split(";"))
        name, _, value = pair.partition("=")
        attributes = {key.lower(): text for key, _, text in (part.partition("=") for part in parts)}
        if not _LATER.search(f"{attributes['path']}/"):
            assert name not in cookies
            cookies[name] = SetCookie(value, attributes)
    return cookies


def assert_cleared(response: httpx.Response, names: set[str] | None = None) -> None:
    """Fail unless the response clears these cookies, by default all, and sets none."""
    cookies = cookies_set(response)
    assert cookies.keys() == (COOKIES if names is None else names)
    for cookie in cookies.values():
        assert cookie.attributes["max-age"] == "0"
        assert cookie.value in ("", '""')


@asynccontextmanager
async def configured_client(
    url: str, *, base_url: str = OWN_ORIGIN, **settings: Any
) -> AsyncIterator[Client]:
    """Yield a client of an application with these settings on the database at `url`."""
    context = make_context(url, **settings)
    context.state.started = True
    try:
        async with Client(make_app(context)) as client:
            client.base_url = httpx.URL(base_url)
            yield client
    finally:
        await context.database.close()


def configure(app: FastAPI, context: Context, **settings: Any) -> None:
    """Change settings that each request reads; those read by `create_app` stay."""
    changed = context.settings.model_copy(update=settings)
    app.state.context = replace(context, settings=changed)
