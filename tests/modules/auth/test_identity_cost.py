"""Authentication takes one statement, which is an index lookup."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from backend.core.context import Context
from backend.modules.auth.models import UserSession
from backend.modules.auth.queries import IDENTITY
from backend.modules.users.models import User, UserRole
from tests.actors import Actor

MANY = 1_000


async def crowd(context: Context) -> None:
    """Insert so many users and sessions that a scan of a whole table appears in the plan."""
    expires = datetime.now(UTC) + timedelta(hours=1)
    async with context.database.transaction() as session:
        users = [User(email=f"user{number}@example.com") for number in range(MANY)]
        session.add_all(users)
        await session.flush()
        session.add_all(UserRole(user_id=user.id, role_name="member") for user in users)
        session.add_all(
            UserSession(user_id=user.id, expires_at=expires, transport="body", token_digest=b"")
            for user in users
            for _ in range(3)
        )


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


async def test_the_identity_is_found_through_indexes(
    ada: Actor, context: Context, database_url: str
) -> None:
    await crowd(context)
    values = IDENTITY.parameters({"keys": [ada.session_id]})
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute("ANALYZE")
        explain: Any = f"EXPLAIN (FORMAT JSON) {IDENTITY.sql}"
        row = await (await connection.execute(explain, values)).fetchone()
    assert row is not None
    plan = row[0] if isinstance(row[0], list) else json.loads(row[0])
    scans = [
        (node["Node Type"], node["Relation Name"])
        for node in nodes(plan[0]["Plan"])
        if "Relation Name" in node
    ]
    big = {"sessions", "users", "user_roles"}
    assert {table for _, table in scans} >= big
    # The table of roles is small, so a sequential scan of it is expected.
    assert [scan for scan in scans if scan[0] == "Seq Scan" and scan[1] in big] == []
