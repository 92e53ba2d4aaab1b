"""Built-in roles receive declared permissions once, and keep later changes."""

import asyncio
from collections.abc import Sequence

import psycopg
import pytest

from backend.core.context import Context
from backend.core.features import Feature
from backend.core.principal import SYSTEM
from backend.modules.roles.service import sync
from backend.modules.roles.startup import sync_on_start
from tests.actors import ActorFactory
from tests.applications import make_context
from tests.test_permissions import granted_to

# The permissions of built-in roles, as the tests of the modules list them; `admin` has all.
TABLE = {role: granted_to(role) for role in ("editor", "member", "viewer")}
NOTES = Feature(
    "made_jots",
    "A feature of a later version.",
    {"read": "See jots.", "write": "Change jots."},
    granted_to={"member": ("read", "write"), "viewer": ("read",)},
)


async def roles_in(database_url: str) -> dict[str, set[str]]:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        found = await connection.execute("SELECT name, permissions FROM roles")
        return {name: set(permissions) for name, permissions in await found.fetchall()}


async def set_permissions(database_url: str, role: str, permissions: set[str]) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute(
            "UPDATE roles SET permissions = %s WHERE name = %s", [sorted(permissions), role]
        )


async def synced(context: Context, features: Sequence[Feature]) -> None:
    async with context.database.transaction() as session:
        await sync(session, SYSTEM, features)


async def test_the_first_start_makes_the_roles_of_the_table(
    context: Context, database_url: str
) -> None:
    declared = {name for feature in context.features for name in feature.permissions}
    roles = await roles_in(database_url)
    assert roles.keys() == {"admin", *TABLE}
    assert roles["admin"] == declared
    assert {role: roles[role] for role in TABLE} == TABLE
    assert declared >= {"users:read", "users:write", "users:delete", "users:admin"}


async def test_built_in_roles_say_so_and_are_described(database_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        found = await connection.execute("SELECT name, built_in, description FROM roles")
        for name, built_in, description in await found.fetchall():
            assert built_in, name
            assert description, name


async def test_a_second_start_changes_nothing(context: Context, database_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        rows = "SELECT xmin::text, * FROM roles ORDER BY name"
        before = await (await connection.execute(rows)).fetchall()
        await sync_on_start(context)
        assert await (await connection.execute(rows)).fetchall() == before


async def test_a_role_that_was_narrowed_stays_narrow(context: Context, database_url: str) -> None:
    await set_permissions(database_url, "member", {"roles:read"})
    await sync_on_start(context)
    assert (await roles_in(database_url))["member"] == {"roles:read"}


async def test_a_role_that_was_widened_stays_wide(context: Context, database_url: str) -> None:
    wide = TABLE["viewer"] | {"users:read"}
    await set_permissions(database_url, "viewer", wide)
    await sync_on_start(context)
    assert (await roles_in(database_url))["viewer"] == wide


async def test_the_administrators_permissions_come_back(
    context: Context, database_url: str
) -> None:
    before = await roles_in(database_url)
    await set_permissions(database_url, "admin", set())
    await sync_on_start(context)
    assert await roles_in(database_url) == before


async def test_a_new_feature_reaches_admin_and_the_roles_it_names(
    context: Context, database_url: str
) -> None:
    before = await roles_in(database_url)
    await set_permissions(database_url, "member", {"roles:read"})
    await synced(context, [*context.features, NOTES])
    roles = await roles_in(database_url)
    assert roles["admin"] == before["admin"] | {"made_jots:read", "made_jots:write"}
    assert roles["member"] == {"roles:read", "made_jots:read", "made_jots:write"}
    assert roles["viewer"] == before["viewer"] | {"made_jots:read"}
    assert roles["editor"] == before["editor"]


async def test_a_new_action_of_an_old_feature_is_new(context: Context, database_url: str) -> None:
    await synced(context, [*context.features, NOTES])
    await set_permissions(database_url, "member", {"made_jots:read"})
    grown = Feature(
        "made_jots",
        NOTES.description,
        {**NOTES.actions, "share": "Share jots."},
        granted_to={"member": ("read", "write", "share")},
    )
    await synced(context, [*context.features, grown])
    roles = await roles_in(database_url)
    assert roles["member"] == {"made_jots:read", "made_jots:share"}
    assert "made_jots:share" in roles["admin"]


async def test_an_older_version_that_starts_again_removes_nothing(
    context: Context, database_url: str
) -> None:
    await synced(context, [*context.features, NOTES])
    before = await roles_in(database_url)
    await sync_on_start(context)
    assert await roles_in(database_url) == before
    await set_permissions(database_url, "viewer", TABLE["viewer"])
    await synced(context, [*context.features, NOTES])
    assert (await roles_in(database_url))["viewer"] == TABLE["viewer"]


async def test_roles_of_ones_own_are_left_alone(context: Context, database_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute(
            "INSERT INTO roles (name, permissions, built_in, created_at, updated_at) "
            "VALUES ('auditor', '{users:read,gone:read}', false, now(), now())"
        )
    await synced(context, [*context.features, NOTES])
    assert (await roles_in(database_url))["auditor"] == {"users:read", "gone:read"}


@pytest.mark.parametrize("attempt", range(2))
async def test_four_workers_that_start_together(database_url: str, attempt: int) -> None:
    before = await roles_in(database_url)
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute("TRUNCATE roles, permissions CASCADE")
    contexts = [make_context(database_url) for _ in range(4)]
    try:
        await asyncio.gather(*(sync_on_start(context) for context in contexts))
    finally:
        for context in contexts:
            await context.database.close()
    assert await roles_in(database_url) == before


async def test_a_new_permission_counts_from_the_next_request_on(
    actor: ActorFactory, context: Context, database_url: str
) -> None:
    await set_permissions(database_url, "viewer", set())
    viewer = await actor("vera", roles=("viewer",))
    assert (await viewer.get("/api/v1/roles")).status_code == 403
    await set_permissions(database_url, "viewer", {"roles:read"})
    assert (await viewer.get("/api/v1/roles")).status_code == 200
