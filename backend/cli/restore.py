"""`backend db restore`: loads a file of `backend db backup`, and verifies the result."""

import hashlib
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier
from pydantic import TypeAdapter

from backend.cli import audit
from backend.cli.backup import CHUNK_BYTES, DUMP, FORMAT, MANIFEST, Manifest, bar, progress, reason
from backend.cli.databases import reachable_database
from backend.cli.postgres_programs import connection, program
from backend.cli.schema import core_settings
from backend.cli.terminal import CommandError, say
from backend.db.schema.migrations import newest_revision, revisions

MANIFESTS = TypeAdapter(Manifest)
# The name of the former contents while they are replaced.
_FORMER = "trellis_before_restore"
_HARMLESS = 'unrecognized configuration parameter "transaction_timeout"'
_CONTENTS = (
    "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    " AND relkind IN ('r', 'p', 'v', 'm', 'S')"
    " AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e')"
)


def run(path: Path, *, force: bool) -> int:
    """Return the exit code: 0 if everything was restored and the audit record is intact."""
    with _opened(path) as archive:
        manifest = _read_manifest(archive, path)
        _verify_checksum(archive, manifest, path)
        settings = core_settings()
        with reachable_database(settings) as place:
            _restore(archive, manifest, place.url, path, force=force)
    say(
        f"{sum(manifest.rows.values())} rows of {len(manifest.rows)} tables are restored, at "
        f"revision {manifest.revision}."
    )
    if manifest.revision != newest_revision():
        say("The code is newer: run `backend db upgrade`, then `backend audit verify`.")
        return 0
    return audit.verify(None)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except OSError as error:
        raise CommandError(f"{path} cannot be read ({error.strerror}).") from None
    except zipfile.BadZipFile:
        raise CommandError(
            f"{path} is not a backup, or is damaged: give a file of `backend db backup`."
        ) from None


def _read_manifest(archive: zipfile.ZipFile, path: Path) -> Manifest:
    try:
        manifest = MANIFESTS.validate_json(archive.read(MANIFEST))
    except (KeyError, ValueError):
        raise CommandError(
            f"{path} is not a backup, or is damaged: give a file of `backend db backup`."
        ) from None
    _, known = revisions()
    if manifest.format > FORMAT or manifest.revision not in known:
        raise CommandError(
            f"{path} was made by a newer release (revision {manifest.revision}): restore it with "
            "the code of that release."
        )
    return manifest


def _verify_checksum(archive: zipfile.ZipFile, manifest: Manifest, path: Path) -> None:
    digest = hashlib.sha256()
    try:
        with bar("Verifying", manifest.dump_bytes) as advance, archive.open(DUMP) as member:
            while chunk := member.read(CHUNK_BYTES):
                digest.update(chunk)
                advance(len(chunk))
        is_intact = digest.hexdigest() == manifest.dump_sha256
    except (KeyError, zipfile.BadZipFile):
        is_intact = False
    if not is_intact:
        raise CommandError(f"{path} is damaged: its checksum differs. Nothing was changed.")


def _restore(
    archive: zipfile.ZipFile, manifest: Manifest, url: str, path: Path, *, force: bool
) -> None:
    with psycopg.connect(url, autocommit=True) as database:
        server = database.info.server_version // 10_000
        if server < manifest.postgres:
            raise CommandError(
                f"{path} was made on PostgreSQL {manifest.postgres}, and this server is "
                f"{server}: restore it on PostgreSQL {manifest.postgres} or newer."
            )
        loader = program("pg_restore", max(server, manifest.pg_dump))
        # The role's limits are for requests.
        database.execute("SET statement_timeout = 0")
        database.execute("SET idle_in_transaction_session_timeout = 0")
        if _is_used(database):
            raise CommandError(
                "Servers or workers use this database: stop them first. Nothing was changed."
            )
        _recover(database)
        if not _is_empty(database) and not force:
            raise CommandError(
                "The database is not empty: restore into an empty one, or replace its contents "
                "with --force. Nothing was changed."
            )
        with _replaced_schema(database):
            _load([loader, *_error_options(server)], archive, manifest, url)
            _compare(database, manifest)


def _is_empty(database: psycopg.Connection) -> bool:
    row = database.execute(_CONTENTS).fetchone()
    return row is not None and row[0] == 0


def _is_used(database: psycopg.Connection) -> bool:
    row = database.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name IN ('trellis', 'trellis worker')"
    ).fetchone()
    return row is not None and row[0] > 0


def _recover(database: psycopg.Connection) -> None:
    """Put the contents back that a killed restore had set aside."""
    row = database.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [_FORMER]).fetchone()
    if row is None:
        return
    if not _is_empty(database):
        raise CommandError(
            f"An earlier restore was killed at its end: the schema {_FORMER} has the contents "
            "from before it, `public` those of the backup. Drop one of them, and run this again."
        )
    _put_back(database)


def _put_back(database: psycopg.Connection) -> None:
    with database.transaction():
        _move_extensions(database, "public", _FORMER)
        database.execute("DROP SCHEMA public CASCADE")
        database.execute(SQL("ALTER SCHEMA {} RENAME TO public").format(Identifier(_FORMER)))


def _move_extensions(database: psycopg.Connection, source: str, target: str) -> None:
    """Move the extensions of a schema to another one; a backup does not contain them."""
    extensions = database.execute(
        "SELECT extname, extrelocatable FROM pg_extension WHERE extnamespace = %s::regnamespace",
        [source],
    ).fetchall()
    for name, is_relocatable in extensions:
        if not is_relocatable:
            raise CommandError(
                f"The extension {name} is in the schema public and cannot be moved: restore into "
                "a database without it. Nothing was changed."
            )
        statement = SQL("ALTER EXTENSION {} SET SCHEMA {}")
        database.execute(statement.format(Identifier(name), Identifier(target)))


@contextmanager
def _replaced_schema(database: psycopg.Connection) -> Iterator[None]:
    """An empty schema `public` in the block; the former contents return if it fails."""
    former = Identifier(_FORMER)
    try:
        with database.transaction():
            database.execute(SQL("ALTER SCHEMA public RENAME TO {}").format(former))
            database.execute("CREATE SCHEMA public")
            _move_extensions(database, _FORMER, "public")
            # As in a new database.
            database.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")
    except psycopg.errors.InsufficientPrivilege:
        raise CommandError(
            "The role of the database may not replace the schema `public`: connect as its owner. "
            "Nothing was changed."
        ) from None
    try:
        yield
    except BaseException:
        _put_back(database)
        raise
    database.execute(SQL("DROP SCHEMA {} CASCADE").format(former))


def _error_options(server: int) -> tuple[str, ...]:
    # From 17 on pg_restore sets `transaction_timeout`, which older servers refuse: see `_load`.
    return ("--exit-on-error", "--single-transaction") if server >= 17 else ()


def _load(loader: list[str | Path], archive: zipfile.ZipFile, manifest: Manifest, url: str) -> None:
    target, environment = connection(url)
    command: list[str | Path] = [
        *(*loader, "--verbose", "--no-password", "--no-owner", "--no-privileges"),
        *("--schema=public", f"--dbname={target}"),
    ]
    with (
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
        ) as process,
        progress(
            "Restoring", len(manifest.rows), process, r"processing data for table"
        ) as messages,
        archive.open(DUMP) as member,
    ):
        assert process.stdin is not None
        # A program that fails stops reading; its message says why.
        with suppress(BrokenPipeError):
            while chunk := member.read(CHUNK_BYTES):
                process.stdin.write(chunk)
        with suppress(BrokenPipeError):
            process.stdin.close()
    messages = [line for line in messages if _HARMLESS not in line]
    if process.returncode and (process.returncode != 1 or any("error:" in m for m in messages)):
        raise CommandError(
            f"pg_restore failed ({reason(messages)}): the former contents are in place."
        )


def _compare(database: psycopg.Connection, manifest: Manifest) -> None:
    for table, expected in manifest.rows.items():
        row = database.execute(SQL("SELECT count(*) FROM {}").format(Identifier(table))).fetchone()
        found = row[0] if row else 0
        if found != expected:
            raise CommandError(
                f"The table {table} has {found} rows instead of {expected}: the former contents "
                "are in place. Report this as a fault."
            )
