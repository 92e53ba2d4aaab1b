"""Subscribers that drop cached articles whose authors have changed."""

from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.cache import drop_cached
from backend.core.context import Context
from backend.core.principal import SYSTEM
from backend.modules.articles import service
from backend.modules.users.events import ProfileChanged, UserDeleted


async def drop_articles_of_changed_author(
    context: Context, session: AsyncSession, event: ProfileChanged
) -> None:
    await service.drop_articles_of(context, session, SYSTEM, event.user_id)


async def drop_articles_of_deleted_author(
    context: Context, session: AsyncSession, _: UserDeleted
) -> None:
    # The articles are deleted already, so it is unknown whether one of them was published.
    await drop_cached(context, session, "articles", "articles:authors")
