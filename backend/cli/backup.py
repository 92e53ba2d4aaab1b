"""`backend db backup`: a consistent copy of the database in one file, taken while it is in use.

The file is a ZIP archive with two members: `database.dump`, in pg_dump's custom format, and
`manifest.json`, which describes it. Both are of one snapshot.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import typer
from psycopg.sql import SQL, Identifier

from backend.cli.databases import reachable_database
from backend.cli.postgres_programs import connection, major, program
from backend.cli.schema import core_settings, require_migrated
from backend.cli.terminal import CommandError, say
from backend.product import VERSION

FORMAT = 1
DUMP, MANIFEST = "database.dump", "manifest.json"
CHUNK_BYTES = 1024 * 1024
# Counts of rate limits are not logged by PostgreSQL, and are worthless after a restore.
_TABLES = (
    "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    " AND relkind IN ('r', 'p') AND relpersistence = 'p' AND NOT relispartition"
    # Tables of extensions belong to no dump.
    " AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e')"
    " ORDER BY relname"
)


@dataclass(frozen=True)
class Manifest:
    """The description of a backup.

    application   version of the application that made it
    postgres      major version of the server
    revision      newest migration of its schema
    rows          number of rows by table
    dump_bytes    size of the dump
    dump_sha256   its SHA-256, in hexadecimal
    pg_dump       major version of the program; older ones of pg_restore cannot read the dump
    """

    format: int
    created_at: str
    application: str
    postgres: int
    revision: str
    rows: dict[str, int]
    dump_bytes: int
    dump_sha256: str
    pg_dump: int = 0


def run(path: Path) -> None:
    if path.exists():
        raise CommandError(f"{path} exists already: choose another name, or remove it first.")
    part = path.with_name(f"{path.name}.part")
    with reachable_database(core_settings()) as place:
        revision = require_migrated(place.url)
        try:
            manifest = _write(place.url, revision, part)
            part.replace(path)
        except FileExistsError:
            raise CommandError(
                f"{part} exists: another backup writes it, or was killed. Remove it, if none runs."
            ) from None
        except OSError as error:
            raise CommandError(
                f"{path} cannot be written ({error.strerror}): check the folder and its free space."
            ) from None
    size = path.stat().st_size / 1e6
    rows = sum(manifest.rows.values())
    say(
        f"{path}: {rows} rows of {len(manifest.rows)} tables at revision {manifest.revision}, "
        f"{size:.1f} MB. It does not contain SECRET_KEY: keep that elsewhere."
    )


@contextmanager
def _removed_on_failure(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _write(url: str, revision: str, path: Path) -> Manifest:
    with psycopg.connect(url) as snapshot:
        # Held until the dump ends: both see the same moment, and writers are not blocked.
        snapshot.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        snapshot.execute("SET LOCAL statement_timeout = 0")
        snapshot.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        row = snapshot.execute("SELECT pg_export_snapshot()").fetchone()
        assert row is not None
        tables = [name for (name,) in snapshot.execute(_TABLES)]
        server = snapshot.info.server_version // 10_000
        dumper = program("pg_dump", server)
        # Readable by its owner only: it contains personal data.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with (
            _removed_on_failure(path),
            os.fdopen(descriptor, "wb") as file,
            zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive,
        ):
            size, digest = _dump(dumper, url, row[0], len(tables), archive)
            manifest = Manifest(
                format=FORMAT,
                created_at=datetime.now(UTC).isoformat(timespec="seconds"),
                application=VERSION,
                postgres=server,
                revision=revision,
                rows={name: _count(snapshot, name) for name in tables},
                dump_bytes=size,
                dump_sha256=digest,
                pg_dump=major(dumper),
            )
            archive.writestr(MANIFEST, json.dumps(asdict(manifest), indent=2) + "\n")
            archive.close()
            file.flush()
            os.fsync(file.fileno())
    return manifest


def _count(connection_: psycopg.Connection, table: str) -> int:
    row = connection_.execute(SQL("SELECT count(*) FROM {}").format(Identifier(table))).fetchone()
    assert row is not None
    return int(row[0])


def _dump(
    dumper: Path, url: str, snapshot: str, tables: int, archive: zipfile.ZipFile
) -> tuple[int, str]:
    """Write the dump into the archive; return its size and SHA-256."""
    target, environment = connection(url)
    command: list[str | Path] = [
        *(dumper, "--format=custom", "--compress=6", "--verbose"),
        *("--no-owner", "--no-privileges", "--no-unlogged-table-data", "--no-password"),
        *(f"--snapshot={snapshot}", "--schema=public", f"--dbname={target}"),
    ]
    size, digest = 0, hashlib.sha256()
    with (
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
        ) as process,
        progress("Backing up", tables, process, r"dumping contents of table") as messages,
        archive.open(DUMP, "w", force_zip64=True) as member,
    ):
        assert process.stdout is not None
        while chunk := process.stdout.read(CHUNK_BYTES):
            member.write(chunk)
            digest.update(chunk)
            size += len(chunk)
    if process.returncode:
        raise CommandError(f"pg_dump failed ({reason(messages)}): nothing was written.")
    return size, digest.hexdigest()


@contextmanager
def bar(label: str, length: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on standard error, if that is a terminal; yield what advances it."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with typer.progressbar(length=length, label=label, file=sys.stderr) as shown:
        yield shown.update


@contextmanager
def progress(
    label: str, steps: int, process: "subprocess.Popen[bytes]", pattern: str
) -> Iterator[list[str]]:
    """Collect the messages of a program; a bar advances at each one that matches `pattern`."""
    messages: list[str] = []
    with bar(label, steps) as advance:

        def read() -> None:
            assert process.stderr is not None
            for line in process.stderr:
                messages.append(line.decode(errors="replace").strip())
                if re.search(pattern, messages[-1]):
                    advance(1)

        reader = threading.Thread(target=read)
        reader.start()
        try:
            yield messages
        except BaseException:
            # It may wait for the pipe that nothing reads or writes any more.
            process.kill()
            raise
        finally:
            process.wait()
            reader.join()


def reason(messages: list[str]) -> str:
    """Return the first error among the messages of a PostgreSQL program."""
    errors = [line for line in messages if "error:" in line] or messages or ["no reason given"]
    return errors[0].partition("error: ")[2] or errors[0]
