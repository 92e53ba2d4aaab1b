"""Helpers for tests of mailed links: run jobs, read the development mailbox, use tokens."""

import secrets
from dataclasses import dataclass, replace
from typing import Any

import httpx
import psycopg
from fastapi import FastAPI

from backend.core.context import Context
from tests.actors import Client
from tests.applications import make_context
from tests.jobs import run_jobs
from tests.mails import Mail, token_of

AUTH = "/api/v1/auth"
ME = "/api/v1/users/me"
REGISTER = f"{AUTH}/register"
LOGIN = f"{AUTH}/login"
FORGOT = f"{AUTH}/forgot-password"
RESET = f"{AUTH}/reset-password"
REQUEST = f"{AUTH}/verify-email/request"
VERIFY = f"{AUTH}/verify-email"
FRONTEND = "http://localhost:3000"
OWN = "a password of my own"


@dataclass
class Post:
    """The mails of an application, and requests with the tokens in them."""

    app: FastAPI
    client: Client
    context: Context
    url: str

    async def mails(self, to: str | None = None) -> list[Mail]:
        """Run all jobs and return all mails so far, oldest first."""
        await run_jobs(self.context)
        response = await self.client.get("/dev/mailbox", params={"to": to} if to else {})
        assert response.status_code == 200
        mails: list[Mail] = response.json()["data"]
        return mails[::-1]

    async def one(self, to: str) -> Mail:
        (mail,) = await self.mails(to)
        return mail

    async def token(self, to: str) -> str:
        """Return the token in the newest mail to this address."""
        return token_of((await self.mails(to))[-1])

    async def empty(self) -> None:
        assert (await self.client.delete("/dev/mailbox")).status_code == 204

    async def signs_in(self, name: str, password: str) -> bool:
        response = await self.client.post(LOGIN, json={"email": name, "password": password})
        assert response.status_code in (200, 401, 403)
        return response.status_code == 200

    async def reset(self, token: str, password: str = OWN) -> httpx.Response:
        return await self.client.post(RESET, json={"token": token, "new_password": password})

    async def verify(self, token: str) -> httpx.Response:
        return await self.client.post(VERIFY, json={"token": token})

    def configure(self, **settings: Any) -> None:
        """Replace the application's settings by the defaults of tests and these."""
        changed = make_context(self.url, **settings)
        self.context = replace(changed, database=self.context.database)
        self.context.state.started = True
        self.app.state.context = self.context

    def change_key(self, *, forget: bool = False) -> None:
        """Change `SECRET_KEY`; keep the former ones in `SECRET_KEY_PREVIOUS` unless `forget`."""
        former = () if forget else self.context.secret_keys
        self.context = replace(self.context, secret_keys=(secrets.token_bytes(32), *former))
        self.app.state.context = self.context

    def sql(self, statement: str, *values: Any) -> list[Any]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def audited(self, action: str) -> list[Any]:
        """Return (actor, target, outcome, changes) of the audit events, oldest first."""
        return self.sql(
            "SELECT actor_id, target_id, outcome, changes FROM audit_events"
            " WHERE action = %s ORDER BY id",
            action,
        )


def assert_token_invalid(response: httpx.Response) -> None:
    assert response.status_code == 400, response.text
    assert response.json()["error"] == "TOKEN_INVALID"
