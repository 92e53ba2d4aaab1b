"""`backend db upgrade` and `downgrade`, and the revision checks of other commands."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from backend.cli.databases import reachable_database
from backend.cli.lock_waits import with_patience
from backend.cli.terminal import CommandError, say
from backend.core.settings import Settings, load_settings
from backend.db.errors import DatabaseUnavailableError, MigrationRefusedError
from backend.db.schema.migrations import FOLDER, alembic_config, newest_revision, revisions
from backend.db.troubles import trouble_sentence

UNMIGRATED = "nothing, as before the first migration"


def core_settings() -> Settings:
    settings = load_settings(())[Settings]
    assert isinstance(settings, Settings)
    return settings


def position(url: str) -> str | None:
    """Return the revision of a database; None if it has never been migrated."""
    with psycopg.connect(url) as connection:
        try:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except psycopg.errors.UndefinedTable:
            return None
    return str(row[0]) if row else None


def require_migrated(url: str) -> str:
    """Return the database's revision; raise `CommandError` if it has none, or an unknown one."""
    current, (_, known) = position(url), revisions()
    if current is None:
        raise CommandError("The database has no schema yet: run `backend db upgrade`.")
    if current not in known:
        raise CommandError(_unknown(current))
    return current


def require_newest(url: str) -> str:
    """Return the database's revision; raise `CommandError` unless it is the newest one."""
    current, (newest, known) = position(url), revisions()
    if current is not None and current not in known:
        raise CommandError(_unknown(current))
    if current is None or current != newest:
        raise CommandError(
            f"The schema is at {current or UNMIGRATED}, but the code needs {newest}: "
            "run `backend db upgrade`."
        )
    return current


def bring_to_head(url: str) -> str:
    """Migrate to the newest revision if necessary; return a short description of the result."""
    before, newest = position(url), newest_revision()
    if before == newest:
        return f"at {newest}"
    return f"{move(url, 'head')}, applied now"


def move(url: str, revision: str, *, down: bool = False) -> str | None:
    """Upgrade or downgrade to a revision; return the revision of the schema afterwards."""
    from alembic import command
    from sqlalchemy import text

    revisions()  # reports a broken history better than Alembic does
    with translated_errors(url, revision), alembic_config(url) as config:
        pid = config.attributes["connection"].scalar(text("SELECT pg_backend_pid()"))
        step = command.downgrade if down else command.upgrade
        with_patience(url, pid, lambda: step(config, revision))
    return position(url)


def upgrade(revision: str) -> None:
    with reachable_database(core_settings()) as place:
        before = after = position(place.url)
        # Most deployments have nothing to migrate, and importing Alembic takes a second.
        if revision != "head" or before != newest_revision():
            after = move(place.url, revision)
    say(f"The schema is at {after or UNMIGRATED}{', as it was' if after == before else ''}.")


def downgrade(revision: str) -> None:
    with reachable_database(core_settings()) as place:
        after = move(place.url, revision, down=True)
    say(f"The schema is at {after or UNMIGRATED}.")


@contextmanager
def translated_errors(url: str, revision: str | None = None) -> Iterator[None]:
    """Translate errors of Alembic, the database and the migrations into `CommandError`."""
    from alembic.util import CommandError as AlembicError
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except DatabaseUnavailableError as error:
        raise CommandError(f"The migration has to wait ({error}).") from error
    except MigrationRefusedError as error:
        raise CommandError(str(error)) from error
    except DBAPIError as error:
        reason = str(error.orig).strip().partition("\n")[0]
        raise CommandError(
            f"The migration was refused ({reason}): "
            "correct it, or the data it depends on, and run it again. "
            f"{trouble_sentence(error)}"
        ) from error
    except AlembicError as error:
        raise CommandError(_sentence(str(error), position(url), revision)) from error
    except Exception as error:
        failed = _failed_migration(error)
        if failed is None:
            raise
        raise CommandError(failed) from error


def _failed_migration(error: Exception) -> str | None:
    """Return a sentence that names the migration, if one has raised the error; otherwise None."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if file.parent.name == "versions" and file.parent.parent.name == FOLDER.name:
            words = "".join(traceback.format_exception_only(error)).strip().partition("\n")[0]
            happened = "cannot be imported" if frame.name == "<module>" else "has failed"
            return (
                f"The migration {file.name} {happened} ({words}, line {frame.lineno}): correct it."
            )
    return None


def _unknown(revision: str) -> str:
    return (
        f"The database is at revision {revision}, which this code does not have: check out the "
        "code that has it and run `backend db downgrade` there, or use another database."
    )


def _sentence(words: str, current: str | None, revision: str | None) -> str:
    if current is not None and f"'{current}'" in words:
        return _unknown(current)
    if revision not in (None, "head"):
        return (
            f"There is no way to revision {revision} ({words}): the newest is "
            f"{newest_revision()}, and the schema is at {current or UNMIGRATED}."
        )
    return f"The migrations cannot be used ({words}): look into migrations/versions."


def check_imports(url: str) -> None:
    """Import every migration, as Alembic does; raise `CommandError` for the first that fails."""
    from alembic.script import ScriptDirectory

    revisions()
    with translated_errors(url), alembic_config(url) as config:
        list(ScriptDirectory.from_config(config).walk_revisions())
