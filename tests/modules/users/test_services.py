"""Service functions called by other modules, as the system or for a principal."""

from typing import Any
from uuid import UUID

import pytest

from backend.core.context import Context
from backend.core.errors import PermissionDeniedError
from backend.core.principal import SYSTEM, Caller, Principal
from backend.modules.users import service as users
from backend.modules.users.exceptions import InvitationRefusedError, LastAdminError
from backend.modules.users.schemas import UserCreate, UserUpdate
from tests.actors import Actor
from tests.declared import permitted
from tests.sessions import execute

ME = "/api/v1/users/me"


async def still_may() -> None:
    """Stub of `confirm`: the caller has lost no permission meanwhile."""


async def invited(context: Context, by: Caller = SYSTEM) -> UUID:
    new = UserCreate(email="new@example.com")
    async with context.database.transaction() as session:
        return (await users.create_user(context, session, by, new, confirm=still_may)).id


async def events(url: str, user_id: UUID) -> list[tuple[str, Any]]:
    rows = await execute(
        url,
        "SELECT action, actor_id FROM audit_events WHERE target_id = %s ORDER BY id",
        [str(user_id)],
    )
    return [(row["action"], row["actor_id"]) for row in rows]


async def jobs(url: str) -> list[str]:
    rows = await execute(url, "SELECT task_name FROM procrastinate_jobs ORDER BY id")
    return [row["task_name"] for row in rows]


def as_administrator(actor: Actor, *permissions: str) -> Principal:
    return Principal(actor.id, actor.session_id, frozenset(permissions))


async def test_an_invitation_is_mailed_once_more(
    admin: Actor, context: Context, database_url: str
) -> None:
    user_id = await invited(context)
    by = as_administrator(admin, "users:write", *MEMBER)
    await users.invite_user(context, by, user_id)
    assert await jobs(database_url) == ["accounts.mail_link"] * 2
    assert await events(database_url, user_id) == [("user.create", None), ("user.invite", admin.id)]


async def test_only_who_has_no_password_is_invited(ada: Actor, context: Context) -> None:
    with pytest.raises(InvitationRefusedError):
        await users.invite_user(context, SYSTEM, ada.id)
    user_id = await invited(context)
    disabled = UserUpdate(is_active=False)
    await users.update_user(context, SYSTEM, user_id, disabled, confirm=still_may)
    with pytest.raises(InvitationRefusedError):
        await users.invite_user(context, SYSTEM, user_id)


async def test_the_system_changes_an_address(
    ada: Actor, context: Context, database_url: str
) -> None:
    moved = UserUpdate(email="elsewhere@example.com")
    found = await users.update_user(context, SYSTEM, ada.id, moved, confirm=still_may)
    assert (found.email, found.is_verified) == ("elsewhere@example.com", False)
    assert (await ada.get(ME)).status_code == 401
    assert await jobs(database_url) == ["accounts.mail_notice"] * 2
    assert ("user.update", None) in await events(database_url, ada.id)


async def test_the_system_ends_sessions(ada: Actor, context: Context, database_url: str) -> None:
    async with context.database.transaction() as session:
        await users.end_sessions(context, session, SYSTEM, ada.id)
    assert (await ada.get(ME)).status_code == 401
    assert ("auth.logout", None) in await events(database_url, ada.id)


async def test_an_administrator_is_named_in_the_record(
    ada: Actor, admin: Actor, context: Context, database_url: str
) -> None:
    by = as_administrator(admin, "users:admin", "users:delete", *MEMBER)
    async with context.database.transaction() as session:
        await users.end_sessions(context, session, by, ada.id)
        await users.delete_user(context, session, by, ada.id, confirm=still_may)
    found = await events(database_url, ada.id)
    assert found[-2:] == [("auth.logout", admin.id), ("user.delete", admin.id)]


async def test_the_system_does_not_remove_the_last_administrator(
    admin: Actor, context: Context
) -> None:
    with pytest.raises(LastAdminError):
        async with context.database.transaction() as session:
            await users.delete_user(context, session, SYSTEM, admin.id, confirm=still_may)


async def test_ones_own_account_goes_by_its_own_function(ada: Actor, context: Context) -> None:
    by = as_administrator(ada)
    with pytest.raises(PermissionDeniedError):
        async with context.database.transaction() as session:
            await users.delete_user(context, session, by, ada.id, confirm=still_may)
    async with context.database.transaction() as session:
        await users.delete_me(context, session, by)
    assert (await ada.get(ME)).status_code == 401


# Permissions of these accounts: a caller cannot change accounts with more permissions.
MEMBER = permitted("member")
