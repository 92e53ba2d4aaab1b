"""The cache of responses, as modules use it.

A route declares that its responses are cached (see `backend.core.http.caching`):

    @router.get("/{id}", dependencies=[cached("notes:{id}")])

The service drops them in the transaction of each change that anonymous callers can see:

    await drop_cached(context, session, "notes", f"notes:{note.id}")
"""

from functools import partial

from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context
from backend.core.response_cache import CHANNEL
from backend.db.database import after_commit
from backend.db.notifications import notify


async def drop_cached(context: Context, session: AsyncSession, *tags: str) -> None:
    """Drop the cached responses with one of these tags when the transaction commits.

    Afterwards, no process uses a response from before the commit for longer than `MAX_AGE`.
    """
    cache = context.cache
    if cache is None:
        return
    if not cache.shared:
        await notify(session, CHANNEL, tags)
    after_commit(session, partial(cache.drop, tags))
