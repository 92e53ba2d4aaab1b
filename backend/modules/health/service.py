"""Whether requests should be sent here."""

import asyncio
import time

from sqlalchemy import literal, select

from backend.core.context import Context, ReadinessCheck
from backend.db.migrations import current_revision, newest_revision
from backend.db.reads import Query
from backend.modules.health.schemas import Check, Readiness

_PING = Query(select(literal(1).label("one")))
PATIENCE_SECONDS = 3


class NotReadyError(Exception):
    """Why a check fails, in words that may be shown to anybody."""


async def readiness(context: Context) -> Readiness:
    """All checks at once: this module's, and those of every module's manifest."""
    checks: dict[str, ReadinessCheck] = {
        "database": _database,
        "migrations": _migrations,
        "startup": _startup,
        **context.checks,
    }
    results = await asyncio.gather(*(_run(check, context) for check in checks.values()))
    by_name = dict(zip(checks, results, strict=True))
    if any(result.status == "error" for result in results):
        return Readiness(status="error", checks=by_name)
    return Readiness(status="draining" if context.state.draining else "ok", checks=by_name)


async def _run(check: ReadinessCheck, context: Context) -> Check:
    started = time.perf_counter()
    detail = None
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await check(context)
    except NotReadyError as error:
        detail = str(error)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is the answer
        # A driver's message names hosts and users; its type is enough here.
        detail = type(error).__name__
    elapsed = round((time.perf_counter() - started) * 1000, 2)
    return Check(status="error" if detail else "ok", latency_ms=elapsed, detail=detail)


async def _database(context: Context) -> None:
    await context.database.reads.first(_PING)


async def _migrations(context: Context) -> None:
    current = await current_revision(context.database.reads)
    if current != newest_revision():
        raise NotReadyError("The schema is not at the newest revision: run `backend db upgrade`.")


async def _startup(context: Context) -> None:
    if not context.state.started:
        raise NotReadyError("Startup work is not done yet.")
