"""Two applications with different settings and modules in one process share no state."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from pydantic import SecretStr

from backend.core.app import create_app
from backend.core.context import Context
from backend.core.principal import SYSTEM
from backend.integrations.email import Message
from backend.modules.mail import service as mail
from backend.modules.users.password_attempts import lock_account, store_password
from tests.actors import PASSWORD, Actor, ActorFactory, Client
from tests.applications import MODULES, make_context
from tests.hashing import fill_queue

FIRST, SECOND = "Alpha", "Beta"
# No other module depends on it.
WITHOUT_ARTICLES = tuple(module for module in MODULES if module.name != "articles")
ARTICLES, ITEMS, ME = "/api/v1/articles", "/api/v1/items", "/api/v1/users/me"
MAILBOX = "/dev/mailbox"
LOGIN, REFRESH = "/api/v1/auth/login", "/api/v1/auth/refresh"


class Application:
    """One application, a client of it, and a signed-in user."""

    def __init__(self, app: FastAPI, context: Context, client: Client, actor: Actor) -> None:
        self.app = app
        self.context = context
        self.client = client
        self.actor = actor

    def documented(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        document: dict[str, Any] = self.app.openapi()
        return document


@pytest.fixture
async def applications(
    database_url: str, own_database_url: str
) -> AsyncIterator[tuple[Application, Application]]:
    """Both are created before either is used."""
    first = make_context(
        database_url,
        product_name=FIRST,
        rate_limit_enabled=True,
        rate_limit_default="5/minute",
        rate_limit_storage="memory",
    )
    second = make_context(
        own_database_url,
        WITHOUT_ARTICLES,
        product_name=SECOND,
        secret_key=SecretStr("another key for tests, as long as a real one: 9876543210"),
    )
    apps = create_app(first, MODULES), create_app(second, WITHOUT_ARTICLES)
    factories = ActorFactory(apps[0], first), ActorFactory(apps[1], second)
    async with (
        factories[0].stack,
        factories[1].stack,
        Client(apps[0]) as one,
        Client(apps[1]) as two,
    ):
        yield (
            Application(apps[0], first, one, await factories[0]("ada")),
            Application(apps[1], second, two, await factories[1]("ada")),
        )
    await first.database.close()
    await second.database.close()


Both = tuple[Application, Application]


async def test_each_serves_its_own_modules(applications: Both) -> None:
    first, second = applications
    for each, status in (first, 200), (second, 404), (first, 200):
        assert (await each.client.get(ARTICLES)).status_code == status
        assert (await each.actor.get(ITEMS)).status_code == 200
    assert ARTICLES in first.documented()["paths"]
    assert ARTICLES not in second.documented()["paths"]


async def test_each_has_its_own_name_and_document(applications: Both) -> None:
    assert [each.documented()["info"]["title"] for each in applications] == [FIRST, SECOND]


async def test_each_knows_its_own_tokens(applications: Both) -> None:
    first, second = applications
    for own, other in (first, second), (second, first):
        # Twice, because the second request could use a cached result for the token.
        for _ in range(2):
            assert (await own.actor.get(ME)).status_code == 200
            headers = {"Authorization": f"Bearer {own.actor.token}"}
            answer = await other.client.get(ME, headers=headers)
            assert (answer.status_code, answer.json()["error"]) == (401, "INVALID_TOKEN")


async def test_each_hashes_on_threads_of_its_own(applications: Both) -> None:
    first, second = applications
    release = threading.Event()
    waiting = await fill_queue(first.context, release)
    try:
        found = [await _sign_in(each) for each in (first, second)]
        assert [answer.status_code for answer in found] == [503, 200]
    finally:
        release.set()
        await asyncio.gather(*waiting)
    assert (await _sign_in(first)).status_code == 200


async def test_each_knows_its_own_passwords_and_refresh_tokens(applications: Both) -> None:
    first, second = applications
    for own, other in (first, second), (second, first):
        sent = {"refresh_token": (await _sign_in(own)).json()["refresh_token"]}
        answer = await other.client.post(REFRESH, json=sent)
        assert (answer.status_code, answer.json()["error"]) == (401, "REFRESH_TOKEN_INVALID")
        assert (await own.client.post(REFRESH, json=sent)).status_code == 200
    async with first.context.database.transaction() as session:
        copied = await lock_account(session, SYSTEM, email=first.actor.email)
    assert copied is not None
    assert copied.password_hash is not None
    async with second.context.database.transaction() as session:
        await store_password(session, second.actor.id, copied.password_hash)
    assert (await _sign_in(second)).status_code == 401


async def _sign_in(application: Application) -> httpx.Response:
    body = {"email": application.actor.email, "password": PASSWORD}
    return await application.client.post(LOGIN, json=body)


async def test_each_counts_its_own_requests(applications: Both) -> None:
    first, second = applications
    found = [(await first.client.get(ITEMS)).status_code for _ in range(7)]
    assert found == [401] * 5 + [429] * 2
    answers = [await second.client.get(ITEMS) for _ in range(7)]
    assert [answer.status_code for answer in answers] == [401] * 7
    assert not any("RateLimit" in answer.headers for answer in answers)


async def test_each_delivers_its_own_mails(applications: Both) -> None:
    for number, each in enumerate(applications):
        to = f"{number}@example.com"
        message = Message(to=to, subject="Hello", text="Hello", html="Hello", id="test.1")
        await mail.deliver(each.context, SYSTEM, message)
    for number, each in enumerate(applications):
        found = (await each.client.get(MAILBOX)).json()["data"]
        assert [mail["to"] for mail in found] == [f"{number}@example.com"]


async def test_each_stops_alone(applications: Both) -> None:
    first, second = applications
    first.context.state.started = second.context.state.started = True
    first.context.state.draining = True
    assert (await first.client.get("/health/ready")).status_code == 503
    assert (await second.client.get("/health/ready")).status_code == 200


async def test_nothing_of_an_application_is_left_in_the_modules(applications: Both) -> None:
    """`create_app` changes nothing that the manifests share with another application."""
    first, _ = applications
    before = {module.name: _state(module.router) for module in MODULES}
    again = create_app(first.context, MODULES[:-1])
    assert again.routes
    assert {module.name: _state(module.router) for module in MODULES} == before


def _state(router: APIRouter | None) -> dict[str, str]:
    """Return the attributes of a router as texts, which differ for lists of the same length."""
    return {} if router is None else {name: repr(value) for name, value in vars(router).items()}
