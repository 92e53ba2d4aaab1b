"""Accounts for sign-in and mailed links: lookups, password checks and their rate limit."""

import hashlib
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import fields
from typing import TypeVar
from uuid import UUID

import structlog
from sqlalchemy import update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.addresses.account_names import name_key
from backend.core import limits
from backend.core.context import Context
from backend.core.errors import AppError, InvalidTokenError, ServiceUnavailableError
from backend.core.limits import RateLimitedError, Rule
from backend.core.principal import Principal, System
from backend.db.base import utc_now
from backend.db.query_runner import QueryRunner
from backend.modules.audit import service as audit
from backend.modules.users import queries
from backend.modules.users.exceptions import (
    CurrentPasswordWrongError,
    UserNotFoundError,
    WrongPasswordError,
)
from backend.modules.users.models import User
from backend.modules.users.passwords import hasher_of
from backend.modules.users.schemas import Account

# Password attempts per account, or per name that belongs to no account.
PASSWORD_ATTEMPTS = Rule(5, 300, "passwords")

T = TypeVar("T")
log = structlog.get_logger()


_COLUMNS = {each.name for each in fields(Account)} - {"user_id"}


async def find_account(reader: QueryRunner, by: System, name: str) -> Account | None:
    """Return the account with this e-mail address or username, ignoring case.

    For trusted callers.
    """
    by.must_be_system()
    # Concurrent requests for one name, such as guesses, share a read.
    rows = await reader.shared(queries.ACCOUNT_BY_NAME, {"key": name_key(name)})
    return Account(**rows[0]) if rows else None


async def get_account(reader: QueryRunner, by: System, user_id: UUID) -> Account:
    """Return the account with this id, or raise `UserNotFoundError`. For trusted callers."""
    by.must_be_system()
    row = await reader.first(queries.ACCOUNT, id=user_id)
    if row is None:
        raise UserNotFoundError
    return Account(**row)


async def own_account(context: Context, by: Principal) -> Account:
    """Return the principal's account; raise `InvalidTokenError` if it was deleted meanwhile."""
    row = await context.database.primary.first(queries.ACCOUNT, id=by.user_id)
    if row is None:
        raise InvalidTokenError
    return Account(**row)


async def lock_account(
    session: AsyncSession, by: System, *, user_id: UUID | None = None, email: str | None = None
) -> Account | None:
    """Lock the account with this id, or with this address, until the transaction ends.

    For trusted callers.
    """
    by.must_be_system()
    wanted = col(User.id) == user_id if email is None else col(User.email_key) == name_key(email)
    locked = select(User).where(wanted).with_for_update()
    user = (await session.exec(locked.execution_options(populate_existing=True))).first()
    if user is None:
        return None
    return Account(user_id=user.id, **user.model_dump(include=_COLUMNS))


async def check_password(
    context: Context,
    account_or_name: Account | str,
    password: str,
    *,
    refuse: Callable[[Account], AppError | None],
    then: Callable[[AsyncSession, Account], Awaitable[T]],
) -> T:
    """Run `then` in a transaction that locks the account, if `password` is its password.

    For a name without an account the same work is done, so that the time reveals nothing. An error
    that `refuse` returns for the account is raised instead of running `then`. A hash made with a
    former key or cost is replaced. Raise `WrongPasswordError`, or `RateLimitedError` after too many
    attempts. No connection is held while a password is hashed.
    """
    key = _attempts_key(context, account_or_name)
    matches = await _compare(context, key, password, account_or_name)
    if not matches or isinstance(account_or_name, str):
        raise WrongPasswordError
    if error := refuse(account_or_name):
        await limits.clear(context, key)
        raise error
    account: Account | None = account_or_name
    async with _refund_if_untried(context, key):
        # A second try if a concurrent sign-in has replaced the hash.
        for is_second in (False, True):
            if is_second:
                account = await _reread_account(context, account_or_name.user_id, password)
            if account is None:
                break
            new_hash = await _renewed_hash(context, account, password)
            async with context.database.transaction() as session:
                if await holds_password(session, account):
                    if new_hash is not None:
                        await _replace_hash(session, account.user_id, new_hash)
                    await limits.clear_in(session, context, key)
                    return await then(session, account)
    raise WrongPasswordError


async def confirm_password(
    context: Context, by: Principal, password: str, *, action: str
) -> Account:
    """Return the principal's account if this is its password; a wrong one counts as an attempt.

    Raise `CurrentPasswordWrongError`, which is recorded as a failure of `action`, or
    `RateLimitedError` after too many attempts.
    """
    account = await own_account(context, by)
    key = _attempts_key(context, account)
    if not await _compare(context, key, password, account):
        error = CurrentPasswordWrongError()
        async with context.database.transaction() as session:
            await audit.record(
                session,
                action,
                target=("user", account.user_id),
                outcome="failure",
                changes={"reason": error.code},
            )
        raise error
    await limits.clear(context, key)
    return account


def attempt_target(context: Context, account_or_name: Account | str) -> tuple[str, UUID | str]:
    """Return the target of audit events about an attempt to sign in with this account or name.

    A name without an account is stored as a keyed hash: it may be a password in the wrong field.
    """
    if isinstance(account_or_name, Account):
        return "user", account_or_name.user_id
    key = context.key("sign-in names")
    return "name", hmac.digest(key, name_key(account_or_name).encode(), hashlib.sha256).hex()


def _attempts_key(context: Context, account_or_name: Account | str) -> str:
    return f"guess:{attempt_target(context, account_or_name)[1]}"


async def clear_failed_attempts(context: Context, session: AsyncSession, user_id: UUID) -> None:
    await limits.clear_in(session, context, f"guess:{user_id}")


async def _compare(
    context: Context, key: str, password: str, account_or_name: Account | str
) -> bool:
    """Count an attempt and compare the password; raise `RateLimitedError` above the limit."""
    # Counting comes first, so that parallel attempts cannot exceed the limit.
    result = await limits.hit(context, key, PASSWORD_ATTEMPTS)
    if not result.allowed:
        raise RateLimitedError(result)
    async with _refund_if_untried(context, key):
        return await _verify(context, password, account_or_name)


async def _verify(context: Context, password: str, account_or_name: Account | str) -> bool:
    """Return whether this is the account's password; without an account, False after the same work.

    Log a warning if the stored hash is one that no password can match.
    """
    hasher = hasher_of(context)
    if isinstance(account_or_name, str) or account_or_name.password_hash is None:
        return await hasher.verify(password, None)
    if await hasher.verify(password, account_or_name.password_hash):
        return True
    if scheme := hasher.unusable_scheme(account_or_name.password_hash):
        log.warning("password_hash_unusable", user_id=str(account_or_name.user_id), scheme=scheme)
    return False


@asynccontextmanager
async def _refund_if_untried(context: Context, key: str) -> AsyncIterator[None]:
    """Refund the attempt if the hashing queue was full."""
    try:
        yield
    except ServiceUnavailableError:
        await limits.refund(context, key)
        raise


async def _renewed_hash(context: Context, account: Account, password: str) -> str | None:
    """Return a new hash of this correct password if the old one has another key or cost."""
    if account.password_hash is None:
        return None
    return await hasher_of(context).renewed(password, account.password_hash)


async def _reread_account(context: Context, user_id: UUID, password: str) -> Account | None:
    """Return the current account if this is still its password and it is active."""
    row = await context.database.primary.first(queries.ACCOUNT, id=user_id)
    if row is None or not row["is_active"]:
        return None
    account = Account(**row)
    return account if await _verify(context, password, account) else None


async def holds_password(session: AsyncSession, account: Account) -> bool:
    """Lock the account until the transaction ends.

    Return False if its password has changed since it was read, or the account is disabled.
    """
    statement = select(User.password_hash).where(col(User.id) == account.user_id, User.is_active)
    password_hash = (await session.exec(statement.with_for_update())).first()
    return password_hash is not None and password_hash == account.password_hash


async def store_password(session: AsyncSession, user_id: UUID, password_hash: str) -> None:
    await session.exec(
        update(User)
        .where(col(User.id) == user_id)
        # Somebody else who knew the old password may have requested the pending address.
        .values(password_hash=password_hash, pending_email=None, updated_at=utc_now())
    )


async def _replace_hash(session: AsyncSession, user_id: UUID, password_hash: str) -> None:
    """Store another hash of the same password without changing `updated_at`."""
    unchanged = {"updated_at": User.updated_at}
    await session.exec(
        update(User).where(col(User.id) == user_id).values(password_hash=password_hash, **unchanged)
    )
