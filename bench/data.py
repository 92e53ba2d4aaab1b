"""The database of a run and its test data."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import psycopg
from alembic import command
from sqlalchemy import NullPool, create_engine, make_url
from sqlmodel import Session, select

from backend.db.schema.migrations import alembic_config
from backend.dev.embedded_server import data_folder, embedded_server
from backend.modules.users.models import User, UserRole
from backend.modules.users.schemas import DEFAULT_ROLE
from bench.endpoints import CREATED_TITLE
from bench.servers import BenchError, Server, call

USERS = 1000
ITEMS = 1000
OWN_ITEMS = 100
CREDENTIALS = {"email": "caller@example.com", "password": "correct horse battery"}
API = "/api/v1/auth"
JSON = {"Content-Type": "application/json"}


@contextmanager
def database(folder: Path) -> Iterator[str]:
    """Yield the URL of a new, migrated database with fsync on, as in production."""
    try:
        with embedded_server(folder) as server:
            with alembic_config(server.url) as config:
                command.upgrade(config, "head")
            yield server.url
    finally:
        shutil.rmtree(data_folder(folder), ignore_errors=True)


@dataclass(frozen=True)
class Rows:
    """How the 1000 users and 1000 items are divided: each caller has the same number of items."""

    callers: int

    @property
    def items_of_caller(self) -> int:
        return min(OWN_ITEMS, ITEMS // self.callers)

    @property
    def other_users(self) -> int:
        return USERS - self.callers

    @property
    def other_items(self) -> int:
        return ITEMS - self.callers * self.items_of_caller


def fill(url: str, application: Server) -> str:
    """Create the caller, the other users and the items; return the caller's access token."""
    return fill_for(Rows(1), url, application)[0]


def fill_for(rows: Rows, url: str, application: Server) -> list[str]:
    """Create the users and the items; return the access token of each caller."""
    status, body = call(
        application.port, "POST", f"{API}/register", JSON, json.dumps(credentials(0))
    )
    if status != 201:
        raise BenchError(f"The caller could not register: {status} {body.decode()}")
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    with Session(engine) as session:
        first = session.exec(select(User)).one()
        # With the password of the first, because hashing takes long.
        callers = [
            User(email=credentials(number)["email"], password_hash=first.password_hash)
            for number in range(1, rows.callers)
        ]
        others = [User(email=f"user{number}@example.com") for number in range(rows.other_users)]
        session.add_all([*callers, *others])
        session.flush()
        session.add_all(
            UserRole(user_id=user.id, role_name=DEFAULT_ROLE) for user in (*callers, *others)
        )
        owners = [first, *callers] * rows.items_of_caller + others[: rows.other_items]
        # Not by an import, so that an application without items passes the checks and tests.
        item: Any = import_module("backend.modules.items.models").Item
        text = "All about it. " * 5
        for number, owner in enumerate(owners):
            session.add(item(title=f"Item {number}", description=text, owner_id=owner.id))
        session.commit()
    reset_tables(url)
    return [sign_in(application, number) for number in range(rows.callers)]


def credentials(number: int) -> dict[str, str]:
    """Return the credentials of a caller."""
    return CREDENTIALS if not number else {**CREDENTIALS, "email": f"caller{number}@example.com"}


def sign_in(application: Server, number: int = 0) -> str:
    # An address of its own for each caller, where the server trusts the bench as a proxy:
    # sign-ins are limited by address.
    headers = {**JSON, "X-Forwarded-For": f"10.0.0.{number + 1}"}
    body = json.dumps(credentials(number))
    status, response = call(application.port, "POST", f"{API}/login", headers, body)
    if status != 200:
        raise BenchError(f"The caller could not sign in: {status} {response.decode()}")
    token: str = json.loads(response)["access_token"]
    return token


def reset_tables(url: str) -> None:
    """Remove the rows that a measurement created, so that the next one finds the same tables."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DELETE FROM items WHERE title = %s", [CREATED_TITLE])
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
