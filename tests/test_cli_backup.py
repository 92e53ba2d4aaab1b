"""The commands `backend db backup` and `restore`, during writes and with damaged files."""

import json
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests import databases
from tests.commands import output_of, refusal

ITEM = (
    "INSERT INTO items (id, title, owner_id, created_at, updated_at)"
    " SELECT gen_random_uuid(), 'item ' || n, id, now(), now()"
    " FROM users, generate_series(1, {count}) AS n"
)


@pytest.fixture
def url(own_database_url: str, tmp_path: Path) -> str:
    succeeds_at(tmp_path, own_database_url, "users", "create-admin", "--email", "ada@example.com")
    with psycopg.connect(own_database_url) as connection:
        connection.execute(ITEM.format(count=100).encode())
    return own_database_url


@pytest.fixture
def empty_url(request: pytest.FixtureRequest) -> Iterator[str]:
    server = databases.server_url(request.config)
    with databases.cloned_database(server, "template0") as made:
        yield made


def succeeds_at(folder: Path, url: str, *arguments: str) -> str:
    settings = {"DATABASE_URL": url, "FIRST_ADMIN_PASSWORD": "correct horse battery"}
    return output_of(*arguments, folder=folder, **settings)


def refused_at(folder: Path, url: str, *arguments: str) -> str:
    return refusal(*arguments, folder=folder, DATABASE_URL=url)


def count(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM items").fetchone()
    assert row is not None
    return int(row[0])


def rewritten(backup: Path, target: Path, **changes: object) -> Path:
    """A copy whose manifest has other values."""
    with zipfile.ZipFile(backup) as archive, zipfile.ZipFile(target, "w") as copy:
        manifest = json.loads(archive.read("manifest.json")) | changes
        copy.writestr("database.dump", archive.read("database.dump"))
        copy.writestr("manifest.json", json.dumps(manifest))
    return target


@pytest.mark.slow
def test_a_backup_of_a_busy_database_is_consistent(
    url: str, empty_url: str, tmp_path: Path
) -> None:
    backup = tmp_path / "trellis.backup"
    stopping = threading.Event()

    def write() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            while not stopping.is_set():
                connection.execute(ITEM.format(count=10).encode())

    writer = threading.Thread(target=write)
    writer.start()
    try:
        said = succeeds_at(tmp_path, url, "db", "backup", str(backup))
    finally:
        stopping.set()
        writer.join()
    assert "It does not contain SECRET_KEY" in said
    assert backup.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(backup) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    assert 100 <= manifest["rows"]["items"] < count(url)
    assert manifest["rows"]["users"] == 1
    assert "rate_limit_quotas" not in manifest["rows"]
    said = succeeds_at(tmp_path, empty_url, "db", "restore", str(backup))
    assert "rows of" in said
    assert "unchanged" in said, "the audit record was verified"
    assert count(empty_url) == manifest["rows"]["items"]
    succeeds_at(tmp_path, empty_url, "db", "check")
    assert succeeds_at(tmp_path, empty_url, "db", "upgrade").endswith("as it was.\n")


@pytest.mark.slow
def test_a_database_with_contents_is_replaced_by_force_only(url: str, tmp_path: Path) -> None:
    backup = tmp_path / "trellis.backup"
    succeeds_at(tmp_path, url, "db", "backup", str(backup))
    assert "exists already" in refused_at(tmp_path, url, "db", "backup", str(backup))
    with psycopg.connect(url) as connection:
        connection.execute("DELETE FROM items")
        connection.execute("CREATE TABLE left_over (id int)")
    said = refused_at(tmp_path, url, "db", "restore", str(backup))
    assert said.endswith("replace its contents with --force. Nothing was changed.")
    assert count(url) == 0
    succeeds_at(tmp_path, url, "db", "restore", "--force", str(backup))
    assert count(url) == 100
    succeeds_at(tmp_path, url, "db", "check")


@pytest.mark.slow
def test_damage_is_found_before_anything_changes(url: str, tmp_path: Path) -> None:
    backup = tmp_path / "trellis.backup"
    succeeds_at(tmp_path, url, "db", "backup", str(backup))
    content = backup.read_bytes()
    for position in (len(content) // 2, 200):
        damaged = bytearray(content)
        damaged[position] ^= 1
        (tmp_path / "damaged").write_bytes(damaged)
        said = refused_at(tmp_path, url, "db", "restore", "--force", str(tmp_path / "damaged"))
        assert "is damaged" in said
    for other in (content[:1000], b"", b"PGDMP"):
        (tmp_path / "damaged").write_bytes(other)
        said = refused_at(tmp_path, url, "db", "restore", "--force", str(tmp_path / "damaged"))
        assert "is not a backup, or is damaged" in said
    newer = rewritten(backup, tmp_path / "newer", revision="9999")
    said = refused_at(tmp_path, url, "db", "restore", "--force", str(newer))
    assert "was made by a newer release" in said
    newer = rewritten(backup, tmp_path / "newer", postgres=99)
    said = refused_at(tmp_path, url, "db", "restore", "--force", str(newer))
    assert "restore it on PostgreSQL 99 or newer" in said
    assert count(url) == 100


def test_a_failed_restore_leaves_the_former_contents(url: str, tmp_path: Path) -> None:
    backup = tmp_path / "trellis.backup"
    succeeds_at(tmp_path, url, "db", "backup", str(backup))
    with psycopg.connect(url) as connection:
        connection.execute(ITEM.format(count=5).encode())
    wrong = rewritten(backup, tmp_path / "wrong", rows={"items": 1})
    said = refused_at(tmp_path, url, "db", "restore", "--force", str(wrong))
    assert "has 100 rows instead of 1" in said
    assert count(url) == 105
    # As a restore leaves it that was killed while it loaded.
    with psycopg.connect(url) as connection:
        connection.execute("ALTER SCHEMA public RENAME TO trellis_before_restore")
        connection.execute("CREATE SCHEMA public")
    assert "is not empty" in refused_at(tmp_path, url, "db", "restore", str(backup))
    assert count(url) == 105


def test_no_password_is_in_the_arguments(tmp_path: Path) -> None:
    from backend.cli.postgres_programs import connection

    target, environment = connection("postgresql://ada:secret@h1:5432,h2:5433/db?sslmode=require")
    assert "secret" not in target
    assert "sslmode=require" in target
    assert environment["PGPASSWORD"] == "secret"


def test_programs_that_are_too_old_are_refused() -> None:
    from backend.cli import postgres_programs
    from backend.cli.terminal import CommandError

    assert postgres_programs.program("pg_dump", 15).name == "pg_dump"
    with pytest.raises(CommandError, match="older than the server \\(99\\)"):
        postgres_programs.program("pg_dump", 99)
    with pytest.raises(CommandError, match="pg_nothing is not installed"):
        postgres_programs.program("pg_nothing", 15)


def test_a_database_without_a_schema_has_nothing_to_back_up(empty_url: str, tmp_path: Path) -> None:
    said = refused_at(tmp_path, empty_url, "db", "backup", str(tmp_path / "x"))
    assert said == "The database has no schema yet: run `backend db upgrade`."
    assert not list(tmp_path.glob("x*"))
