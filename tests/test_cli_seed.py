"""`backend db seed`: example data that is plausible, repeatable and for development only."""

from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.commands import output_of, refusal

SETTINGS: dict[str, Any] = {"ENVIRONMENT": "test"}


def users(url: str) -> Any:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT count(*) FROM users").fetchone()


def rows(url: str) -> list[Any]:
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT username, (SELECT count(*) FROM items WHERE owner_id = users.id),"
            " (SELECT string_agg(title || status, ',' ORDER BY articles.id) FROM articles"
            "  WHERE author_id = users.id) FROM users ORDER BY username"
        ).fetchall()


@pytest.mark.slow
def test_it_fills_an_empty_database_once(own_database_url: str, tmp_path: Path) -> None:
    options = {"folder": tmp_path, "DATABASE_URL": own_database_url, **SETTINGS}
    printed = output_of("db", "seed", **options)
    assert "users      20" in printed
    assert "password: correct horse battery" in printed
    first = rows(own_database_url)
    assert len(first) == 20
    assert sum(row[1] for row in first) == 200
    assert refusal("db", "seed", **options).endswith("Nothing was changed.")
    assert rows(own_database_url) == first
    with psycopg.connect(own_database_url) as connection:
        connection.execute("DELETE FROM users")
    output_of("db", "seed", **options)
    assert rows(own_database_url) == first


def test_it_is_for_development_only(own_database_url: str, tmp_path: Path) -> None:
    said = refusal(
        *("db", "seed"),
        folder=tmp_path,
        DATABASE_URL=own_database_url,
        ENVIRONMENT="production",
        SECRET_KEY="a key that is as long as a real one: 0123456789",
        ALLOWED_HOSTS="api.example.com",
        FRONTEND_URL="https://app.example.com",
        EMAIL_FROM="no-reply@example.com",
        SMTP_URL="smtp://localhost",
        BCRYPT_COST=12,
    )
    assert said.startswith("Example data is for development")
    assert users(own_database_url) == (0,)
