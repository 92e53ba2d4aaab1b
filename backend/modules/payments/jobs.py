from datetime import timedelta

from sqlmodel import col

from backend.core.context import Context
from backend.core.jobs import Job
from backend.db.base import utc_now
from backend.db.purge import delete_in_batches
from backend.modules.payments.models import ReceivedEvent

# Stripe repeats an event by itself for 3 days, and for its operators for 30.
KEPT_DAYS = 31
BATCH = 1000


async def purge_events(context: Context) -> None:
    """Delete the ids of events that are not repeated any more."""
    expired = col(ReceivedEvent.received_at) < utc_now() - timedelta(days=KEPT_DAYS)
    await delete_in_batches(context.database, ReceivedEvent, expired, batch=BATCH)


PURGE_EVENTS = Job("payments.purge_events", purge_events, cron="52 3 * * *")
