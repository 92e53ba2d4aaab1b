"""Random sequences of requests cannot escalate permissions.

The caller may manage accounts and roles but has few other permissions. They send random requests,
also as accounts that they create. After every step the database is compared with a model of what
the caller must not change.
"""

import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from backend.core.client_info import ClientInfo
from backend.core.context import Context
from backend.modules.auth import service as auth
from backend.modules.roles.models import Role
from tests.actors import PASSWORD, Actor, ActorFactory, Client

ROLES = "/api/v1/roles"
USERS = "/api/v1/users"
OWN = {
    *("users:read", "users:write", "users:delete", "users:admin"),
    *("roles:read", "roles:write", "items:read"),
}
LACKED = ("items:write", "items:admin", "articles:publish", "audit:read", "gone:read")
STEPS = 100
Database = psycopg.AsyncConnection[Any]


@dataclass(frozen=True)
class World:
    """The accounts, and the permissions of each role, as stored in the database."""

    users: dict[str, dict[str, Any]]
    roles: dict[str, frozenset[str]]

    def held(self, user: dict[str, Any]) -> frozenset[str]:
        return frozenset().union(*(self.roles[name] for name in user["roles"]))

    def beyond_reach(self) -> dict[str, Any]:
        """Return accounts and roles with permissions that the intruder lacks, to detect changes."""
        users = {id: user for id, user in self.users.items() if not self.held(user) <= OWN}
        return {**users, **{name: held for name, held in self.roles.items() if not held <= OWN}}


async def look(database: Database) -> World:
    users = await database.execute(
        "SELECT id::text, jsonb_build_object('email', email, 'is_active', is_active, "
        "'password', password_hash, 'valid_after', sessions_valid_after, 'roles', array("
        "SELECT role_name FROM user_roles WHERE user_id = id ORDER BY role_name)) FROM users"
    )
    roles = await database.execute("SELECT name, permissions FROM roles")
    return World(
        dict(await users.fetchall()),
        {name: frozenset(held) for name, held in await roles.fetchall()},
    )


@dataclass
class Intruder:
    """Sends random requests from one of the accounts at hand."""

    chance: random.Random
    # This account is never deleted, so that the sequence of requests continues.
    id: str
    accounts: list[httpx.AsyncClient]
    worked: Counter[str] = field(default_factory=Counter)

    async def step(self, world: World) -> tuple[str, httpx.Response, dict[str, Any]]:
        user = self.chance.choice(sorted(world.users))
        other = self.chance.choice(sorted(world.users.keys() - {self.id}))
        role = self.chance.choice(sorted(world.roles))
        new = f"role{self.chance.randrange(6)}"
        email = f"{uuid4()}@example.com"
        ways: dict[str, tuple[str, str, dict[str, Any] | None]] = {
            "make a role": ("POST", ROLES, {"name": new, "permissions": self._permissions()}),
            "change a role": ("PATCH", f"{ROLES}/{role}", {"permissions": self._permissions()}),
            "delete a role": ("DELETE", f"{ROLES}/{role}", None),
            "give roles": ("PUT", f"{USERS}/{user}/roles", {"roles": self._roles(world)}),
            "make an account": (
                "POST",
                USERS,
                {"email": email, "password": PASSWORD, "roles": self._roles(world)},
            ),
            "make a member": ("POST", USERS, {"email": email, "password": PASSWORD}),
            "invite a member": ("POST", USERS, {"email": email}),
            "take an address": ("PATCH", f"{USERS}/{user}", {"email": email, "is_verified": True}),
            "disable": ("PATCH", f"{USERS}/{user}", {"is_active": self.chance.random() < 0.7}),
            "delete": ("DELETE", f"{USERS}/{other}", None),
            "log out": ("POST", f"{USERS}/{user}/logout-all", None),
            "set more than one may": (
                "PATCH",
                f"{USERS}/{user}",
                {"roles": ["admin"], "password": PASSWORD},
            ),
        }
        # Members can be neither changed nor used, so their number is limited.
        seldom, often = (
            {"make a member": 1, "invite a member": 2},
            {"give roles": 12, "change a role": 12},
        )
        weights = [{**seldom, **often}.get(way, 5) for way in ways]
        (way,) = self.chance.choices(list(ways), weights)
        method, path, body = ways[way]
        first = self.chance.random() < 0.6
        account = self.accounts[0] if first else self.chance.choice(self.accounts)
        answer = await account.request(method, path, json=body)
        if answer.status_code == 401:
            self.accounts.remove(account)
        self.worked[way] += answer.is_success
        return way, answer, body or {}

    def _permissions(self) -> list[str]:
        own = self.chance.sample(sorted(OWN), self.chance.randrange(4))
        more = self.chance.sample(LACKED, 1) if self.chance.random() < 0.4 else []
        return [*own, *more]

    def _roles(self, world: World) -> list[str]:
        within = sorted(name for name, held in world.roles.items() if held <= OWN)
        found = self.chance.sample(within, self.chance.randrange(len(within) + 1))
        beyond = sorted(set(world.roles) - set(within))
        return [*found, self.chance.choice(beyond)] if self.chance.random() < 0.4 else found


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
async def test_rights_never_grow(
    actor: ActorFactory, context: Context, database: Database, seed: int
) -> None:
    async with context.database.transaction() as session:
        session.add(Role(name="clerk", permissions=sorted(OWN)))
        session.add(Role(name="old", permissions=["gone:read", "items:read"]))
        session.add(Role(name="guest", permissions=["items:read"]))
    await actor("root", roles=("admin",))
    await actor("mary")
    await actor("olga", roles=("old", "guest"))
    await actor("greta", roles=("guest",))
    mallory = await actor("mallory", roles=("clerk",))
    # Deterministic, so that a failure can be reproduced.
    chance = random.Random(seed)  # noqa: S311
    intruder = Intruder(chance, str(mallory.id), [mallory.client])
    world = await look(database)
    members = world.roles["member"]
    for _ in range(STEPS):
        way, answer, body = await intruder.step(world)
        description = f"{way}: {answer.status_code} {answer.text}"
        assert answer.status_code < 500, description
        before, world = world.beyond_reach(), await look(database)
        made: str = answer.json()["id"] if answer.status_code == 201 and "email" in body else ""
        now = world.beyond_reach()
        # Callers who may create accounts can invite members, but do not choose their passwords.
        fresh = now.pop(made, None)
        if fresh is not None:
            assert world.held(fresh) == members, description
            assert fresh["password"] is None, description
        assert now == before, description
        if made and "password" in body:
            intruder.accounts.append(await signed_in(actor, context, body["email"]))
        await keep_going(mallory, database)
    # The test proves nothing if every request was refused.
    some = {"make a role", "change a role", "give roles", "make an account", "invite a member"}
    assert all(intruder.worked[way] for way in some), intruder.worked
    assert not intruder.worked["make a member"]


async def signed_in(actor: ActorFactory, context: Context, email: str) -> Client:
    opened = await auth.sign_in(context, email, PASSWORD, ClientInfo())
    client = Client(actor.app, headers={"Authorization": f"Bearer {opened.access_token}"})
    return await actor.stack.enter_async_context(client)


async def keep_going(mallory: Actor, database: Database) -> None:
    """Restore Mallory's account and role, so that later requests are permitted."""
    await database.execute(
        "INSERT INTO roles (name, permissions, built_in, created_at, updated_at) VALUES "
        "('clerk', %s, false, now(), now()) "
        "ON CONFLICT (name) DO UPDATE SET permissions = excluded.permissions",
        [sorted(OWN)],
    )
    for statement in (
        "INSERT INTO user_roles VALUES (%s, 'clerk') ON CONFLICT DO NOTHING",
        "UPDATE users SET is_active = true, sessions_valid_after = 'epoch' WHERE id = %s",
        "UPDATE sessions SET revoked_at = NULL WHERE user_id = %s",
    ):
        await database.execute(statement, [mallory.id])
