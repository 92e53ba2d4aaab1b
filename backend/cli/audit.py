"""`backend audit verify`: checks the audit record against its seals."""

import asyncio
import re
import sys
import time

from pydantic import SecretStr

from backend.cli import configuration
from backend.cli.databases import reachable_database
from backend.cli.schema import require_newest
from backend.cli.terminal import CommandError, say
from backend.core.app import create_context
from backend.core.context import Context
from backend.core.principal import SYSTEM
from backend.core.settings import Settings, SettingsBase
from backend.db.errors import is_unavailable
from backend.db.troubles import trouble_sentence
from backend.modules.audit import service as audit

SECONDS_BETWEEN_REPORTS = 2.0


def verify(logged: str | None) -> int:
    """Print the findings; return the exit code, 0 only if there are none."""
    anchor = _anchor(logged) if logged else None
    settings, loaded, modules = configuration.load()
    with reachable_database(settings, needs_session=False) as place:
        require_newest(place.url)
        here = settings.model_copy(update={"database_url": SecretStr(place.url)})
        everything: dict[type[SettingsBase], SettingsBase] = {**loaded, Settings: here}
        result = asyncio.run(_verify(create_context(modules, everything), anchor))
    for sentence in (*result.findings, *result.notes, _summary(result)):
        say(sentence)
    return 1 if result.findings else 0


def _anchor(logged: str) -> audit.Anchor:
    match = re.fullmatch(r"([1-9][0-9]{0,17}):([0-9a-f]{64})", logged)
    if not match:
        raise CommandError(
            f"{logged!r} is not a seal: write its number, a colon and its digest, as in the log "
            "event audit_sealed."
        )
    return audit.Anchor(int(match[1]), match[2])


async def _verify(context: Context, anchor: audit.Anchor | None) -> audit.VerificationResult:
    reported = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal reported
        if time.monotonic() - reported >= SECONDS_BETWEEN_REPORTS:
            reported = time.monotonic()
            print(f"{done} of {total} seals ...", file=sys.stderr, flush=True)

    try:
        return await audit.verify(context, SYSTEM, progress=report, anchor=anchor)
    except Exception as error:
        if not is_unavailable(error):
            raise
        raise CommandError(
            "The connection to the database was lost: run this again when it is available. "
            f"{trouble_sentence(error)}"
        ) from None
    finally:
        await context.close()


def _summary(result: audit.VerificationResult) -> str:
    if result.findings:
        more = ", and there may be more" if result.is_full else ""
        findings = _counted(len(result.findings), "finding")
        return f"The record is not as it was sealed: {findings}{more}."
    events, seals, waiting = result.events, result.seals, result.waiting
    summary = (
        f"{_counted(events, 'event')} in {_counted(seals, 'seal')} "
        f"{'is' if events == 1 else 'are'} unchanged, "
        f"{_counted(waiting, 'event')} {'is' if waiting == 1 else 'are'} not sealed yet."
    )
    if result.overdue:
        wait = "waits" if result.overdue == 1 else "wait"
        summary += (
            f" {result.overdue} of them {wait} for more than a minute: start `backend worker`."
        )
    return summary


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
