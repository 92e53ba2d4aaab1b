"""The names of statements tell what they do, and contain no value."""

import pytest

from backend.core.jobs import _DEFER
from backend.telemetry.statements import statement_name


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("SELECT items.id FROM items WHERE items.title = %(title)s", "SELECT items"),
        (
            "SELECT a FROM users AS u JOIN user_roles ON true LEFT OUTER JOIN roles ON true",
            "SELECT users user_roles roles",
        ),
        ("INSERT INTO items (id, title) VALUES (%(id)s, %(title)s)", "INSERT items"),
        ("INSERT INTO a (x) SELECT y FROM unnest(%(list)s) RETURNING x", "INSERT a"),
        ("UPDATE users SET email = %(from)s FROM sessions", "UPDATE users sessions"),
        ("DELETE FROM items WHERE id IN (SELECT id FROM other_items)", "DELETE items other_items"),
        ("WITH old AS (SELECT 1 FROM a) DELETE FROM b USING old", "DELETE a b"),
        ("WITH x AS MATERIALIZED (SELECT 1 FROM a) SELECT * FROM x", "SELECT a"),
        ("SELECT extract(epoch FROM users.created_at) FROM users FOR UPDATE", "SELECT users"),
        ("SELECT extract(epoch FROM now())", "SELECT extract"),
        ("SELECT 'FROM secrets'", "SELECT"),
        ("SET LOCAL statement_timeout = 0", "SET"),
        ("BEGIN; SET LOCAL x = '1'", "BEGIN"),
        ("\n  select 1", "SELECT"),
        ("", "OTHER"),
        (_DEFER.text, "SELECT procrastinate_defer_jobs_v1"),
    ],
)
def test_name(sql: str, name: str) -> None:
    assert statement_name(sql) == name
