"""People who call the application in tests."""

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
from tests.secret_leaks import WATCH

PASSWORD = "NewUser123!"
BASE_URL = "http://testserver"


class Client(httpx.AsyncClient):
    """Calls the application in this process; every answer is held against the contract."""

    def __init__(self, app: FastAPI, *, address: str = "127.0.0.1", **options: Any) -> None:
        async def check(response: httpx.Response) -> None:
            await response.aread()
            check_contract(app, response)
            WATCH.learn(response)
            if response.is_error:
                # Who is told to refresh is told what that takes, in a header of its own.
                told = [each for each in response.headers.items() if each[0] != "x-csrf-token"]
                WATCH.look("error", f"{told} {response.text}")

        super().__init__(
            transport=httpx.ASGITransport(app=app, client=(address, 1)),
            base_url=BASE_URL,
            event_hooks={"response": [check]},
            **options,
        )


@dataclass(frozen=True)
class Actor:
    """A signed-in user and their client: `await ada.get("/api/v1/items")`."""

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
    """The hash of `PASSWORD` by these settings; hashing takes a while."""
    settings = context.settings_of(UserSettings).bcrypt_cost, context.secret_keys[0]
    if settings not in _hashes:
        _hashes[settings] = await users.hash_new_password(context, PASSWORD, names=())
    return _hashes[settings]


MakeActor = Callable[..., Awaitable[Actor]]


class ActorFactory:
    """Makes actors, and lets go of their clients at the end."""

    def __init__(self, app: FastAPI, context: Context) -> None:
        self.app = app
        self.context = context
        self.stack = AsyncExitStack()

    async def __call__(
        self, username: str = "ada", *, roles: tuple[str, ...] = ("member",)
    ) -> Actor:
        email = f"{username}@example.com"
        client = ClientInfo(ip="127.0.0.1", user_agent="tests")
        # As registering and signing in would, without comparing the password.
        async with self.context.database.transaction() as session:
            user = await users.add_user(
                session,
                SYSTEM,
                email=email,
                username=username,
                password_hash=await _password_hash(self.context),
                roles=roles,
            )
            opened = await auth._open_session(session, self.context, user.id, client, "body")
            target = ("session", opened.session_id)
            changes = {"transport": "body"}
            await audit.record(
                session, "auth.login", target=target, actor_id=user.id, changes=changes
            )
        http = Client(self.app, headers={"Authorization": f"Bearer {opened.access_token}"})
        await self.stack.enter_async_context(http)
        return Actor(user.id, email, username, opened.session_id, opened.access_token, http)
