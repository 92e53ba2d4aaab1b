"""`backend users import`: accounts from a file."""

import asyncio
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import typer

from backend.cli.accounts import ready_context
from backend.cli.import_files import ImportRefusedError, lines_of, opened, position
from backend.cli.terminal import CommandError, say
from backend.core.context import Context
from backend.core.principal import SYSTEM
from backend.db.errors import is_unavailable
from backend.db.troubles import trouble_sentence
from backend.modules.users import service as users
from backend.modules.users.schemas import ImportedUser
from backend.modules.users.service import ImportReport


def run(path: Path, *, dry_run: bool) -> None:
    try:
        status = path.stat()
        path.open("rb").close()
    except OSError as error:
        raise CommandError(
            f"{path} cannot be read ({error.strerror}): give a CSV or NDJSON file."
        ) from None
    size = status.st_size if stat.S_ISREG(status.st_mode) else 0
    with ready_context() as context:
        report = _import_with_progress(context, path, size, dry_run=dry_run)
    if report.refused:
        raise CommandError(_refusal(path, report))
    done = "can be imported; nothing was changed" if dry_run else "imported"
    say(f"{report.accepted} {'account' if report.accepted == 1 else 'accounts'} {done}.")


def _import_with_progress(
    context: Context, path: Path, size: int, *, dry_run: bool
) -> ImportReport:
    """Import the file, with a progress bar if standard error is a terminal."""
    if not size or not sys.stderr.isatty():
        return asyncio.run(_import(context, path, dry_run, lambda _: None))
    with typer.progressbar(length=size, label=f"Reading {path.name}", file=sys.stderr) as bar:

        def advance(position: int) -> None:
            bar.update(position - bar.pos)

        return asyncio.run(_import(context, path, dry_run, advance))


async def _import(
    context: Context, path: Path, dry_run: bool, progress: Callable[[int], None]
) -> ImportReport:
    try:
        return await import_file(context, path, dry_run=dry_run, progress=progress)
    except ImportRefusedError as error:
        raise CommandError(f"Nothing was imported. {error}") from None
    except OSError as error:
        raise CommandError(f"{path} cannot be read any more ({error.strerror}).") from None
    except Exception as error:
        if not is_unavailable(error):
            raise
        raise CommandError(
            "Nothing was imported, because the database was unavailable or another transaction "
            f"locked one of these addresses: run this again. {trouble_sentence(error)}"
        ) from None
    finally:
        await context.close()


async def import_file(
    context: Context,
    path: Path,
    *,
    dry_run: bool,
    progress: Callable[[int], None] = lambda _: None,
) -> ImportReport:
    """`progress` is called with the number of bytes read. `OSError` or `ImportRefusedError`."""
    with opened(path) as file:
        return await users.import_users(
            context,
            SYSTEM,
            lines_of(file, path, tuple(ImportedUser.model_fields)),
            dry_run=dry_run,
            progress=lambda: progress(position(file)),
        )


def _refusal(path: Path, report: ImportReport) -> str:
    lines = "1 line" if report.refused == 1 else f"{report.refused} lines"
    shown = [f"  line {error.line}: {error.reason}" for error in report.errors]
    if unnamed := report.refused - len({error.line for error in report.errors}):
        shown.append(f"  and {unnamed} more")
    heading = f"Nothing was imported, because {lines} of {path} cannot be:"
    return "\n".join([heading, *shown, "Correct the file, and run this again."])
