"""The tables of jobs equal those of procrastinate's own migrations, but for one more index."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.util import CommandError
from procrastinate.schema import SchemaManager

from backend.db.schema.migrations import alembic_config
from tests import databases

# Every object whose name begins with `procrastinate_`: (kind, name, definition).
OBJECTS = r"""
WITH tables AS (
    SELECT oid, relname FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relname LIKE 'procrastinate\_%'
    AND relkind IN ('r', 'S')
)
SELECT 'table', relname, NULL FROM tables
UNION ALL
SELECT 'column', relname || '.' || attname, concat_ws(' ', attnum, format_type(atttypid, atttypmod),
    attnotnull, attidentity, attgenerated, pg_get_expr(adbin, adrelid))
FROM tables JOIN pg_attribute ON attrelid = tables.oid
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attnum > 0
UNION ALL
SELECT 'constraint', relname || '.' || conname, pg_get_constraintdef(pg_constraint.oid)
FROM tables JOIN pg_constraint ON conrelid = tables.oid
UNION ALL
SELECT 'index', relname || '.' || indexrelid::regclass, pg_get_indexdef(indexrelid)
FROM tables JOIN pg_index ON indrelid = tables.oid
UNION ALL
SELECT 'trigger', relname || '.' || tgname, pg_get_triggerdef(pg_trigger.oid)
FROM tables JOIN pg_trigger ON tgrelid = tables.oid WHERE NOT tgisinternal
UNION ALL
SELECT 'function', oid::regprocedure::text, pg_get_functiondef(oid) FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND proname LIKE 'procrastinate\_%'
UNION ALL
SELECT 'type', typname, (
    SELECT string_agg(enumlabel, ' ' ORDER BY enumsortorder) FROM pg_enum
    WHERE enumtypid = pg_type.oid
)
FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typname LIKE 'procrastinate\_%'
ORDER BY 1, 2, 3
"""


@pytest.fixture
def empty_url(request: pytest.FixtureRequest) -> Iterator[str]:
    with databases.cloned_database(databases.server_url(request.config), "template0") as url:
        yield url


def objects(url: str) -> list[tuple[str, str, str | None]]:
    with psycopg.connect(url) as connection:
        return connection.execute(OBJECTS).fetchall()


def library_objects(url: str) -> list[tuple[str, str, str | None]]:
    """Return the objects without the indexes that later migrations add."""
    found = objects(url)
    added = [each for each in found if each[1].startswith("procrastinate_jobs.ix_jobs_")]
    assert len(added) == 2
    return [each for each in found if each not in added]


def test_schema_is_that_of_the_library(database_url: str, empty_url: str) -> None:
    with psycopg.connect(empty_url, autocommit=True) as connection:
        # One transaction per file: before PostgreSQL 17 the files fail in a shared one.
        for file in sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql")):
            connection.execute(file.read_bytes())
    found = library_objects(database_url)
    assert found == objects(empty_url)
    kinds = {kind for kind, *_ in found}
    assert kinds == {"table", "column", "constraint", "index", "trigger", "function", "type"}


def test_files_of_a_later_release_change_nothing(
    database_url: str, empty_url: str, library: Path
) -> None:
    (library / "99.00.00_01_pre_later.sql").write_text("CREATE TABLE procrastinate_later ()")
    with alembic_config(empty_url) as config:
        command.upgrade(config, "0002")
    assert objects(empty_url) == library_objects(database_url)


def test_changed_files_of_the_library_are_refused(empty_url: str, library: Path) -> None:
    first, *_ = sorted(library.glob("*.sql"))
    first.write_text(first.read_text() + "SELECT 1;")
    with (
        alembic_config(empty_url) as config,
        pytest.raises(CommandError, match=r"^procrastinate \S+ has other .* requirements\.lock"),
    ):
        command.upgrade(config, "head")
    assert objects(empty_url) == []


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the library's migrations, which a test may change."""
    for file in Path(SchemaManager.get_migrations_path()).glob("*.sql"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(SchemaManager, "get_migrations_path", lambda: str(tmp_path))
    return tmp_path
