"""Readiness of the process."""

import asyncio
import time
from functools import cache

from sqlalchemy import func, select

from backend.core.context import Context, NotReadyError, ReadinessCheck
from backend.db.coalescer import Coalescer
from backend.db.connections import MARK, REMEDY
from backend.db.errors import EncodingError, PoolerError
from backend.db.fair_semaphore import urgent
from backend.db.query_runner import Query
from backend.db.schema.history import HistoryError
from backend.db.schema.migrations import current_revision, revisions
from backend.modules.health.schemas import Check, Readiness, Status

# Read once, because files of a newer release may be copied into the folder later.
_history = cache(revisions)
# The parameter is on during recovery, and if an operator has set it for the whole server.
_PING = Query(
    select(
        func.current_setting(MARK, True).label("session"),
        func.current_setting("transaction_read_only").label("read_only"),
    )
)
PATIENCE_SECONDS = 3
READ_ONLY = "The database accepts no writes: it is a standby, or read-only."
POOLED = f"DATABASE_URL leads to a pooler that keeps no session: {REMEDY}."


async def readiness(context: Context) -> Readiness:
    """Run all checks, once for concurrent calls.

    A failed check of this module makes the status `error`, one of another module only `degraded`.
    """
    result, _ = await context.get_or_create(_shared_readiness).load(None)
    return result


def _shared_readiness(context: Context) -> Coalescer[None, Readiness]:
    async def send(_: object) -> dict[None, Readiness]:
        # Otherwise overload would look like an outage of the database, and load balancers would
        # send the requests of this process to the others. Sharing keeps a flood of health checks
        # from overtaking everything else.
        urgent.set(True)
        return {None: await _readiness(context)}

    return Coalescer(send)


async def _readiness(context: Context) -> Readiness:
    own: dict[str, ReadinessCheck] = {
        "database": _database,
        "migrations": _migrations,
        "startup": _startup,
    }
    runs = {name: _run(check, context, failed="error") for name, check in own.items()}
    runs |= {
        name: _run(check, context, failed="degraded") for name, check in context.checks.items()
    }
    checks = dict(zip(runs, await asyncio.gather(*runs.values()), strict=True))
    statuses = {check.status for check in checks.values()}
    if "error" in statuses:
        return Readiness(status="error", checks=checks)
    if context.state.draining:
        return Readiness(status="draining", checks=checks)
    return Readiness(status="degraded" if "degraded" in statuses else "ok", checks=checks)


async def _run(check: ReadinessCheck, context: Context, *, failed: Status) -> Check:
    started = time.perf_counter()
    detail = None
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await check(context)
    except PoolerError:
        # Its own message contains the host.
        detail = POOLED
    except (NotReadyError, EncodingError) as error:
        detail = str(error)
    except Exception as error:  # noqa: BLE001  # any error is a result of the check
        # A driver's message contains hosts and users, so use only its type.
        detail = type(error).__name__
    elapsed = round((time.perf_counter() - started) * 1000, 2)
    return Check(status=failed if detail else "ok", latency_ms=elapsed, detail=detail)


async def _database(context: Context) -> None:
    row = await context.database.primary.first(_PING)
    assert row is not None
    if context.settings.database_pooler == "session" and not row["session"]:
        raise NotReadyError(POOLED)
    if row["read_only"] == "on":
        raise NotReadyError(READ_ONLY)


async def _migrations(context: Context) -> None:
    current = await current_revision(context.database.primary)
    try:
        newest, known = _history()
    except HistoryError as error:
        raise NotReadyError(str(error)) from None
    # An unknown revision is that of a newer release: a rolling update migrates first.
    if current is None or (current in known and current != newest):
        raise NotReadyError("The schema is not at the newest revision: run `backend db upgrade`.")


async def _startup(context: Context) -> None:
    if not context.state.started:
        raise NotReadyError("Startup work is not complete yet.")
