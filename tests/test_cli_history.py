"""Every command explains a broken migration history."""

import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from backend.db.schema.history import HistoryError, read_history
from backend.db.schema.migrations import FOLDER, newest_revision
from tests import databases
from tests.commands import ROOT, backend, output_of, refusal

HEAD = newest_revision()
assert HEAD is not None
NEXT = f"{int(HEAD) + 1:04}"


def migration(revision: str | None, follows: str | tuple[str, ...] | None, body: str = "") -> str:
    named = "" if revision is None else f"revision = {revision!r}\n"
    functions = "def upgrade() -> None: ...\n\n\ndef downgrade() -> None: ...\n"
    return f'"""x"""\n\n{named}down_revision = {follows!r}\n\n{body}\n{functions}'


BROKEN: dict[str, tuple[dict[str, str], str]] = {
    "one number twice": (
        {f"{NEXT}_a.py": migration(NEXT, HEAD), f"{NEXT}_b.py": migration(NEXT, HEAD)},
        (
            rf"Two migrations have the revision {NEXT} \({NEXT}_a\.py and {NEXT}_b\.py\): in the "
            rf'later one set `revision` to "{int(NEXT) + 1:04}" and `down_revision` to the newest'
        ),
    ),
    "number of an old one": (
        {"0999_again.py": migration("0001", None)},
        r"Two migrations have the revision 0001 \(0001_initial\.py and 0999_again\.py\)",
    ),
    "two ends": (
        {f"{NEXT}_a.py": migration(NEXT, HEAD), "0998_b.py": migration("0998", HEAD)},
        (
            rf"The history has 2 ends \({NEXT}, 0998\): set `down_revision` in "
            rf'migrations/versions/0998_b\.py to "{NEXT}"'
        ),
    ),
    "two ends of branches": (
        {
            f"{NEXT}_a.py": migration(NEXT, HEAD),
            "0998_b.py": migration("0998", HEAD),
            "0999_c.py": migration("0999", "0998"),
        },
        rf"2 ends \({NEXT}, 0999\): set `down_revision` in migrations/versions/0998_b\.py to ",
    ),
    "two beginnings": (
        {"0998_b.py": migration("0998", None)},
        rf"2 ends \({HEAD}, 0998\): set `down_revision` in migrations/versions/0998_b\.py to ",
    ),
    "missing parent": (
        {"0998_b.py": migration("0998", "9997")},
        (
            r"The migration 0998_b\.py follows revision 9997, which no file in "
            r"migrations/versions has: set its `down_revision` to the revision before it"
        ),
    ),
    "missing parent of a merge": (
        {"0998_b.py": migration("0998", (HEAD, "9997"))},
        r"The migration 0998_b\.py follows revision 9997, which no file",
    ),
    "circle": (
        {"0998_b.py": migration("0998", "0999"), "0999_c.py": migration("0999", "0998")},
        r"The migrations 0998, 0999 follow each other in a circle: correct `down_revision`",
    ),
    "no number": (
        {"0998_b.py": migration(None, HEAD)},
        r"The migration 0998_b\.py does not say which one it is: set `revision`",
    ),
    "no text as parent": (
        {"0998_b.py": migration("0998", HEAD).replace(repr(HEAD), "9")},
        r"The migration 0998_b\.py does not say which one it follows: set `down_revision`",
    ),
    "no Python": (
        {"0998_b.py": migration("0998", HEAD, "def ")},
        r"The migration 0998_b\.py cannot be read \(.+, line 6\): correct it\.",
    ),
    "no text": (
        {"0998_b.py": "\0"},
        r"The migration 0998_b\.py cannot be read \(",
    ),
}


@pytest.fixture
def versions(tmp_path: Path) -> Path:
    copy = tmp_path / "versions"
    shutil.copytree(FOLDER / "versions", copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.mark.parametrize("name", BROKEN)
def test_broken_history_is_one_sentence(versions: Path, name: str) -> None:
    files, sentence = BROKEN[name]
    for file, text in files.items():
        (versions / file).write_text(text)
    with pytest.raises(HistoryError, match=sentence) as refused:
        read_history(versions)
    assert "\n" not in str(refused.value)


def test_history_may_be_written_in_other_ways(versions: Path) -> None:
    annotated = f'revision: str = "9997"\ndown_revision: str | None = "{HEAD}"\n'
    (versions / "9997.py").write_text(annotated)
    (versions / "__init__.py").write_text("")
    (versions / ".#9997.py").write_text("somebody edits it")
    assert read_history(versions)[0] == "9997"
    (versions / "0998.py").write_text(migration("0998", "9997"))
    (versions / "0998b.py").write_text(migration("0998b", "9997"))
    (versions / "0999.py").write_text(migration("0999", ("0998", "0998b")))
    newest, known = read_history(versions)
    assert newest == "0999"
    assert {"0001", "0998", "0998b", "0999"} < known


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the code to change."""
    for name in ("backend", "migrations", "pyproject.toml"):
        source, target = ROOT / name, tmp_path / name
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    return tmp_path


@pytest.fixture
def url(pytestconfig: pytest.Config) -> Iterator[str]:
    with databases.cloned_database(databases.server_url(pytestconfig)) as made:
        yield made


@pytest.mark.parametrize(
    "command", ["db upgrade", "db check", "db revision x", "db downgrade -1", "worker"]
)
@pytest.mark.slow
def test_every_command_explains_a_broken_history(project: Path, url: str, command: str) -> None:
    (project / "migrations" / "versions" / "0998_b.py").write_text(migration("0998", "9997"))
    here: dict[str, Any] = {"folder": project, "project": project, "DATABASE_URL": url}
    said = refusal(*command.split(), **here)
    assert said.startswith("The migration 0998_b.py follows revision 9997, which no file")
    assert "\n" not in said


@pytest.mark.slow
def test_doctor_explains_a_broken_history(project: Path, url: str) -> None:
    here: dict[str, Any] = {"folder": project, "project": project, "DATABASE_URL": url}
    file = project / "migrations" / "versions" / f"{NEXT}_b.py"
    file.write_text(migration("0998", "9997"))
    said = backend("doctor", "--port", "0", **here).stdout
    assert f"✗ The migration {file.name} follows revision 9997, which no file" in said
    file.write_text(migration(NEXT, HEAD, "import nothing_of_the_kind"))
    succeeds_at_newest(url, NEXT)
    done = backend("doctor", "--port", "0", **here)
    assert done.returncode == 1
    assert (
        f"✗ The migration {file.name} cannot be imported (ModuleNotFoundError: No module named "
        "'nothing_of_the_kind', line 6): correct it."
    ) in done.stdout


def succeeds_at_newest(url: str, revision: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = %s", [revision])


@pytest.mark.slow
def test_migration_that_fails_is_explained(project: Path, url: str) -> None:
    here: dict[str, Any] = {"folder": project, "project": project, "DATABASE_URL": url}
    file = project / "migrations" / "versions" / f"{NEXT}_b.py"
    file.write_text(migration(NEXT, HEAD, "import nothing_of_the_kind"))
    for command in (["db", "upgrade"], ["db", "revision", "x"]):
        assert refusal(*command, **here).startswith(
            f"The migration {file.name} cannot be imported (ModuleNotFoundError: "
        )
    text = migration(NEXT, HEAD).replace("def upgrade() -> None: ...", "def upgrade(): nothing()")
    file.write_text(text)
    said = refusal("db", "upgrade", **here)
    assert re.fullmatch(
        rf"The migration {file.name} has failed \(NameError: name 'nothing' is "
        r"not defined, line \d+\): correct it\.",
        said,
    )
    file.write_text(migration(NEXT, HEAD))
    assert output_of("db", "upgrade", **here) == f"The schema is at {NEXT}.\n"


@pytest.mark.parametrize("command", ["db upgrade", "db check", "db revision x"])
@pytest.mark.slow
def test_revision_of_another_code_is_explained(tmp_path: Path, url: str, command: str) -> None:
    succeeds_at_newest(url, "0998")
    here: dict[str, Any] = {"folder": tmp_path, "DATABASE_URL": url}
    unknown = "The database is at revision 0998, which this code does not have: "
    assert refusal(*command.split(), **here).startswith(unknown)
    if command == "db check":
        assert f"✗ {unknown}" in backend("doctor", "--port", "0", **here).stdout


@pytest.mark.slow
def test_check_needs_the_right_to_create_a_schema(tmp_path: Path, url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE drift_reader LOGIN")
        try:
            connection.execute("GRANT SELECT ON alembic_version TO drift_reader")
            said = refusal(
                "db",
                "check",
                folder=tmp_path,
                DATABASE_URL=url.replace("postgres@", "drift_reader@", 1),
            )
        finally:
            connection.execute("DROP OWNED BY drift_reader; DROP ROLE drift_reader")
    assert said.startswith(
        "The models cannot be compared with this database (permission denied for database "
    )
    assert "GRANT CREATE ON DATABASE" in said


INDEX = """
import sqlalchemy as sa
from alembic import op


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.drop_index("ix_x", "items", if_exists=True, postgresql_concurrently=True)
        op.create_index("ix_x", "items", ["title"], postgresql_concurrently=True)


def downgrade() -> None: ...
"""


@pytest.mark.slow
def test_check_refuses_a_migration_that_locks(project: Path, url: str) -> None:
    """With DATABASE_URL too, before the migration has been applied."""
    upgrade = INDEX.replace(", postgresql_concurrently=True", "")
    text = migration(NEXT, HEAD).partition("def upgrade")[0] + upgrade
    (project / "migrations" / "versions" / f"{NEXT}_b.py").write_text(text)
    for database in (url, None):
        said = refusal("db", "check", folder=project, project=project, DATABASE_URL=database)
        first, dropped, *more = said.splitlines()
        assert first.startswith("Migrations that disturb the release that serves")
        assert dropped.startswith(f"{NEXT}_b.py, line ")
        assert 'unsafe = {"index on items": "..."}' in dropped
        assert more == []


@pytest.mark.slow
def test_check_says_that_it_cannot_observe_locks_without_the_embedded_server(
    project: Path, url: str
) -> None:
    host = project / "backend" / "dev" / "embedded_host.py"
    host.write_text(re.sub(r"WHEELS = .+", 'WHEELS = ("nothing_of_the_kind",)', host.read_text()))
    said = output_of("db", "check", folder=project, project=project, DATABASE_URL=url)
    assert said.startswith("The locks of the migrations are not checked here: ")
    assert said.endswith(f"matches the code; it is at {HEAD}.\n")


@pytest.mark.slow
def test_several_upgrades_at_once_build_an_index_concurrently(project: Path, url: str) -> None:
    """The index waits for all transactions; upgrades that wait for their turn have none open."""
    text = migration(NEXT, HEAD).partition("def upgrade")[0] + INDEX
    (project / "migrations" / "versions" / f"{NEXT}_b.py").write_text(text)
    here: dict[str, Any] = {"folder": project, "project": project, "DATABASE_URL": url}
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(output_of, "db", "upgrade", **here) for _ in range(3)]
        assert {run.result() for run in runs} == {f"The schema is at {NEXT}.\n"}
