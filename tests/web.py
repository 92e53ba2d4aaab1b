"""Cookie mode as a browser lives it, in this process: httpx keeps the cookies."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
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
OWN = "http://testserver"
ALLOWED = "http://localhost:3000"


@dataclass(frozen=True)
class SetCookie:
    """One Set-Cookie header; attributes by their name in lower case, flags with no value."""

    value: str
    attributes: dict[str, str]


@dataclass(frozen=True)
class Page:
    """A page whose user is signed in by cookies, and what it was told at sign-in."""

    client: Client
    told: dict[str, Any]

    @property
    def csrf(self) -> dict[str, str]:
        return {"X-CSRF-Token": self.told["csrf_token"]}

    @property
    def session_id(self) -> str:
        session_id: str = self.told["session_id"]
        return session_id

    def cookie(self, name: str) -> str | None:
        """What the browser sends under this name."""
        return next((each.value for each in self.client.cookies.jar if each.name == name), None)

    def change_cookie(self, name: str, value: str | None) -> None:
        """Have the browser send another value, or with None nothing."""
        (cookie,) = (each for each in self.client.cookies.jar if each.name == name)
        if value is None:
            self.client.cookies.jar.clear(cookie.domain, cookie.path, name)
        else:
            cookie.value = value

    def __getattr__(self, name: str) -> Any:
        # get, post, put, patch, delete, head, request ...
        return getattr(self.client, name)


async def opened(client: Client, name: str = "ada") -> Page:
    """Sign in by cookies."""
    answer = await client.post(COOKIE_LOGIN, json={"email": name, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return Page(client, answer.json())


def cookies_set(answer: httpx.Response) -> dict[str, SetCookie]:
    """The cookies that an answer sets or clears, by name; none of them twice."""
    found = {}
    for line in answer.headers.get_list("set-cookie"):
        pair, *attributes = (part.strip() for part in line.split(";"))
        name, _, value = pair.partition("=")
        assert name not in found
        split = (each.partition("=") for each in attributes)
        found[name] = SetCookie(value, {key.lower(): told for key, _, told in split})
    return found


def assert_cleared(answer: httpx.Response, names: set[str] | None = None) -> None:
    """The answer takes all the cookies away and sets none."""
    cookies = cookies_set(answer)
    assert cookies.keys() == (COOKIES if names is None else names)
    for cookie in cookies.values():
        assert cookie.attributes["max-age"] == "0"
        assert cookie.value in ("", '""')


@asynccontextmanager
async def elsewhere(url: str, *, base_url: str = OWN, **settings: Any) -> AsyncIterator[Client]:
    """A client of an application with settings of its own, on the database at `url`."""
    context = make_context(url, **settings)
    context.state.started = True
    try:
        async with Client(make_app(context)) as client:
            client.base_url = httpx.URL(base_url)
            yield client
    finally:
        await context.database.close()


def configure(app: FastAPI, context: Context, **settings: Any) -> None:
    """Change settings that are looked at with each request; those of `create_app` stay."""
    changed = context.settings.model_copy(update=settings)
    app.state.context = replace(context, settings=changed)
