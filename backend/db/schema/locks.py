"""Locks of migrations, observed while they run on a database without traffic.

PostgreSQL itself tells what it does: at the message level debug1 it names each table that it scans
and each index that it builds, and `pg_locks` lists the locks. Whether a change of type rewrites a
table, or a validated CHECK makes the scan for NULLs unnecessary, thus needs no rules here.
"""

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, event

from backend.db.schema.lock_words import sentence

# From the weakest to the strongest; the last one blocks reads too.
_BLOCKING = ("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")
_WRITING = "RowExclusiveLock"
_TABLES = """
SELECT c.oid, c.relname, c.relfilenode,
    (SELECT coalesce(jsonb_object_agg(attnum, attname), '{}') FROM pg_attribute
        WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped),
    (SELECT coalesce(jsonb_agg(attnum::text), '[]') FROM pg_attribute WHERE attrelid = c.oid
        AND attnum > 0 AND attnotnull AND NOT atthasdef AND attidentity = ''),
    (SELECT coalesce(jsonb_agg(indexrelid::regclass::text), '[]') FROM pg_index
        WHERE indrelid = c.oid)
FROM pg_class c WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't'
AND c.relnamespace = current_schema()::regnamespace AND c.relname <> 'alembic_version'
"""
_LOCKS = """
SELECT relation, mode FROM pg_locks
WHERE pid = pg_backend_pid() AND locktype = 'relation' AND relation = ANY(%s)
"""
_BUILT_FOR = """
SELECT CASE contype WHEN 'x' THEN 'exclusion' ELSE 'constraint' END
FROM pg_constraint WHERE conindid = to_regclass(%s) AND contype IN ('p', 'u', 'x')
"""
_CONSTRAINED = """
SELECT relname FROM pg_constraint JOIN pg_class r ON r.oid = conrelid WHERE conname = %s
"""
_WORK = re.compile(
    r'building index "(?P<index>.+)" on table "(?P<indexed>.+)" '
    r'|verifying table "(?P<verified>.+)"'
    r'|validating foreign key constraint "(?P<key>.+)"'
)
# In an autocommit block these run in a transaction of their own, so that their locks can be read.
_LOCKING = re.compile(
    r"(?!.*\bCONCURRENTLY\b)(ALTER TABLE|CREATE( UNIQUE)? INDEX|DROP INDEX|REINDEX|CLUSTER)\b",
    re.IGNORECASE | re.DOTALL,
)
_DROP_INDEX = re.compile(r"(?!.*\bCONCURRENTLY\b).*\bDROP INDEX\b", re.IGNORECASE | re.DOTALL)
# INSERT ... VALUES adds the rows of the statement only, so it is left out.
_ROWS = re.compile(
    r"(SELECT|WITH|UPDATE|DELETE|MERGE|COPY|DO|CALL)\b|INSERT\b.*\bSELECT\b",
    re.IGNORECASE | re.DOTALL,
)
# Statements that lock the rows that they change until the transaction ends.
_ROW_CHANGES = re.compile(
    r"(UPDATE|DELETE|MERGE)\b|(WITH|DO)\b.*\b(UPDATE|DELETE|MERGE)\b", re.IGNORECASE | re.DOTALL
)
_COMMENTS = re.compile(r"\A(\s+|--[^\n]*\n|/\*.*?\*/)*", re.DOTALL)


@dataclass(frozen=True)
class _Table:
    name: str
    file: int
    columns: dict[str, str]
    required: list[str]
    indexes: list[str]


@dataclass
class Observation:
    """The breaches of one migration: a sentence by name, such as "index on items".

    autocommit  whether statements ran in an autocommit block, and were committed one by one
    """

    file: Path
    breaches: dict[str, str] = field(default_factory=dict)
    autocommit: bool = False


@contextmanager
def observed(connection: Connection, file: Path) -> Iterator[Observation]:
    """Observe the statements of the connection, which run the migration `file`, for the block."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    observer = _Observer(driver, Observation(file))
    connection.rollback()
    driver.execute("SET client_min_messages = debug1")
    observer.existing = observer.tables()
    driver.commit()
    driver.add_notice_handler(observer.notice)
    event.listen(connection, "before_cursor_execute", observer.before)
    event.listen(connection, "after_cursor_execute", observer.after)
    try:
        yield observer.observation
    finally:
        event.remove(connection, "before_cursor_execute", observer.before)
        event.remove(connection, "after_cursor_execute", observer.after)
        driver.remove_notice_handler(observer.notice)


class _Observer:
    def __init__(self, driver: "psycopg.Connection[Any]", observation: Observation) -> None:
        self.observation = observation
        self.existing: dict[int, _Table] = {}
        self._driver = driver
        self._messages: list[str] = []
        self._earlier: set[tuple[int, str]] = set()
        self._wrapped = False

    def notice(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        self._messages.append(diagnostic.message_primary or "")

    def tables(self) -> dict[int, _Table]:
        return {oid: _Table(*row) for oid, *row in self._driver.execute(_TABLES)}

    def before(self, _c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        self._messages.clear()
        if not self._driver.autocommit:
            return
        self.observation.autocommit = True
        idle = self._driver.info.transaction_status == TransactionStatus.IDLE
        self._wrapped = idle and _LOCKING.match(_bare(statement)) is not None
        self._earlier = set()
        if self._wrapped:
            self._driver.execute("BEGIN")

    def after(self, _c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        messages = list(self._messages)
        bare = _bare(statement)
        locks = {(oid, mode) for oid, mode in self._driver.execute(_LOCKS, [list(self.existing)])}
        held = {
            self.existing[oid].name: mode
            for mode in _BLOCKING
            for oid, held_mode in locks
            if held_mode == mode
        }
        later = self.tables()
        changes = [*self._changes(bare, later)]
        # Both include work on the same table that needs no sentence of its own.
        if not {"rewrite", "required column"} & dict(changes).keys():
            changes += self._work(messages, held)
        for kind, subject in (*changes, *self._rows(bare, locks, held)):
            self._report(kind, subject, held, bare)
        self._earlier = locks
        # New names and files of the existing tables; the tables of this migration stay exempt.
        self.existing = {oid: table for oid, table in later.items() if oid in self.existing}
        if self._wrapped:
            self._driver.execute("COMMIT")
            self._wrapped = False

    def _work(self, messages: list[str], held: dict[str, str]) -> Iterator[tuple[str, str]]:
        """Yield the scans and index builds of existing tables under a blocking lock."""
        names = {table.name for table in self.existing.values()}
        for found in filter(None, map(_WORK.match, messages)) if held else ():
            table, kind = found["indexed"] or found["verified"], "scan"
            if found["index"]:
                row = self._driver.execute(_BUILT_FOR, [found["index"]]).fetchone()
                kind = row[0] if row else "index"
            elif found["key"]:
                row = self._driver.execute(_CONSTRAINED, [found["key"]]).fetchone()
                table, kind = row[0] if row else "", "foreign key"
            if table in names:
                yield kind, table

    def _rows(
        self, statement: str, locks: set[tuple[int, str]], held: dict[str, str]
    ) -> Iterator[tuple[str, str]]:
        """Yield the tables that are blocked while the statement reads or changes rows.

        A blocking lock blocks its table. Without one, changed rows of existing tables are locked
        until the end of the transaction, unless the statement is one of its own.
        """
        used = {lock for lock in locks - self._earlier if lock[1] not in _BLOCKING}
        if used and held and _ROWS.match(statement):
            yield "rows", next(iter(sorted(held)))
        elif not self._driver.autocommit and _ROW_CHANGES.match(statement):
            written = {self.existing[oid].name for oid, mode in locks if mode == _WRITING}
            # Foreign keys and earlier statements lock tables too.
            named = written.intersection(re.findall(r"\w+", statement))
            yield from (("changed rows", name) for name in sorted(named))

    def _changes(self, statement: str, later: dict[int, _Table]) -> Iterator[tuple[str, str]]:
        for oid, table in self.existing.items():
            new = later.get(oid)
            if new is None:
                yield "dropped table", table.name
                continue
            if new.name != table.name:
                yield "renamed table", table.name
            if new.file != table.file and not statement.upper().startswith("TRUNCATE"):
                yield "rewrite", table.name
            if _DROP_INDEX.match(statement) and {*table.indexes} - {*new.indexes}:
                yield "dropped index", table.name
            for number, name in table.columns.items():
                if new.columns.get(number) != name:
                    kind = "renamed column" if number in new.columns else "dropped column"
                    yield kind, f"{table.name}.{name}"
            for number in {*new.required} - {*table.columns}:
                yield "required column", f"{table.name}.{new.columns[number]}"

    def _report(self, kind: str, subject: str, held: dict[str, str], statement: str) -> None:
        file = self.observation.file
        lines = [n for frame, n in traceback.walk_stack(None) if _is_of(frame, file)]
        place = f"{file.name}, line {lines[0]}" if lines else file.name
        name, words = sentence(kind, subject, held, place, " ".join(statement.split()))
        self.observation.breaches.setdefault(name, words)


def _is_of(frame: Any, file: Path) -> bool:
    return Path(frame.f_code.co_filename) == file


def _bare(statement: str) -> str:
    """Return the statement without comments at its beginning."""
    return _COMMENTS.sub("", statement, count=1)
