"""Accounts: the use cases. Reads take `QueryRunner`, changes a session; neither commits."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any
from uuid import UUID

import structlog
from pydantic import MISSING
from sqlalchemy import Subquery, delete, func, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.addresses.account_names import name_key
from backend.core.context import Context
from backend.core.errors import InvalidTokenError, PermissionDeniedError
from backend.core.http.pagination import Page
from backend.core.permissions import ADMIN_ROLE
from backend.core.principal import Principal
from backend.db.base import utc_now
from backend.db.errors import violated_constraint
from backend.db.lists.pages import ListQuery, fetch_page
from backend.db.query_runner import QueryRunner
from backend.modules.audit import service as audit
from backend.modules.users import queries
from backend.modules.users.exceptions import (
    EmailAlreadyExistsError,
    OwnEmailError,
    UsernameAlreadyExistsError,
    UserNotFoundError,
)
from backend.modules.users.imports import ImportReport, import_users
from backend.modules.users.models import User, UserRole
from backend.modules.users.passwords import (
    accept_password,
    hasher_of,
    password_errors,
    renewed_hash,
)
from backend.modules.users.rights import (
    ensure_admin_remains,
    ensure_within_own_permissions,
    locked,
    locked_in_reach,
)
from backend.modules.users.schemas import DEFAULT_ROLE, Author, MeOut, MeUpdate, UserCreate, UserOut

# Defined in files that other modules do not see.
__all__ = ["ImportReport", "accept_password", "import_users", "password_errors", "renewed_hash"]

# Whoever is deleted has a right to be forgotten, and the record is never changed: it does not tell
# what they were called.
_PERSONAL = ("email", "username", "full_name")
_TAKEN = {
    "ix_users_email_key": EmailAlreadyExistsError,
    "ix_users_username_key": UsernameAlreadyExistsError,
}

log = structlog.get_logger()


@dataclass(frozen=True)
class Credentials:
    """What signing in needs to know of an account."""

    user_id: UUID
    email: str
    username: str | None
    password_hash: str | None
    is_active: bool
    is_verified: bool


@dataclass(frozen=True)
class Account(Credentials):
    """What mailed links need to know of one."""

    pending_email: str | None


async def get_user(reader: QueryRunner, user_id: UUID) -> UserOut:
    row = await reader.first(queries.USER, id=user_id)
    if row is None:
        raise UserNotFoundError
    return _to_schema(row)


async def get_me(reader: QueryRunner, user_id: UUID) -> MeOut:
    row = await reader.first(queries.ME, id=user_id)
    if row is None:
        # Deleted since the request began, and so is the session it came with.
        raise InvalidTokenError
    return MeOut.from_row({**row, "avatar_url": None})


async def list_users(reader: QueryRunner, query: ListQuery) -> Page[UserOut]:
    page = await fetch_page(reader, queries.USERS, query)
    return Page.from_rows(page, _to_schema)


async def authors(reader: QueryRunner, ids: Collection[UUID]) -> dict[UUID, Author]:
    """The public part of these accounts, all in one read."""
    rows = await reader.all(queries.AUTHORS, ids=list(set(ids))) if ids else []
    return {row["id"]: Author.from_row(row) for row in rows}


async def credentials(reader: QueryRunner, name: str) -> Credentials | None:
    """The account with this e-mail address or username, without regard to case."""
    # Whoever guesses a password asks many times.
    rows = await reader.shared(queries.CREDENTIALS, key=name_key(name))
    return Credentials(**rows[0]) if rows else None


async def credentials_of(reader: QueryRunner, user_id: UUID) -> Credentials:
    row = await reader.first(queries.CREDENTIALS_OF, id=user_id)
    if row is None:
        raise UserNotFoundError
    return Credentials(**row)


def access() -> Subquery:
    """Active accounts, for an authenticator's statement to join.

    (user_id, permissions in one text, sessions_valid_after: older sessions are over)
    """
    return queries.access()


async def verify_password(context: Context, password: str, found: Credentials | None) -> bool:
    """Whether this is the account's password; without an account the same work is done in vain.

    A stored hash that no password can match is False as well, and one warning.
    """
    hasher, stored = hasher_of(context), found.password_hash if found else None
    if await hasher.verify(password, stored):
        return True
    if found and stored is not None and (scheme := hasher.unusable_scheme(stored)):
        log.warning("password_hash_unusable", user_id=str(found.user_id), scheme=scheme)
    return False


@lru_cache(maxsize=1024)
def permission_set(joined: str | None) -> frozenset[str]:
    """The permissions that `access()` tells in one text."""
    return frozenset(joined.split()) if joined else frozenset()


async def create_user(
    session: AsyncSession,
    *,
    email: str,
    username: str | None = None,
    full_name: str | None = None,
    password_hash: str | None = None,
    is_active: bool = True,
    is_verified: bool = False,
    roles: Collection[str] = (DEFAULT_ROLE,),
) -> UserOut:
    """A new account; `EmailAlreadyExistsError` or `UsernameAlreadyExistsError` if taken."""
    user = User(
        email=email,
        username=username,
        full_name=full_name,
        password_hash=password_hash,
        is_active=is_active,
        is_verified=is_verified,
    )
    user.updated_at = user.created_at
    async with _names(session):
        session.add(user)
    roles = sorted(set(roles))
    session.add_all(UserRole(user_id=user.id, role_name=role) for role in roles)
    await session.flush()
    told = {"is_active": is_active, "is_verified": is_verified, "roles": roles}
    await _record(session, "user.create", user.id, changes=audit.changes_of({}, told))
    return _user_to_schema(user, roles)


async def create_user_as(
    session: AsyncSession, by: Principal, new: UserCreate, password_hash: str | None
) -> UserOut:
    """An account for somebody else.

    `PermissionDeniedError` for roles that hold a permission which `by` lacks; with a password the
    default role counts as well.
    """
    if new.roles is not MISSING:
        await ensure_within_own_permissions(session, by, new.roles)
    elif password_hash is not None:
        # Whoever chose the password can sign in with it.
        await ensure_within_own_permissions(session, by, (DEFAULT_ROLE,))
    values = new.model_dump(exclude={"password"})
    return await create_user(session, password_hash=password_hash, **values)


async def update_user(
    session: AsyncSession, user_id: UUID, changes: MeUpdate, *, by: Principal
) -> UserOut:
    """Change what was sent. Others than the owner need every permission the user holds.

    To change the `email` of somebody else takes `users:admin`; another spelling is a change.
    """
    user, roles = await locked_in_reach(session, user_id, by)
    values = changes.model_dump()
    moves = values.get("email", user.email) != user.email
    if user_id == by.user_id and values.get("is_verified", user.is_verified) != user.is_verified:
        raise PermissionDeniedError
    if moves and user_id == by.user_id:
        # There it takes the password, and counts once it is verified.
        raise OwnEmailError
    if moves:
        # Whoever reads mail there can set the password, and then is the user.
        by.must("users:admin")
    if values.get("is_active") is False and user.is_active:
        await ensure_admin_remains(session, user, roles)
        # By the clock that sessions go by: those of two servers differ.
        now = await session.exec(select(func.clock_timestamp()))
        user.sessions_valid_after = now.one()
    if moves:
        values.setdefault("is_verified", False)
        user.pending_email = None
    before = {name: getattr(user, name) for name in values}
    async with _names(session):
        for name, value in values.items():
            setattr(user, name, value)
    if told := audit.changes_of(before, values, hidden=_PERSONAL):
        await _record(session, "user.update", user_id, by=by, changes=told)
    return _user_to_schema(user, roles)


async def delete_user(session: AsyncSession, user_id: UUID, *, by: Principal) -> None:
    """Remove the account and, through foreign keys, everything that belongs to it."""
    user, roles = await locked_in_reach(session, user_id, by)
    await ensure_admin_remains(session, user, roles)
    await session.delete(user)
    await session.flush()
    told = audit.changes_of({"roles": roles}, {})
    await _record(session, "user.delete", user_id, by=by, changes=told)


async def set_roles(
    session: AsyncSession, user_id: UUID, roles: Sequence[str], *, by: Principal
) -> UserOut:
    """Give these roles and no others. Both the old and the new must be within `by`'s own rights."""
    user, held = await locked_in_reach(session, user_id, by)
    await ensure_within_own_permissions(session, by, roles)
    wanted = sorted(set(roles))
    if wanted == held:
        return _user_to_schema(user, held)
    if ADMIN_ROLE not in wanted:
        await ensure_admin_remains(session, user, held)
    if gone := set(held).difference(wanted):
        await session.exec(
            delete(UserRole).where(
                col(UserRole.user_id) == user_id, col(UserRole.role_name).in_(gone)
            )
        )
    new = set(wanted).difference(held)
    session.add_all(UserRole(user_id=user_id, role_name=role) for role in new)
    user.updated_at = utc_now()
    await session.flush()
    told = audit.changes_of({"roles": held}, {"roles": wanted})
    await _record(session, "user.roles", user_id, by=by, changes=told)
    return _user_to_schema(user, wanted)


async def lock_in_reach(session: AsyncSession, user_id: UUID, *, by: Principal) -> None:
    """Hold the account until the transaction ends.

    `UserNotFoundError`, or `PermissionDeniedError` if somebody else holds a permission that `by`
    lacks.
    """
    await locked_in_reach(session, user_id, by)


async def lock_account(
    session: AsyncSession, *, user_id: UUID | None = None, email: str | None = None
) -> Account | None:
    """Hold the account with this id, or else this address, until the transaction ends."""
    wanted = col(User.id) == user_id if email is None else col(User.email_key) == name_key(email)
    locked = select(User).where(wanted).with_for_update()
    user = (await session.exec(locked.execution_options(populate_existing=True))).first()
    if user is None:
        return None
    known = {field.name for field in fields(Account)} - {"user_id"}
    return Account(user_id=user.id, **user.model_dump(include=known))


async def await_email(session: AsyncSession, user_id: UUID, email: str | None) -> None:
    """Keep the address that is to become this account's; None to forget it."""
    user, _ = await locked(session, user_id)
    user.pending_email = email
    await session.flush()


async def verify_email(session: AsyncSession, user_id: UUID, email: str | None = None) -> None:
    """The owner reads mail at their address; at `email`, if given, which becomes theirs.

    `EmailAlreadyExistsError` if it is somebody else's by now.
    """
    user, _ = await locked(session, user_id)
    values = {"is_verified": True, "email": email or user.email}
    told = audit.changes_of(
        {name: getattr(user, name) for name in values}, values, hidden=_PERSONAL
    )
    async with _names(session):
        user.is_verified, user.email = True, email or user.email
        if email is not None:
            user.pending_email = None
    if told:
        target = ("user", user_id)
        await audit.record(session, "user.update", target=target, actor_id=user_id, changes=told)


async def lock_password(session: AsyncSession, user_id: UUID, password_hash: str | None) -> bool:
    """Hold the account until the transaction ends.

    False if its password is another by now, or it has been disabled.
    """
    statement = select(User.password_hash).where(col(User.id) == user_id, col(User.is_active))
    found = (await session.exec(statement.with_for_update())).first()
    return found is not None and found == password_hash


async def set_password(session: AsyncSession, user_id: UUID, password_hash: str) -> None:
    await session.exec(
        update(User)
        .where(col(User.id) == user_id)
        # Whoever knew the old one may have asked for another address.
        .values(password_hash=password_hash, pending_email=None, updated_at=utc_now())
    )


async def store_renewed_hash(session: AsyncSession, user_id: UUID, password_hash: str) -> None:
    """The same password, kept in another way: nothing that anybody would see changes."""
    unchanged = {"updated_at": User.updated_at}
    await session.exec(
        update(User).where(col(User.id) == user_id).values(password_hash=password_hash, **unchanged)
    )


@asynccontextmanager
async def _names(session: AsyncSession) -> AsyncIterator[None]:
    """Stores changes of address and username made inside; a taken one leaves the rest standing."""
    try:
        # Inside, because a savepoint first stores what was changed before it.
        async with session.begin_nested():
            yield
            await session.flush()
    except IntegrityError as error:
        taken = _TAKEN.get(violated_constraint(error) or "")
        if taken is None:
            raise
        raise taken from None


async def _record(
    session: AsyncSession,
    action: str,
    user_id: UUID,
    *,
    by: Principal | None = None,
    changes: dict[str, Any],
) -> None:
    actor_id = by.user_id if by else None
    await audit.record(
        session, action, target=("user", user_id), actor_id=actor_id, changes=changes
    )


def _to_schema(row: dict[str, Any]) -> UserOut:
    return UserOut.from_row({**row, "avatar_url": None})


def _user_to_schema(user: User, roles: list[str]) -> UserOut:
    return UserOut(
        **user.model_dump(include=UserOut.model_fields.keys() - {"roles", "avatar_url"}),
        roles=roles,
    )
