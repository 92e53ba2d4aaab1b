"""Limits of the mails that leave for one account or mailbox.

A mail that leaves is counted in the row of its token, so a job that runs twice counts once. Rows of
an account are deleted with it. Rows that count for the mailbox belong to no account; otherwise
registering, deleting and registering again would fill the mailbox.
"""

import hashlib
from datetime import timedelta
from uuid import NAMESPACE_OID, UUID, uuid5

from sqlalchemy import ColumnElement, and_, false, func, or_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.addresses.account_names import name_key
from backend.core.context import Context
from backend.core.limits import Rule
from backend.db.base import utc_now
from backend.modules.accounts.models import MailedToken
from backend.modules.users.service import Account

# Of one kind, to one account, or where there is none to one address.
MAILS = Rule(3, 3600)


def shared_mailbox(email: str) -> str | None:
    """The key of the mailbox that `name+anything@` is delivered to; None for other addresses.

    For budgets alone: as accounts, `name+a@` and `name+b@` are as different as any two addresses.
    """
    local, _, domain = name_key(email).rpartition("@")
    name, plus, _ = local.partition("+")
    return f"{name}@{domain}" if name and plus else None


def counts_account_only(token: MailedToken, account: Account | None) -> bool:
    """Whether the mails of this account alone count, and not those to others at its mailbox.

    Mails to other accounts must not use up the recovery of a verified account, and an
    administrator's changes of other accounts must not suppress the notice to an owner.
    """
    if token.purpose == "moved_from":
        return True
    return token.purpose == "reset" and account is not None and account.is_verified


async def within_limit(
    context: Context, session: AsyncSession, token: MailedToken, account: Account | None
) -> bool:
    """Whether one more mail of this kind may leave. `account` is the one that asked, if any.

    The transaction holds the mailbox by `tokens.lock_mailbox`, and the account.
    """
    if context.limits is None:
        return True
    # A registration that made its account has become a token that verifies its address.
    kinds = {token.purpose, "verify"} if token.purpose == "registration" else {token.purpose}
    own: ColumnElement[bool] = false()
    if account is not None and token.purpose != "email_change":
        own = col(MailedToken.user_id) == account.user_id
    mailbox: ColumnElement[bool] = (
        false() if counts_account_only(token, account) else _to_mailbox(token)
    )
    left = select(func.count().filter(own), func.count().filter(mailbox)).where(
        or_(own, mailbox), col(MailedToken.purpose).in_(kinds), _lately()
    )
    return max((await session.exec(left)).one()) < MAILS.limit


async def consume_for_notice(
    context: Context, session: AsyncSession, kind: str, email: str, mail_id: str
) -> bool:
    """Whether this notice may leave for an address that its account has not verified.

    `kind` has at most 12 characters. The mail is spent once, however often its job runs.
    """
    if context.limits is None:
        return True
    id = uuid5(NAMESPACE_OID, mail_id)
    if await session.get(MailedToken, id) is not None:
        return True
    trace = counter_row(kind, email, id)
    left = select(func.count()).where(
        _to_mailbox(trace), col(MailedToken.purpose) == kind, _lately()
    )
    if (await session.exec(left)).one() >= MAILS.limit:
        return False
    session.add(trace)
    await session.flush()
    return True


def counter_row(kind: str, email: str, id: UUID) -> MailedToken:
    """A row that says that a mail of this kind leaves for the address now. It opens nothing.

    It belongs to no account, so it counts for the mailbox also when the account is deleted.
    """
    now = utc_now()
    return MailedToken(
        id=id,
        purpose=kind,
        email=email,
        email_key=name_key(email),
        mailbox_key=shared_mailbox(email),
        digest=hashlib.sha256(id.bytes).digest(),
        created_at=now,
        expires_at=now,
        ended_at=now,
        mailed_at=now,
    )


def _to_mailbox(token: MailedToken) -> ColumnElement[bool]:
    """Of the mails that left, those to the same address or mailbox, whichever account asked."""
    same = [col(MailedToken.email_key) == token.email_key]
    if token.mailbox_key is not None:
        # Unverified accounts cost a stranger nothing, and their mails all reach one mailbox.
        same.append(col(MailedToken.mailbox_key) == token.mailbox_key)
    return and_(col(MailedToken.user_id).is_(None), or_(*same))


def _lately() -> ColumnElement[bool]:
    return col(MailedToken.mailed_at) > utc_now() - timedelta(seconds=MAILS.window)
