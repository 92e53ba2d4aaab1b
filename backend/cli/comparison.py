"""`backend db check`: comparison of the models with a database, or with the migrations."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from backend.cli.databases import reachable_database
from backend.cli.lock_check import is_needed, upgrade_observed
from backend.cli.schema import core_settings, position, require_newest
from backend.cli.terminal import CommandError, say
from backend.core.registry import discover
from backend.db.schema.migrations import connected, revisions
from backend.dev.embedded_server import EmbeddedError, binaries, embedded_server

if TYPE_CHECKING:
    from backend.db.schema.drift import Drift

NOT_ALLOWED = (
    "The models cannot be compared with this database ({reason}): the comparison creates their "
    "tables in a schema that it rolls back, so let the role of DATABASE_URL create schemas with "
    "`GRANT CREATE ON DATABASE ... TO ...`, or run the check without DATABASE_URL."
)


def check() -> None:
    """Compare the models with the configured database; without one, with the migrations."""
    revisions()  # reports a broken history before a server is started
    settings = core_settings()
    if settings.database_url is not None:
        _check_locks()
        with reachable_database(settings) as place:
            head = require_newest(place.url)
            _require_same(drift(place.url), "the database")
        say(f"The schema of the database matches the code; it is at {head}.")
        return
    with _temporary_server() as url:
        upgrade_observed(url)
        newest = position(url)
        _require_same(drift(url), "the migrations")
    say(f"The migrations up to {newest} make exactly the tables of the code.")


def _check_locks() -> None:
    if not is_needed():
        return
    try:
        binaries()
    except EmbeddedError:
        say(
            "The locks of the migrations are not checked here: that runs them on the embedded "
            "PostgreSQL, which is a part of the development installation only."
        )
        return
    with _temporary_server() as url:
        upgrade_observed(url)


def drift(url: str) -> "Drift":
    """Compare a database with the models; raise `CommandError` if that is not possible."""
    import psycopg
    from sqlalchemy.exc import DBAPIError

    from backend.db.base import Base
    from backend.db.schema.drift import ModelsError, compare

    discover()  # importing the modules registers their tables in the metadata
    try:
        with connected(url) as connection:
            return compare(connection, Base.metadata)
    except ModelsError as error:
        raise CommandError(str(error)) from error
    except DBAPIError as error:
        refused = psycopg.errors.InsufficientPrivilege | psycopg.errors.ReadOnlySqlTransaction
        if not isinstance(error.orig, refused):
            raise
        reason = str(error.orig).strip().partition("\n")[0]
        raise CommandError(NOT_ALLOWED.format(reason=reason)) from error


@contextmanager
def _temporary_server() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="trellis-check-") as folder:
        server = embedded_server(Path(folder), fast=True)
        try:
            with server:
                yield server.url
        finally:
            # With root as the user, the data is outside of `folder`.
            shutil.rmtree(server.folder, ignore_errors=True)


def _require_same(drift: "Drift", place: str) -> None:
    if drift.differences:
        raise CommandError(
            f"The models and {place} differ:\n{drift.described(place)}\n"
            'Write the migration with: make migration m="what changes"'
        )
