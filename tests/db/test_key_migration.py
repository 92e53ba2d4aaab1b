"""The migration computes the keys of existing accounts."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from alembic import command

from backend.addresses.account_names import name_key
from backend.db.base import uuid7
from backend.db.errors import MigrationRefusedError
from backend.db.schema.migrations import alembic_config
from tests import databases
from tests.commands import backend, refusal

GREEK_SIGMAS = ("\N{GREEK SMALL LETTER SIGMA}", "\N{GREEK SMALL LETTER FINAL SIGMA}")
BEFORE, AFTER = "0008", "0009"
INSERT = (
    "INSERT INTO users (id, email, username, created_at, updated_at, is_active, is_verified,"
    " sessions_valid_after) VALUES (%s, %s, %s, now(), now(), true, true, now())"
)
TOKEN = (
    "INSERT INTO mailed_tokens (id, purpose, email, digest, created_at, expires_at)"
    " VALUES (%s, 'registration', %s, '', now(), now())"
)


@pytest.fixture(scope="module", params=["default", pytest.param("C", marks=pytest.mark.slow)])
def template(request: pytest.FixtureRequest, pytestconfig: pytest.Config) -> Iterator[str]:
    """The name of a database at the revision before the keys, in each kind of locale."""
    server = databases.server_url(pytestconfig)
    options = databases.C_LOCALE if request.param == "C" else "STRATEGY file_copy"
    with databases.cloned_database(server, "template0", options) as url:
        databases.upgrade(url, BEFORE)
        yield str(psycopg.conninfo.conninfo_to_dict(url)["dbname"])


@pytest.fixture
def old_url(template: str, pytestconfig: pytest.Config) -> Iterator[str]:
    with databases.cloned_database(databases.server_url(pytestconfig), template) as url:
        yield url


def store(url: str, *rows: tuple[str, str | None]) -> list[UUID]:
    ids = [uuid7() for _ in rows]
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.executemany(INSERT, [(id, *row) for id, row in zip(ids, rows, strict=True)])
    return ids


def column(url: str, statement: str) -> list[str | None]:
    with psycopg.connect(url) as connection:
        return [value for (value,) in connection.execute(statement)]


def test_rows_get_their_keys_and_keep_their_spelling(old_url: str) -> None:
    emails = ["JOSÉ@example.com", "νίκος@example.com", "Ada@xn--mnchen-3ya.example", "b@c.de"]
    store(old_url, *((email, f"User{number}") for number, email in enumerate(emails)))
    # More accounts than one batch converts, all without a username.
    store(old_url, *((f"U{number}@example.com", None) for number in range(5_001)))
    with psycopg.connect(old_url) as connection:
        connection.execute(TOKEN, [uuid7(), "Élodie@example.com"])
    for _ in range(2):
        databases.upgrade(old_url, AFTER)
        keys = column(old_url, "SELECT email_key FROM users ORDER BY id")
        spelled = column(old_url, "SELECT email FROM users ORDER BY id")
        assert spelled[:4] == emails
        assert keys == [name_key(str(email)) for email in spelled]
        assert len(set(keys)) == 5_005
        names = column(old_url, "SELECT username_key FROM users ORDER BY id LIMIT 5")
        assert names == ["user0", "user1", "user2", "user3", None]
        assert column(old_url, "SELECT email_key FROM mailed_tokens") == ["élodie@example.com"]
        with alembic_config(old_url) as config:
            command.downgrade(config, BEFORE)


def test_accounts_that_would_become_one_stop_it(old_url: str, tmp_path: Path) -> None:
    store(old_url, ("ada@example.com", "ada"))
    first, second = store(old_url, ("νίκος@example.com", "nik"), ("νίκοσ@example.com", None))
    third, fourth = store(old_url, ("νίκος@münchen.de", None), ("νίκος@xn--mnchen-3ya.de", None))
    said = refusal("db", "upgrade", AFTER, folder=tmp_path, DATABASE_URL=old_url)
    assert said == (
        "Without regard to case and composition, the accounts "
        f"{first} and {second} have the same e-mail address, the accounts "
        f"{third} and {fourth} have the same e-mail address: give all but one of each another or "
        "delete them, with the present version or in the table users, and run this again; "
        "nothing was changed."
    )
    assert column(old_url, "SELECT version_num FROM alembic_version") == [BEFORE]
    assert len(column(old_url, "SELECT email FROM users")) == 5
    assert (
        column(
            old_url,
            "SELECT column_name FROM information_schema.columns"
            " WHERE table_name = 'users' AND column_name LIKE '%key'",
        )
        == []
    )
    with psycopg.connect(old_url) as connection:
        connection.execute("DELETE FROM users WHERE id = ANY(%s)", [[second, third]])
    done = backend("db", "upgrade", AFTER, folder=tmp_path, DATABASE_URL=old_url)
    assert (done.returncode, done.stdout) == (0, f"The schema is at {AFTER}.\n")


def test_of_many_groups_the_first_are_named(old_url: str) -> None:
    ids = store(
        old_url,
        *((f"{name}{number}@example.com", None) for number in range(7) for name in GREEK_SIGMAS),
    )
    with pytest.raises(MigrationRefusedError) as refused:
        databases.upgrade(old_url, AFTER)
    said = str(refused.value)
    assert [str(id) in said for id in ids] == [True] * 10 + [False] * 4
    assert "and 2 more groups do" in said
    assert "\n" not in said


def test_long_foreign_hashes_go_with_the_room_for_them(own_database_url: str) -> None:
    with psycopg.connect(own_database_url, autocommit=True) as connection:
        for number, stored in enumerate(("$2b$12$" + "x" * 53, "$argon2id$" + "x" * 100)):
            connection.execute(
                "INSERT INTO users (id, email, email_key, password_hash, created_at, updated_at,"
                " is_active, is_verified, sessions_valid_after)"
                " VALUES (%s, %s, %s, %s, now(), now(), true, true, now())",
                [uuid7(), f"{number}@example.com", f"{number}@example.com", stored],
            )
    with alembic_config(own_database_url) as config:
        command.downgrade(config, "0009")
    kept = column(own_database_url, "SELECT password_hash FROM users ORDER BY id")
    assert kept == ["$2b$12$" + "x" * 53, None]
    databases.upgrade(own_database_url)
