"""Readiness of the process."""

import asyncio
import time
from collections.abc import Mapping
from functools import cache

import structlog
from sqlalchemy import func, select

from backend.core.context import Context, NotReadyError, ReadinessCheck
from backend.core.metrics import record_trouble
from backend.db.coalescer import Coalescer
from backend.db.connections import MARK, REMEDY
from backend.db.errors import DatabaseUnavailableError, PoolerError
from backend.db.fair_semaphore import urgent
from backend.db.queries import Query
from backend.db.schema.history import HistoryError
from backend.db.schema.migrations import current_revision, revisions
from backend.db.troubles import database_trouble
from backend.modules.health.schemas import Check, Readiness, Status

log = structlog.get_logger()

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
    runs = {name: _run(name, check, context, failed="error") for name, check in own.items()}
    runs |= {
        name: _run(name, check, context, failed="degraded")
        for name, check in context.checks.items()
    }
    checks = dict(zip(runs, await asyncio.gather(*runs.values()), strict=True))
    statuses = {check.status for check in checks.values()}
    if "error" in statuses:
        return Readiness(status="error", checks=checks)
    if context.state.draining:
        return Readiness(status="draining", checks=checks)
    return Readiness(status="degraded" if "degraded" in statuses else "ok", checks=checks)


async def _run(name: str, check: ReadinessCheck, context: Context, *, failed: Status) -> Check:
    started = time.perf_counter()
    detail, trouble = None, {}
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await check(context)
    except Exception as error:  # noqa: BLE001  # any error is a result of the check
        trouble = database_trouble(error)
        if isinstance(error, TimeoutError) and failed == "error":
            # The checks of this module wait for nothing but the database.
            trouble = {"sqlstate": None, "trouble": "timeout"}
        detail = _detail(error, trouble)
    record_trouble(context, trouble)
    elapsed = round((time.perf_counter() - started) * 1000, 2)
    _log_change(context, name, detail, trouble)
    return Check(status=failed if detail else "ok", latency_ms=elapsed, detail=detail)


def _detail(error: Exception, trouble: Mapping[str, str | None]) -> str:
    if isinstance(error, PoolerError):
        # Its own message contains the host.
        return POOLED
    if isinstance(error, NotReadyError | DatabaseUnavailableError) and str(error):
        return str(error)
    # A driver's message contains hosts and users, so use only its kind.
    return trouble.get("trouble") or type(error).__name__


def _reported(_: Context) -> dict[str, str]:
    """Return the details of the failures that were logged, by the name of the check."""
    return {}


def _log_change(
    context: Context, name: str, detail: str | None, trouble: Mapping[str, str | None]
) -> None:
    """Log a failure, and its end, once: load balancers ask every few seconds."""
    reported = context.get_or_create(_reported)
    if detail is None:
        if reported.pop(name, None) is not None:
            log.info("readiness_check_passed", check=name)
    elif reported.get(name) != detail:
        reported[name] = detail
        log.warning("readiness_check_failed", check=name, reason=detail, **trouble)


async def _database(context: Context) -> None:
    row = await context.database.primary.first(_PING)
    assert row is not None
    if context.settings.database_pooler == "session" and not row["session"]:
        raise NotReadyError(POOLED)
    if row["read_only"] == "on":
        raise DatabaseUnavailableError(READ_ONLY, trouble="read_only")


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
