"""Mailed tokens: 256 bits, derived from the id of their row and a key of this installation.

Only a digest is stored, so a token cannot be read from the table, the jobs or a backup. The job
that mails a token derives it again.
"""

import base64
import hashlib
import hmac
from datetime import timedelta
from typing import Literal
from uuid import UUID

from sqlalchemy import func, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.addresses.account_names import name_key
from backend.core.context import Context
from backend.core.principal import SYSTEM
from backend.db.base import utc_now, uuid7
from backend.modules.accounts import queries
from backend.modules.accounts.exceptions import TokenInvalidError
from backend.modules.accounts.mail_limits import counter_row, counts_account_only, shared_mailbox
from backend.modules.accounts.models import MailedToken
from backend.modules.users import service as users
from backend.modules.users.exceptions import UserNotFoundError
from backend.modules.users.service import Account

Purpose = Literal["verify", "email_change", "reset", "invitation", "registration"]
# Notices to the former and to the new address after an administrator has changed it.
Notice = Literal["moved_from", "moved_to"]
LIFETIMES: dict[Purpose | Notice, timedelta] = {
    "verify": timedelta(hours=24),
    "email_change": timedelta(hours=24),
    "reset": timedelta(minutes=60),
    "invitation": timedelta(days=7),
    "registration": timedelta(hours=24),
    "moved_from": timedelta(hours=24),
    "moved_to": timedelta(hours=24),
}
# The purpose of a registration whose address or username is taken; its token is not valid.
TAKEN = "taken"
MOVED: frozenset[str] = frozenset({"moved_from", "moved_to"})
SETS_PASSWORD: frozenset[Purpose] = frozenset({"reset", "invitation"})
_KEY = "mailed tokens"


def digest_of(text: str) -> bytes:
    """Return the stored form of a token. A token is random, so a fast hash is enough."""
    return hashlib.sha256(text.encode()).digest()


def text_of(context: Context, token: MailedToken) -> str | None:
    """Return the token for the mail; None if the key it was made with is no longer configured."""
    texts = (_derived(key, token.id) for key in context.keys(_KEY))
    return next((text for text in texts if digest_of(text) == token.digest), None)


async def live_token(context: Context, text: str, *purposes: Purpose) -> MailedToken:
    """Return the token in `text`; raise `TokenInvalidError` unless it is live and of a purpose."""
    row = await context.database.primary.first(queries.LIVE, digest=digest_of(text))
    if row is None or row["purpose"] not in purposes:
        raise TokenInvalidError
    return MailedToken(**row)


async def password_token(context: Context, text: str) -> tuple[MailedToken, tuple[str, str | None]]:
    """Return a token that sets a password, and the names of its account, or `TokenInvalidError`."""
    token = await live_token(context, text, *SETS_PASSWORD)
    assert token.user_id is not None
    try:
        account = await users.get_account(context.database.primary, SYSTEM, token.user_id)
    except UserNotFoundError:
        raise TokenInvalidError from None
    return token, (account.email, account.username)


def make(context: Context, purpose: Purpose | Notice, email: str) -> MailedToken:
    """Return the row of a new token, which the caller stores."""
    id, now = uuid7(), utc_now()
    return MailedToken(
        id=id,
        purpose=purpose,
        email=email,
        email_key=name_key(email),
        mailbox_key=shared_mailbox(email),
        digest=digest_of(_derived(context.key(_KEY), id)),
        created_at=now,
        expires_at=now + LIFETIMES[purpose],
    )


def make_notice(context: Context, notice: Notice, email: str, user_id: UUID) -> MailedToken:
    """Return the row of a mail without a link, which the caller stores. Its token has ended."""
    row = make(context, notice, email)
    row.user_id, row.ended_at = user_id, row.created_at
    return row


def is_live(token: MailedToken) -> bool:
    return token.ended_at is None and token.expires_at > utc_now()


def matches_account(token: MailedToken, account: Account) -> bool:
    """Return whether the account has the address and password that the token was issued for."""
    expected = account.pending_email if token.purpose == "email_change" else account.email
    if token.email != expected:
        return False
    digest = token.password_digest
    return digest is None or hmac.compare_digest(digest, account.password_version)


async def end(session: AsyncSession, user_id: UUID, purpose: str) -> None:
    """End the account's tokens of this purpose, mailed or not yet mailed."""
    await session.exec(
        update(MailedToken)
        .where(
            col(MailedToken.user_id) == user_id,
            col(MailedToken.purpose) == purpose,
            col(MailedToken.ended_at).is_(None),
        )
        .values(ended_at=utc_now())
    )


async def end_all(session: AsyncSession, user_id: UUID) -> None:
    """End all tokens of this account, whose address changes. Changing it back revives none."""
    await session.exec(
        update(MailedToken)
        .where(col(MailedToken.user_id) == user_id, col(MailedToken.ended_at).is_(None))
        .values(ended_at=utc_now())
    )


async def is_newest(session: AsyncSession, token: MailedToken, user_id: UUID) -> bool:
    """Return whether the account has no later token of this purpose."""
    newer = select(MailedToken.id).where(
        col(MailedToken.user_id) == user_id,
        col(MailedToken.purpose) == token.purpose,
        col(MailedToken.created_at) > token.created_at,
    )
    return (await session.exec(newer.limit(1))).first() is None


async def mark_mailed(session: AsyncSession, token: MailedToken, account: Account | None) -> None:
    """Mark the token as mailed, and end the account's older ones of the same purpose.

    Unless only mails to the account count, also store a row without an account, so the mail still
    counts for the mailbox after the account is deleted.
    """
    now = utc_now()
    if token.user_id is not None:
        older = (
            col(MailedToken.user_id) == token.user_id,
            col(MailedToken.purpose) == token.purpose,
            col(MailedToken.created_at) < token.created_at,
            col(MailedToken.ended_at).is_(None),
        )
        await session.exec(update(MailedToken).where(*older).values(ended_at=now))
    token.mailed_at = now
    if token.user_id is not None and not counts_account_only(token, account):
        session.add(counter_row(token.purpose, token.email, uuid7()))
    await session.flush()


async def discard(session: AsyncSession, token: MailedToken) -> None:
    """Delete or end a token whose mail is not sent."""
    if token.user_id is None:
        await session.delete(token)
    else:
        # The job of a notice may still read the row.
        token.ended_at = utc_now()
    await session.flush()


async def replace_registrations(session: AsyncSession, token: MailedToken) -> bool:
    """End other registrations of this address; return False, and end none, if one is newer."""
    others = (
        col(MailedToken.email_key) == token.email_key,
        col(MailedToken.purpose) == "registration",
        col(MailedToken.ended_at).is_(None),
        col(MailedToken.id) != token.id,
    )
    newer = select(MailedToken.id).where(*others, col(MailedToken.created_at) > token.created_at)
    if (await session.exec(newer.limit(1))).first() is not None:
        return False
    await session.exec(update(MailedToken).where(*others).values(ended_at=utc_now()))
    return True


async def lock_mailbox(session: AsyncSession, email: str) -> None:
    """Lock the mailbox until the transaction ends, so that parallel jobs count one by one."""
    mailbox = shared_mailbox(email) or name_key(email)
    key = int.from_bytes(digest_of(mailbox)[:8], signed=True)
    await session.exec(select(func.pg_advisory_xact_lock(key)))


async def use(session: AsyncSession, token_id: UUID) -> bool:
    """Use up a token; return False if it has been used or has ended meanwhile."""
    now = utc_now()
    used = await session.exec(
        update(MailedToken)
        .where(
            col(MailedToken.id) == token_id,
            col(MailedToken.ended_at).is_(None),
            col(MailedToken.expires_at) > now,
        )
        .values(ended_at=now)
    )
    return used.rowcount == 1


def _derived(key: bytes, token_id: UUID) -> str:
    secret = hmac.digest(key, token_id.bytes, hashlib.sha256)
    return base64.urlsafe_b64encode(secret).rstrip(b"=").decode()
