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

USERS = (
    "INSERT INTO users (id, email, email_key, full_name, is_active, is_verified,"
    " sessions_valid_after, created_at, updated_at)"
    " SELECT id, id || '@example.com', id || '@example.com', repeat(md5(id::text), 7), true, true,"
    " now(), now(), now() FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, {count})) x"
)


@pytest.fixture
def url(own_database_url: str, tmp_path: Path) -> str:
    output_at(tmp_path, own_database_url, "users", "create-admin", "--email", "ada@example.com")
    with psycopg.connect(own_database_url) as connection:
        connection.execute(USERS.format(count=100).encode())
    return own_database_url


@pytest.fixture
def empty_url(request: pytest.FixtureRequest) -> Iterator[str]:
    server = databases.server_url(request.config)
    with databases.cloned_database(server, "template0") as made:
        yield made


def output_at(folder: Path, url: str, *arguments: str) -> str:
    settings = {"DATABASE_URL": url, "FIRST_ADMIN_PASSWORD": "correct horse battery"}
    return output_of(*arguments, folder=folder, **settings)


def refused_at(folder: Path, url: str, *arguments: str) -> str:
    return refusal(*arguments, folder=folder, DATABASE_URL=url)


def count(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM users").fetchone()
    assert row is not None
    return int(row[0])


def rewritten(backup: Path, target: Path, **changes: object) -> Path:
    """Copy a backup with changed values in its manifest."""
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
                connection.execute(USERS.format(count=10).encode())

    writer = threading.Thread(target=write)
    writer.start()
    try:
        said = output_at(tmp_path, url, "db", "backup", str(backup))
    finally:
        stopping.set()
        writer.join()
    assert "It does not contain SECRET_KEY" in said
    assert backup.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(backup) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    assert 101 <= manifest["rows"]["users"] < count(url)
    assert manifest["rows"]["user_roles"] == 1
    assert "rate_limit_quotas" not in manifest["rows"]
    said = output_at(tmp_path, empty_url, "db", "restore", str(backup))
    assert "rows of" in said
    assert "unchanged" in said, "the audit record was verified"
    assert count(empty_url) == manifest["rows"]["users"]
    output_at(tmp_path, empty_url, "db", "check")
    assert output_at(tmp_path, empty_url, "db", "upgrade").endswith("as it was.\n")


@pytest.mark.slow
def test_a_database_with_contents_is_replaced_by_force_only(url: str, tmp_path: Path) -> None:
    backup = tmp_path / "trellis.backup"
    output_at(tmp_path, url, "db", "backup", str(backup))
    assert "exists already" in refused_at(tmp_path, url, "db", "backup", str(backup))
    with psycopg.connect(url) as connection:
        connection.execute("DELETE FROM users")
        connection.execute("CREATE TABLE made_left_over (id int)")
    said = refused_at(tmp_path, url, "db", "restore", str(backup))
    assert said.endswith("replace its contents with --force. Nothing was changed.")
    assert count(url) == 0
    output_at(tmp_path, url, "db", "restore", "--force", str(backup))
    assert count(url) == 101
    output_at(tmp_path, url, "db", "check")


@pytest.mark.slow
def test_damage_is_found_before_anything_changes(url: str, tmp_path: Path) -> None:
    backup = tmp_path / "trellis.backup"
    output_at(tmp_path, url, "db", "backup", str(backup))
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
    assert count(url) == 101


def test_a_failed_restore_leaves_the_former_contents(url: str, tmp_path: Path) -> None:
    backup = tmp_path / "trellis.backup"
    output_at(tmp_path, url, "db", "backup", str(backup))
    with psycopg.connect(url) as connection:
        connection.execute(USERS.format(count=5).encode())
    wrong = rewritten(backup, tmp_path / "wrong", rows={"users": 1})
    said = refused_at(tmp_path, url, "db", "restore", "--force", str(wrong))
    assert "has 101 rows instead of 1" in said
    assert count(url) == 106
    # The state after a restore that was killed while it loaded.
    with psycopg.connect(url) as connection:
        connection.execute("ALTER SCHEMA public RENAME TO trellis_before_restore")
        connection.execute("CREATE SCHEMA public")
    assert "is not empty" in refused_at(tmp_path, url, "db", "restore", str(backup))
    assert count(url) == 106


def test_no_password_is_in_the_arguments(tmp_path: Path) -> None:
    from backend.cli.postgres_programs import connection

    target, environment = connection("postgresql://ada:secret@h1:5432,h2:5433/db?sslmode=require")
    assert "secret" not in target
    assert "sslmode=require" in target
    assert environment["PGPASSWORD"] == "secret"


def test_a_key_with_a_password_is_refused() -> None:
    from backend.cli.postgres_programs import connection
    from backend.cli.terminal import CommandError

    with pytest.raises(CommandError, match="use a key without password"):
        connection("postgresql://h/db?sslpassword=secret")


def test_a_full_disk_ends_the_backup(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pg_dump must not wait for ever for a pipe that nothing reads."""
    from backend.cli import backup
    from backend.cli.terminal import CommandError

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with psycopg.connect(url) as connection:
        # More than a pipe buffers.
        connection.execute(USERS.format(count=5000).encode())
    monkeypatch.setattr("zipfile._ZipWriteFile.write", no_space)
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(CommandError, match="No space left on device"):
        backup.run(tmp_path / "full.backup")
    assert not list(tmp_path.glob("full*"))


@pytest.mark.slow
def test_extensions_stay_where_they_are(url: str, empty_url: str, tmp_path: Path) -> None:
    backup = tmp_path / "trellis.backup"
    for each in (url, empty_url):
        with psycopg.connect(each) as connection:
            available = "SELECT FROM pg_available_extensions WHERE name = 'vector'"
            if connection.execute(available).rowcount == 0:
                pytest.skip("this PostgreSQL has no extension to try")
            connection.execute("CREATE EXTENSION vector")
            connection.execute("CREATE TABLE made_points (at vector(3))")
            connection.execute("DROP TABLE made_points")
    output_at(tmp_path, url, "db", "backup", str(backup))
    output_at(tmp_path, empty_url, "db", "restore", str(backup))
    output_at(tmp_path, url, "db", "restore", "--force", str(backup))
    for each in (url, empty_url):
        assert count(each) == 101
        with psycopg.connect(each) as connection:
            row = connection.execute(
                "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'vector'"
            ).fetchone()
        assert row == ("public",)


@pytest.mark.slow
def test_a_database_in_use_is_not_replaced(url: str, tmp_path: Path) -> None:
    backup = tmp_path / "trellis.backup"
    output_at(tmp_path, url, "db", "backup", str(backup))
    with psycopg.connect(url, application_name="trellis"):
        said = refused_at(tmp_path, url, "db", "restore", "--force", str(backup))
    assert said.startswith("Servers or workers use this database")


def test_programs_that_are_too_old_are_refused() -> None:
    from backend.cli import postgres_programs
    from backend.cli.terminal import CommandError

    assert postgres_programs.program("pg_dump", 15).name == "pg_dump"
    with pytest.raises(CommandError, match="older than the server or the backup \\(99\\)"):
        postgres_programs.program("pg_dump", 99)
    with pytest.raises(CommandError, match="pg_nothing is not installed"):
        postgres_programs.program("pg_nothing", 15)


def test_a_database_without_a_schema_has_nothing_to_back_up(empty_url: str, tmp_path: Path) -> None:
    said = refused_at(tmp_path, empty_url, "db", "backup", str(tmp_path / "x"))
    assert said == "The database has no schema yet: run `backend db upgrade`."
    assert not list(tmp_path.glob("x*"))
