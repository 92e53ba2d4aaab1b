"""An import creates all accounts of a file or none, and reports every rejected line."""

import json
from pathlib import Path
from typing import Any

import bcrypt
import psycopg
import pytest

from backend.cli.import_files import ImportRefusedError
from backend.cli.imports import import_file as import_users
from backend.core.context import Context
from backend.modules.users.imports import NAMED, ImportReport
from tests.actors import Actor, Client
from tests.commands import output_of, refusal

LOGIN = "/api/v1/auth/login"
HASH = bcrypt.hashpw(b"their own", bcrypt.gensalt(4)).decode()
HEADING = "email,username,full_name,is_active,is_verified,roles,password_hash"
STORED = (
    "SELECT email, username, full_name, is_active, is_verified,"
    " array(SELECT role_name FROM user_roles WHERE user_id = id ORDER BY 1)"
    " FROM users ORDER BY id"
)


def rows(url: str, statement: str = STORED) -> list[Any]:
    with psycopg.connect(url) as connection:
        return connection.execute(statement.encode()).fetchall()


def written(folder: Path, *lines: str, name: str = "users.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes("\n".join(lines).encode(encoding))
    return path


def line_errors(report: ImportReport) -> list[tuple[int, str]]:
    return [(error.line, error.reason) for error in report.errors]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["", "\r"])
async def test_a_csv(
    context: Context, client: Client, database_url: str, tmp_path: Path, encoding: str, end: str
) -> None:
    lines = (
        HEADING,
        f'Ada@Example.COM,Ada,"Lovelace, ""Ada""",yes,1,editor;member;editor,{HASH}',
        "",
        ",,,,,,",
        'bob@example.com,,"Two\nlines",false,NO,"[""viewer""]",',
        "josé@xn--mnchen-3ya.example,,,,,[],",
    )
    path = written(tmp_path, *(f"{line}{end}" for line in lines), encoding=encoding)
    report = await import_users(context, path, dry_run=True)
    assert (report.accepted, report.refused, rows(database_url)) == (3, 0, [])
    positions: list[int] = []
    report = await import_users(context, path, dry_run=False, progress=positions.append)
    assert (report.accepted, report.refused, report.errors) == (3, 0, [])
    assert positions == [path.stat().st_size]
    assert rows(database_url) == [
        ("Ada@example.com", "Ada", 'Lovelace, "Ada"', True, True, ["editor", "member"]),
        ("bob@example.com", None, "Two\nlines", False, False, ["viewer"]),
        ("josé@münchen.example", None, None, True, False, []),
    ]
    for name in ("ADA@example.com", "ada"):
        answer = await client.post(LOGIN, json={"email": name, "password": "their own"})
        assert answer.status_code == 200
    answer = await client.post(LOGIN, json={"email": "bob@example.com", "password": "their own"})
    assert answer.status_code == 401
    # No mail is sent, and each account has an audit event.
    assert rows(database_url, "SELECT FROM procrastinate_jobs") == []
    events = rows(
        database_url,
        "SELECT target_id = users.id::text, target_type, outcome, actor_id, changes->'roles'->'new'"
        " FROM audit_events JOIN users ON target_id = users.id::text"
        " JOIN audit_waiting ON event_id = audit_events.id"
        " WHERE action = 'user.create' ORDER BY users.id",
    )
    assert events == [
        (True, "user", "success", None, ["editor", "member"]),
        (True, "user", "success", None, ["viewer"]),
        (True, "user", "success", None, []),
    ]


@pytest.mark.parametrize("name", ["users.ndjson", "users.jsonl", "users.txt"])
async def test_ndjson(context: Context, database_url: str, tmp_path: Path, name: str) -> None:
    users: list[dict[str, Any]] = [
        {"email": "ada@example.com", "roles": ["editor"], "is_verified": True, "username": None},
        {"email": "bob@example.com", "roles": "member;viewer", "is_active": 0},
    ]
    path = written(tmp_path, "", *map(json.dumps, users), "", name=name)
    report = await import_users(context, path, dry_run=False)
    assert (report.accepted, report.errors) == (2, [])
    assert rows(database_url) == [
        ("ada@example.com", None, None, True, True, ["editor"]),
        ("bob@example.com", None, None, False, False, ["member", "viewer"]),
    ]
    refused = await import_users(
        context,
        written(tmp_path, '{"email": "c@d.de", "x": 1}', "[]", "{", name=name),
        dry_run=True,
    )
    assert line_errors(refused) == [
        (1, "x: There is no such column."),
        (2, "This is not an object in JSON."),
        (3, "This is not valid JSON."),
    ]


async def test_refused_lines_are_named_and_nothing_is_stored(
    ada: Actor, context: Context, database_url: str, tmp_path: Path
) -> None:
    before = rows(database_url)
    path = written(
        tmp_path,
        "email,username,roles,is_active,password_hash",
        "fine@example.com,,,,",
        "nope,,,,",
        "ADA@EXAMPLE.com,,,,",
        "other@example.com,ADA,,,",
        "νίκος@example.com,,,,",
        "ΝΊΚΟΣ@example.com,,,,",
        "role@example.com,,member;nobody,,",
        "flag@example.com,,,maybe,",
        "hash@example.com,,,,$argon2id$secret",
        "hash@example.com,,,,$2b$31$" + "a" * 53,
        "few@example.com",
        f'deep@example.com,,"{"[" * 50_000}",,',
        '"two\nlines@example.com",a b,,,',
        ",name,,,",
    )
    report = await import_users(context, path, dry_run=False)
    assert (report.accepted, report.refused) == (2, 12)
    found = line_errors(report)
    assert [(line, reason.partition(":")[0]) for line, reason in found] == [
        (3, "email"),
        (4, "email"),
        (5, "username"),
        (7, "email"),
        (8, "roles"),
        (9, "is_active"),
        (10, "password_hash"),
        (11, "password_hash"),
        (12, "Has 1 cells, where the first line has 5."),
        (13, "roles"),
        (14, "email"),
        (14, "username"),
        (16, "email"),
    ]
    assert found[1][1] == "email: Another account has this e-mail address."
    assert found[3][1] == "email: An earlier row has this e-mail address."
    assert found[-1][1] == "email: Is missing."
    for value in ("nope", "nobody", "maybe", "secret", "example.com"):
        assert value not in str(found)
    assert rows(database_url) == before


async def test_of_many_refused_lines_the_first_are_named(
    context: Context, database_url: str, tmp_path: Path
) -> None:
    # The third batch repeats addresses of the first one.
    lines = [f"{number}@example.com" for number in range(2_500)]
    lines[2_000:2_400] = lines[:400]
    report = await import_users(context, written(tmp_path, "email", *lines), dry_run=False)
    assert (report.accepted, report.refused) == (2_100, 400)
    reason = "email: An earlier row has this e-mail address."
    assert line_errors(report) == [(number, reason) for number in range(2_002, 2_002 + NAMED)]
    assert rows(database_url) == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"ada@example.com,ada\nbob@example.com,bob\n", "has no column email"),
        (b"email;username\na@b.de;a\n", "has no column email"),
        (b"email,password,roles\n", "not known (password)"),
        (b"email,\xc3\xa9,\n", "not known (one without a name, one without a name)"),
        (b"email,email\n", "names a column twice"),
        (b'email\n"a"b\n', "is not CSV"),
        (b'email\n"never closed\n', "is not CSV"),
        (b"email\n\xff\xfe\n", "is not UTF-8"),
        ("email\na@b.de\n".encode("utf-16"), "is not UTF-8"),
        (b"email\n" + b"x" * 1_000_001, "more than 1000000 characters"),
    ],
)
async def test_files_that_cannot_be_read(
    context: Context, tmp_path: Path, content: bytes, sentence: str
) -> None:
    path = tmp_path / "users.csv"
    path.write_bytes(content)
    with pytest.raises(ImportRefusedError) as refused:
        await import_users(context, path, dry_run=False)
    assert sentence in str(refused.value)
    assert "@" not in str(refused.value)


async def test_a_list_in_json_is_told_what_to_become(context: Context, tmp_path: Path) -> None:
    path = written(tmp_path, '[{"email": "a@b.de"}]', name="users.json")
    with pytest.raises(ImportRefusedError, match="one object on each line"):
        await import_users(context, path, dry_run=False)


def test_the_command(own_database_url: str, tmp_path: Path) -> None:
    written(tmp_path, "email", "ada@example.com", "bob@example.com")
    options = {"folder": tmp_path, "DATABASE_URL": own_database_url}
    said = output_of("users", "import", "users.csv", "--dry-run", **options)
    assert said == "2 accounts can be imported; nothing was changed.\n"
    assert output_of("users", "import", "users.csv", **options) == "2 accounts imported.\n"
    assert [row[0] for row in rows(own_database_url)] == ["ada@example.com", "bob@example.com"]
    assert refusal("users", "import", "users.csv", **options) == (
        "Nothing was imported, because 2 lines of users.csv cannot be:\n"
        "  line 2: email: Another account has this e-mail address.\n"
        "  line 3: email: Another account has this e-mail address.\n"
        "Correct the file, and run this again."
    )
    assert refusal("users", "import", "none.csv", **options) == (
        "none.csv cannot be read (No such file or directory): give a CSV or NDJSON file."
    )
