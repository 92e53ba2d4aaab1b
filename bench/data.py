"""The database of a run and its test data."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
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

# Not by an import, so that an application without items passes the checks of types.
Item: Any = import_module("backend.modules.items.models").Item

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


def fill(url: str, application: Server) -> str:
    """Create the caller, the other users and the items; return the caller's access token."""
    status, body = call(application.port, "POST", f"{API}/register", JSON, json.dumps(CREDENTIALS))
    if status != 201:
        raise BenchError(f"The caller could not register: {status} {body.decode()}")
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    with Session(engine) as session:
        caller = session.exec(select(User)).one()
        others = [User(email=f"user{number}@example.com") for number in range(1, USERS)]
        session.add_all(others)
        session.flush()
        session.add_all(UserRole(user_id=user.id, role_name=DEFAULT_ROLE) for user in others)
        owners = [caller] * OWN_ITEMS + others[: ITEMS - OWN_ITEMS]
        text = "All about it. " * 5
        for number, owner in enumerate(owners):
            session.add(Item(title=f"Item {number}", description=text, owner_id=owner.id))
        session.commit()
    reset_tables(url)
    return sign_in(application)


def sign_in(application: Server) -> str:
    status, body = call(application.port, "POST", f"{API}/login", JSON, json.dumps(CREDENTIALS))
    if status != 200:
        raise BenchError(f"The caller could not sign in: {status} {body.decode()}")
    token: str = json.loads(body)["access_token"]
    return token


def reset_tables(url: str) -> None:
    """Remove the rows that a measurement created, so that the next one finds the same tables."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DELETE FROM items WHERE title = %s", [CREATED_TITLE])
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
