"""A worker that carries the mail, and a mailbox to look into."""

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

Mail = dict[str, Any]


@dataclass
class Post:
    app: FastAPI
    client: Client
    context: Context
    url: str

    async def arrives(self, to: str | None = None) -> list[Mail]:
        """All mails so far, oldest first, once all jobs have run."""
        await run_jobs(self.context)
        answer = await self.client.get("/dev/mailbox", params={"to": to} if to else {})
        assert answer.status_code == 200
        mails: list[Mail] = answer.json()["data"]
        return mails[::-1]

    async def one(self, to: str) -> Mail:
        (mail,) = await self.arrives(to)
        return mail

    async def token(self, to: str) -> str:
        """The token in the newest mail to this address."""
        return token_of((await self.arrives(to))[-1])

    async def empty(self) -> None:
        assert (await self.client.delete("/dev/mailbox")).status_code == 204

    async def signs_in(self, name: str, password: str) -> bool:
        answer = await self.client.post(LOGIN, json={"email": name, "password": password})
        assert answer.status_code in (200, 401, 403)
        return answer.status_code == 200

    async def reset(self, token: str, password: str = OWN) -> httpx.Response:
        return await self.client.post(RESET, json={"token": token, "new_password": password})

    async def verify(self, token: str) -> httpx.Response:
        return await self.client.post(VERIFY, json={"token": token})

    def configure(self, **settings: Any) -> None:
        """From now on the application has these settings beside those of all tests."""
        made = make_context(self.url, **settings)
        self.context = replace(made, database=self.context.database)
        self.context.state.started = True
        self.app.state.context = self.context

    def change_key(self, *, forget: bool = False) -> None:
        """From now on the application has another `SECRET_KEY`, and knows what it was before."""
        former = () if forget else self.context.secret_keys
        self.context = replace(self.context, secret_keys=(secrets.token_bytes(32), *former))
        self.app.state.context = self.context

    def sql(self, statement: str, *values: Any) -> list[Any]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def audited(self, action: str) -> list[Any]:
        """(actor, target, outcome, changes) of each, oldest first."""
        return self.sql(
            "SELECT actor_id, target_id, outcome, changes FROM audit_events"
            " WHERE action = %s ORDER BY id",
            action,
        )


def token_of(mail: Mail) -> str:
    (link,) = mail["links"]
    token: str = link.partition("#token=")[2]
    assert len(token) == 43, "256 bits"
    return token


def assert_dead(answer: httpx.Response) -> None:
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"] == "TOKEN_INVALID"
