"""The database of a run, and what is in it."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from alembic import command

from backend.db.embedded import data_folder, embedded_server
from backend.db.migrations import alembic_config
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
    """The URL of a fresh, migrated database that is as careful with its disk as a real one."""
    try:
        with embedded_server(folder) as server:
            with alembic_config(server.url) as config:
                command.upgrade(config, "head")
            yield server.url
    finally:
        shutil.rmtree(data_folder(folder), ignore_errors=True)


def fill(url: str, application: Server) -> str:
    """Make the caller and everybody else; returns the caller's token."""
    status, body = call(application.port, "POST", f"{API}/register", JSON, json.dumps(CREDENTIALS))
    if status != 201:
        raise BenchError(f"The caller could not register: {status} {body.decode()}")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO users (id, email, username, is_active, is_verified, created_at, updated_at)"
            " SELECT gen_random_uuid(), format('user%%s@example.com', n), format('user%%s', n),"
            " true, false, clock_timestamp(), clock_timestamp() FROM generate_series(2, %s) n",
            [USERS],
        )
        connection.execute(
            "INSERT INTO user_roles (user_id, role_name)"
            " SELECT id, 'member' FROM users WHERE username IS NOT NULL"
        )
        own = "owners.email = 'caller@example.com'"
        for condition, count in ((own, OWN_ITEMS), (f"NOT {own}", ITEMS - OWN_ITEMS)):
            connection.execute(
                "INSERT INTO items (id, title, description, owner_id, created_at, updated_at)"
                " SELECT gen_random_uuid(), format('Item %%s', n), repeat('All about it. ', 5),"
                " owners.id, clock_timestamp(), clock_timestamp() FROM generate_series(1, %s) n"
                " JOIN LATERAL (SELECT id, email FROM users AS owners"
                f" WHERE {condition} ORDER BY md5(owners.email || n) LIMIT 1) AS owners ON true",
                [count],
            )
    settle(url)
    return sign_in(application)


def sign_in(application: Server) -> str:
    status, body = call(application.port, "POST", f"{API}/login", JSON, json.dumps(CREDENTIALS))
    if status != 200:
        raise BenchError(f"The caller could not sign in: {status} {body.decode()}")
    token: str = json.loads(body)["access_token"]
    return token


def settle(url: str) -> None:
    """Remove what a measurement made, so that the next one finds the same tables."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DELETE FROM items WHERE title = %s", [CREATED_TITLE])
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
