"""The commands for databases, users and modules."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import typer
from typer.testing import CliRunner

from backend.cli.commands import app, audit, db, users
from backend.cli.modules import module
from backend.db.schema.migrations import newest_revision, next_revision
from tests import databases
from tests.commands import ROOT, backend, data_dir, environment, output_of, postmaster, refusal

MAIN = "from backend.cli import main; main()"
PASSWORD = "correct horse battery"


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    with data_dir(tmp_path) as folder:
        yield folder


@pytest.fixture
def empty_url(pytestconfig: pytest.Config) -> Iterator[str]:
    """A database that has never been migrated."""
    with databases.cloned_database(databases.server_url(pytestconfig), "template0") as url:
        yield url


def names(group: typer.Typer) -> list[str]:
    found = (each.name or each.callback.__name__ for each in group.registered_commands)  # type: ignore[union-attr]  # a function
    return list(found)


COMMANDS = [
    *([name] for name in names(app)),
    *(["db", name] for name in names(db)),
    *(["users", name] for name in names(users)),
    *(["audit", name] for name in names(audit)),
    *(["module", name] for name in names(module)),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(command: list[str]) -> None:
    shown = CliRunner().invoke(app, [*command, "--help"])
    assert shown.exit_code == 0
    assert f"Usage: backend {' '.join(command)}" in shown.output.replace("root", "backend", 1)
    assert len(shown.output.splitlines()) > 5


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-X",
            "importtime",
            "-c",
            MAIN,
            "--help",
        ],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    for command in ("dev", "serve", "db", "users", "module", "routes", "openapi", "doctor"):
        assert re.search(rf"^  {command} +[A-Z]", done.stdout, re.MULTILINE)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "typer" in imported
    heavy = {"alembic", "fastapi", "psycopg", "pydantic", "rich", "sqlalchemy", "uvicorn"}
    assert not imported & heavy


def test_mistyped_command_is_a_usage_error(tmp_path: Path) -> None:
    done = backend("bd", "upgrade", folder=tmp_path)
    assert done.returncode == 2
    assert "No such command 'bd'" in done.stderr


@pytest.mark.parametrize(
    "command",
    [["dev"], ["db", "upgrade"], ["users", "create-admin", "--email", "ada@example.com"]],
    ids=lambda command: command[0],
)
def test_unusable_settings_are_listed(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / ".env").write_text("ENVIRONMENT=production\nLOG_LEVEL=loud\n")
    said = refusal(*command, folder=tmp_path)
    assert said.startswith("The settings are not usable:\n  LOG_LEVEL: Input should be ")


# Commands that need no database


def test_lists_need_neither_database_nor_settings(tmp_path: Path) -> None:
    options = {"folder": tmp_path, "ENVIRONMENT": "production"}
    modules, events = output_of("module", "list", **options).split("\n\n")
    lines = modules.splitlines()
    assert lines[0].split("  ")[0] == "MODULE"
    rows = {line.split()[0]: re.split(r"  +", line) for line in lines[1:]}
    assert rows["items"][1:] == [
        "audit, storage_quotas, users",
        "6",
        "items",
        "items:read|write|delete|admin",
    ]
    assert rows["health"][1] == "-"
    notice = r"users.PasswordChanged +accounts.notify_password_change +after the commit"
    assert re.search(notice, events)
    assert re.search(r"users.UserDeleted +auth.clear_own_cookies +in the transaction", events)

    lines = output_of("routes", **options).splitlines()[1:]
    found = [tuple(line.split(maxsplit=2)) for line in lines]
    assert found == sorted(found, key=lambda row: (row[1], row[0]))
    assert any(re.fullmatch(r"POST +/api/v1/items +items:write +items", line) for line in lines)
    assert any(re.fullmatch(r"GET +/errors/{code} +ignored +core", line) for line in lines)
    assert [path.name for path in tmp_path.iterdir()] == []


@pytest.mark.slow
def test_openapi_goes_to_standard_output_or_a_file(tmp_path: Path) -> None:
    printed = output_of("openapi", folder=tmp_path)
    assert json.loads(printed)["paths"]["/api/v1/items"]["get"]
    said = output_of("openapi", "--output", "api.json", folder=tmp_path)
    assert said == "Wrote api.json.\n"
    assert (tmp_path / "api.json").read_text() == printed
    assert refusal("openapi", "--output", "no/api.json", folder=tmp_path) == (
        "no/api.json cannot be written (No such file or directory): "
        "give another file with --output."
    )


# Databases that cannot be used


def test_unreachable_server_is_explained(tmp_path: Path) -> None:
    url = "postgresql://ada:s3cret@127.0.0.1:1/app"
    done = backend("db", "upgrade", folder=tmp_path, DATABASE_URL=url)
    assert done.returncode == 1
    assert done.stderr == (
        "PostgreSQL at 127.0.0.1:1 cannot be reached (Connection refused): "
        "start it, or correct DATABASE_URL. Kind of database error: down.\n"
    )
    assert "s3cret" not in done.stdout + done.stderr


def test_missing_database_is_explained(tmp_path: Path, own_database_url: str) -> None:
    url = re.sub(r"/t_\w+", "/missing", own_database_url)
    said = refusal("dev", "--port", "0", folder=tmp_path, DATABASE_URL=url)
    socket = re.search(r"createdb --host=(\S+) --port=5432 --username=postgres missing`", said)
    assert socket
    assert said.startswith(f"The server at {socket[1]} has no database missing: make it with `")
    assert Path(socket[1]).is_dir()


def test_unknown_role_is_explained(tmp_path: Path, own_database_url: str) -> None:
    url = own_database_url.replace("postgres@", "ghost@")
    said = refusal("db", "upgrade", folder=tmp_path, DATABASE_URL=url)
    assert 'refuses the connection (role "ghost" does not exist): correct DATABASE_URL.' in said
    assert said.endswith(" Kind of database error: misconfigured (SQLSTATE 28000).")


def test_unreadable_url_is_explained_without_it(tmp_path: Path) -> None:
    url = "postgresql://ada:pass%word@localhost/app"
    said = refusal("db", "upgrade", folder=tmp_path, DATABASE_URL=url)
    assert said == (
        "The settings are not usable:\n"
        "  DATABASE_URL: write % in the user name or the password as %25."
    )


def test_unwritable_data_folder_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "locked").mkdir(mode=0o555)
    reasons = {"file": "Not a directory"}
    if os.geteuid():  # root can write everywhere
        reasons["locked"] = "Permission denied"
    for name, reason in reasons.items():
        folder = tmp_path / name / "data"
        assert refusal("dev", "--port", "0", folder=tmp_path, DATA_DIR=folder) == (
            f"The data folder {folder} cannot be written ({reason}): "
            "make it yours, or set DATA_DIR to a folder of your own."
        )


# The schema


@pytest.mark.slow
def test_moves_the_schema_up_and_down(tmp_path: Path, empty_url: str) -> None:
    def said(*command: str) -> str:
        return output_of("db", *command, folder=tmp_path, DATABASE_URL=empty_url).strip()

    newest = said("upgrade").removeprefix("The schema is at ").rstrip(".")
    assert re.fullmatch(r"\d{4}", newest)
    assert said("upgrade") == f"The schema is at {newest}, as it was."
    assert said("downgrade", "base") == "The schema is at nothing, as before the first migration."
    assert said("upgrade", "0001") == "The schema is at 0001."
    assert said("downgrade", "-1") == "The schema is at nothing, as before the first migration."
    refused = refusal("db", "check", folder=tmp_path, DATABASE_URL=empty_url)
    assert refused == (
        f"The schema is at nothing, as before the first migration, but the code needs {newest}: "
        "run `backend db upgrade`."
    )


def test_unknown_revisions_are_explained(tmp_path: Path, own_database_url: str) -> None:
    said = refusal("db", "downgrade", "0999", folder=tmp_path, DATABASE_URL=own_database_url)
    assert said.startswith("There is no way to revision 0999 (")
    with closing(psycopg.connect(own_database_url, autocommit=True)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0998'")
    said = refusal("dev", "--port", "0", folder=tmp_path, DATABASE_URL=own_database_url)
    assert said.startswith("The database is at revision 0998, which this code does not have: ")


def test_refused_migration_is_explained(tmp_path: Path, empty_url: str) -> None:
    with closing(psycopg.connect(empty_url, autocommit=True)) as connection:
        connection.execute("CREATE TABLE roles ()")
    said = refusal("db", "upgrade", folder=tmp_path, DATABASE_URL=empty_url)
    assert said == (
        'The migration was refused (relation "roles" already exists): '
        "correct it, or the data it depends on, and run it again. "
        "Kind of database error: wrong_schema (SQLSTATE 42P07)."
    )


@pytest.mark.slow
def test_two_commands_share_the_embedded_server(tmp_path: Path, data: Path) -> None:
    commands = [
        subprocess.Popen(
            [sys.executable, "-c", MAIN, "db", "upgrade"],
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for command in commands:
        said, complaint = command.communicate(timeout=60)
        assert (command.returncode, complaint) == (0, "")
        assert re.match(r"The schema is at \d{4}", said)
    assert postmaster(data) is None
    assert f"✓ The schema is at {newest_revision()}" in output_of("doctor", folder=tmp_path)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the code to change."""
    for name in ("backend", "migrations", "pyproject.toml"):
        source, target = ROOT / name, tmp_path / name
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    return tmp_path


def add_colour(project: Path) -> None:
    models = project / "backend" / "modules" / "items" / "models.py"
    models.write_text(models.read_text() + "    colour: str | None = Field(None, max_length=20)\n")


@pytest.mark.slow
def test_writes_a_migration_for_changed_tables(project: Path, empty_url: str) -> None:
    here = {"folder": project, "project": project, "DATABASE_URL": empty_url}
    said = output_of("db", "revision", "nothing", **here)
    assert said == (
        "There is nothing to migrate: the migrations make exactly the tables of the code.\n"
    )
    add_colour(project)
    said = refusal("db", "check", **here)
    assert said == (
        "The models and the database differ:\n"
        "items.colour: the column exists in the models, but not in the database.\n"
        'Write the migration with: make migration m="what changes"'
    )
    said = output_of("db", "revision", "add colour", **here)
    number = next_revision()
    path = f"migrations/versions/{number}_add_colour.py"
    assert said == f"Wrote {path}. Read it, then apply it with: backend db upgrade\n"
    text = (project / path).read_text()
    assert f'revision = "{number}"' in text
    assert 'op.add_column("items", sa.Column("colour", sa.String(20), nullable=True))' in text
    assert output_of("db", "upgrade", **here) == f"The schema is at {number}.\n"
    assert output_of("db", "check", **here).endswith(f"it is at {number}.\n")


@pytest.mark.slow
def test_check_runs_the_migrations_on_an_empty_database(project: Path) -> None:
    here = {"folder": project, "project": project}
    head = output_of("db", "check", **here)
    assert re.fullmatch(r"The migrations up to \d{4} make exactly the tables of the code\.\n", head)
    assert not (project / "data").exists()


def test_migrations_are_written_in_development(tmp_path: Path) -> None:
    assert refusal("db", "revision", " ", folder=tmp_path).startswith("The migration needs a name")
    said = refusal(
        "db",
        "revision",
        "x",
        folder=tmp_path,
        ENVIRONMENT="staging",
        DATABASE_URL="postgresql://nowhere/app",
        SECRET_KEY="kQ5mR8vTz2LxWc7nYp4Js9HdGb3FaEuq",
        ALLOWED_HOSTS="example.com",
    )
    assert said == "Migrations are written in development: set ENVIRONMENT=development."


# Administrators


def test_makes_an_administrator_from_the_environment(tmp_path: Path, empty_url: str) -> None:
    command = ["users", "create-admin", "--email", "Ada@example.com"]
    here = {"folder": tmp_path, "DATABASE_URL": empty_url, "FIRST_ADMIN_PASSWORD": PASSWORD}
    assert "run `backend db upgrade`." in refusal(*command, **here)
    output_of("db", "upgrade", **here)
    assert re.match(r"Made \S+ an administrator\.\n", output_of(*command, **here))
    assert re.match(r"There is an account \S+ already: ", refusal(*command, **here))
    with closing(psycopg.connect(empty_url)) as connection:
        rows = connection.execute("SELECT role_name, is_verified FROM user_roles, users")
        assert rows.fetchall() == [("admin", True)]


@pytest.mark.parametrize(
    ("email", "password", "said"),
    [
        ("ada", PASSWORD, "The email is refused ("),
        ("ada@example.com", "short", "The password is refused (Must have at least 8 characters): "),
    ],
)
def test_refused_accounts_are_explained(
    tmp_path: Path, own_database_url: str, email: str, password: str, said: str
) -> None:
    command = ["users", "create-admin", "--email", email, "--password", password]
    assert refusal(*command, folder=tmp_path, DATABASE_URL=own_database_url).startswith(said)


def test_needs_a_terminal_to_ask_in(tmp_path: Path) -> None:
    said = refusal("users", "create-admin", folder=tmp_path, stdin="ada@example.com\n")
    assert said == (
        "There is no terminal to ask in: give --email, and the password in the environment "
        "variable FIRST_ADMIN_PASSWORD."
    )


@pytest.mark.slow
def test_asks_for_what_is_not_given(tmp_path: Path, own_database_url: str) -> None:
    import pty

    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        command = [sys.executable, "-c", MAIN]
        command += ["users", "create-admin"]
        os.execve(command[0], command, environment(DATABASE_URL=own_database_url))
    shown = ""
    answers = {"E-mail address: ": "ada@example.com", "Password: ": PASSWORD}
    answers["Repeat for confirmation: "] = PASSWORD
    with os.fdopen(terminal, "r+b", buffering=0) as screen:
        for question, answer in answers.items():
            while not shown.endswith(question):
                shown += screen.read(1).decode()
            screen.write(f"{answer}\n".encode())
        try:
            while text := screen.read(1000):
                shown += text.decode()
        except OSError:
            pass  # how Linux reports the end of a terminal
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert "Made ada@example.com an administrator." in shown
    assert PASSWORD not in shown


# The doctor


def test_doctor_finds_nothing_wrong_at_first(tmp_path: Path) -> None:
    said = output_of("doctor", "--port", "0", folder=tmp_path)
    assert all(line.startswith("✓ ") for line in said.splitlines())
    assert "The database will be made by the first `backend dev`" in said


def test_doctor_says_how_to_mend_what_is_wrong(tmp_path: Path, empty_url: str) -> None:
    done = backend("doctor", "--port", "0", folder=tmp_path, DATABASE_URL=empty_url)
    assert done.returncode == 1
    wrong = [line for line in done.stdout.splitlines() if line.startswith("✗")]
    (only,) = wrong
    assert re.match(r"✗ The schema is at nothing, .+ needs \d{4}: run `backend db upgrade`", only)
    url = "postgresql://ada:s3cret@127.0.0.1:1/app"
    done = backend("doctor", "--port", "0", folder=tmp_path, DATABASE_URL=url)
    assert done.returncode == 1
    assert "✗ PostgreSQL at 127.0.0.1:1 cannot be reached (Connection refused): " in done.stdout
    done = backend("doctor", folder=tmp_path, ENVIRONMENT="production")
    assert done.returncode == 1
    assert "✗ SECRET_KEY is missing: make one with `openssl rand -base64 48`.\n" in done.stdout
