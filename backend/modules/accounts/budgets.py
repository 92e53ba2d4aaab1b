"""How many mails with links leave for one mailbox. What has left is counted where it is recorded,
in the rows of the tokens, so a job that runs twice spends nothing twice."""

from datetime import timedelta

from sqlalchemy import func, or_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context
from backend.core.limits import Rule
from backend.core.names import name_key
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


async def has_room(
    context: Context, session: AsyncSession, token: MailedToken, account: Account | None
) -> bool:
    """Whether one more mail of this kind may leave. `account` is the one that asked, if any.

    The transaction holds the mailbox by `tokens.take_turn`, and the account.
    """
    if context.limits is None:
        return True
    # A registration that made its account has become a token that verifies its address.
    kinds = {token.purpose, "verify"} if token.purpose == "registration" else {token.purpose}
    same = [col(MailedToken.email_key) == token.email_key]
    owner = None if token.purpose == "email_change" else account
    if owner is not None:
        same.append(col(MailedToken.user_id) == owner.user_id)
    if token.mailbox_key is not None and not (owner and owner.is_verified):
        # Accounts that nobody has verified cost a stranger nothing, and all fill one mailbox.
        same.append(col(MailedToken.mailbox_key) == token.mailbox_key)
    left = select(func.count()).where(
        or_(*same),
        col(MailedToken.purpose).in_(kinds),
        col(MailedToken.mailed_at) > utc_now() - timedelta(seconds=MAILS.window),
    )
    return (await session.exec(left)).one() < MAILS.limit
