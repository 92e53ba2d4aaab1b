"""Signed-in users and HTTP clients for tests."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
from fastapi import FastAPI

from backend.core.client_info import ClientInfo
from backend.core.context import Context
from backend.core.principal import SYSTEM
from backend.modules.audit import service as audit
from backend.modules.auth import service as auth
from backend.modules.users import service as users
from backend.modules.users.settings import UserSettings
from tests.contract import check_contract
from tests.secret_leaks import DETECTOR

PASSWORD = "NewUser123!"
BASE_URL = "http://testserver"


class Client(httpx.AsyncClient):
    """An in-process client that checks every response against the contract and for secrets."""

    def __init__(self, app: FastAPI, *, address: str = "127.0.0.1", **options: Any) -> None:
        async def check(response: httpx.Response) -> None:
            await response.aread()
            check_contract(app, response)
            DETECTOR.add_secrets_of(response)
            if response.is_error:
                # X-CSRF-Token is meant for the client.
                headers = [item for item in response.headers.items() if item[0] != "x-csrf-token"]
                DETECTOR.check("error", f"{headers} {response.text}")

        super().__init__(
            transport=httpx.ASGITransport(app=app, client=(address, 1)),
            base_url=BASE_URL,
            event_hooks={"response": [check]},
            **options,
        )


@dataclass(frozen=True)
class Actor:
    """A signed-in user and their client: `await ada.get("/api/v1/users/me")`."""

    id: UUID
    email: str
    username: str
    session_id: UUID
    token: str
    client: Client

    def __getattr__(self, name: str) -> Any:
        # get, post, put, patch, delete, head, request ...
        return getattr(self.client, name)


_hashes: dict[tuple[int, bytes], str] = {}


async def _password_hash(context: Context) -> str:
    """Return the hash of `PASSWORD`, computed once per bcrypt cost and key."""
    settings = context.settings_of(UserSettings).bcrypt_cost, context.secret_keys[0]
    if settings not in _hashes:
        _hashes[settings] = await users.hash_new_password(context, PASSWORD, names=())
    return _hashes[settings]


MakeActor = Callable[..., Awaitable[Actor]]


class ActorFactory:
    """Creates actors; closing `stack` closes their clients."""

    def __init__(self, app: FastAPI, context: Context) -> None:
        self.app = app
        self.context = context
        self.stack = AsyncExitStack()

    async def __call__(
        self, username: str = "ada", *, roles: tuple[str, ...] = ("member",)
    ) -> Actor:
        email = f"{username}@example.com"
        client = ClientInfo(ip="127.0.0.1", user_agent="tests")
        # The rows that registration and sign-in would write, without verifying the password.
        async with self.context.database.transaction() as session:
            user = await users.add_user(
                session,
                SYSTEM,
                email=email,
                username=username,
                password_hash=await _password_hash(self.context),
                roles=roles,
            )
            issued = await auth._open_session(session, self.context, user.id, client, "body")
            target = ("session", issued.session_id)
            changes = {"transport": "body"}
            await audit.record(
                session, "auth.login", target=target, actor_id=user.id, changes=changes
            )
        http = Client(self.app, headers={"Authorization": f"Bearer {issued.access_token}"})
        await self.stack.enter_async_context(http)
        return Actor(user.id, email, username, issued.session_id, issued.access_token, http)
