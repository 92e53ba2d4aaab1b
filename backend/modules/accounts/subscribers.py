"""Subscribers that mail or end links and notices, in the transaction of an account's change."""

from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context
from backend.modules.accounts import links, tokens
from backend.modules.users.events import (
    EmailChangeCancelled,
    EmailChanged,
    EmailChangeRequested,
    UsersInvited,
)


async def mail_change_link(
    context: Context, session: AsyncSession, event: EmailChangeRequested
) -> None:
    """Mail the link that confirms the new address, and a notice to the former one."""
    if not event.is_repeated:
        await tokens.end(session, event.user_id, "email_change")
    await links.mail_link(
        session,
        context,
        "email_change",
        event.email,
        user_id=event.user_id,
        former_email=event.former_email,
    )


async def end_change_links(_: Context, session: AsyncSession, event: EmailChangeCancelled) -> None:
    await tokens.end(session, event.user_id, "email_change")


async def end_links_and_notify(
    context: Context, session: AsyncSession, event: EmailChanged
) -> None:
    """End all links, and mail notices to both addresses unless the owner made the change."""
    await tokens.end_all(session, event.user_id)
    if not event.by_owner:
        await links.mail_notice(session, context, "moved_from", event.former_email, event.user_id)
        if not event.is_invited:
            await links.mail_notice(session, context, "moved_to", event.email, event.user_id)


async def mail_invitations(context: Context, session: AsyncSession, event: UsersInvited) -> None:
    await links.mail_invitations(session, context, event.emails)
