"""Limits on the mails sent to one account or mailbox.

A sent mail is counted in the row of its token, so a job that runs twice counts once. Rows of an
account are deleted with it. Rows that count for the mailbox belong to no account; otherwise
registering, deleting and registering again could fill the mailbox.
"""

import hashlib
from datetime import timedelta
from uuid import NAMESPACE_OID, UUID, uuid5

from sqlalchemy import ColumnElement, and_, false, func, or_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.addresses.account_names import name_key
from backend.core.context import Context
from backend.core.limits import Rule, count_refusal
from backend.db.base import utc_now
from backend.modules.accounts.models import MailedToken
from backend.modules.users.service import Account

# Mails of one kind to one account, and to one mailbox.
MAILS = Rule(3, 3600, "mails to an address")


def shared_mailbox(email: str) -> str | None:
    """Return the key of the mailbox of an address `name+tag@domain`; None for other addresses.

    Only limits use it: accounts with `name+a@` and `name+b@` are different accounts.
    """
    local, _, domain = name_key(email).rpartition("@")
    name, plus, _ = local.partition("+")
    return f"{name}@{domain}" if name and plus else None


def counts_account_only(token: MailedToken, account: Account | None) -> bool:
    """Return whether only mails to this account count towards its limit.

    Otherwise mails to other accounts of the same mailbox count too. They must not block the
    recovery of a verified account, or the notice to an owner whose address an administrator
    changed.
    """
    if token.purpose == "moved_from":
        return True
    return token.purpose == "reset" and account is not None and account.is_verified


async def within_limit(
    context: Context, session: AsyncSession, token: MailedToken, account: Account | None
) -> bool:
    """Return whether the limit admits one more mail of this kind.

    `account` is the account of the token, if any. The transaction holds the lock of the mailbox
    (`tokens.lock_mailbox`) and of the account.
    """
    if context.limits is None:
        return True
    # A registration becomes a `verify` token when its job creates the account.
    kinds = {token.purpose, "verify"} if token.purpose == "registration" else {token.purpose}
    own: ColumnElement[bool] = false()
    if account is not None and token.purpose != "email_change":
        own = col(MailedToken.user_id) == account.user_id
    mailbox: ColumnElement[bool] = (
        false() if counts_account_only(token, account) else _to_mailbox(token)
    )
    counts = select(func.count().filter(own), func.count().filter(mailbox)).where(
        or_(own, mailbox), col(MailedToken.purpose).in_(kinds), _in_window()
    )
    admits = max((await session.exec(counts)).one()) < MAILS.limit
    if not admits:
        count_refusal(context, MAILS)
    return admits


async def consume_for_notice(
    context: Context, session: AsyncSession, kind: str, email: str, mail_id: str
) -> bool:
    """Count a notice to an address that its account has not verified; False above the limit.

    `kind` has at most 12 characters. A job that runs again with the same `mail_id` counts once.
    """
    if context.limits is None:
        return True
    id = uuid5(NAMESPACE_OID, mail_id)
    if await session.get(MailedToken, id) is not None:
        return True
    row = counter_row(kind, email, id)
    count = select(func.count()).where(
        _to_mailbox(row), col(MailedToken.purpose) == kind, _in_window()
    )
    if (await session.exec(count)).one() >= MAILS.limit:
        count_refusal(context, MAILS)
        return False
    session.add(row)
    await session.flush()
    return True


def counter_row(kind: str, email: str, id: UUID) -> MailedToken:
    """Return a row that counts a mail of this kind to the address now. Its token is not valid.

    It belongs to no account, so it counts for the mailbox even after the account is deleted.
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
    """Return the condition for rows that count for the address or mailbox of this token."""
    same = [col(MailedToken.email_key) == token.email_key]
    if token.mailbox_key is not None:
        # Anybody can register any number of such addresses, all of one mailbox.
        same.append(col(MailedToken.mailbox_key) == token.mailbox_key)
    return and_(col(MailedToken.user_id).is_(None), or_(*same))


def _in_window() -> ColumnElement[bool]:
    return col(MailedToken.mailed_at) > utc_now() - timedelta(seconds=MAILS.window)
