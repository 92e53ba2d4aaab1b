"""`backend doctor` names the trouble of a running system; each test causes one."""

import asyncio
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from backend.cli import certificates, incidents, proxies
from backend.cli.findings import Finding, bounded, passed
from backend.core.app import create_app
from backend.core.context import Context
from backend.core.http.proxy_watch import proxy_watch
from backend.core.settings import Settings, SettingsBase
from backend.integrations.email.smtp_url import parse_smtp_url
from tests.actors import Client
from tests.applications import DEFAULTS, MODULES, make_context, setting_kinds
from tests.certificates import make_certificate
from tests.commands import backend, eventually
from tests.mail_servers import Postbox, mail_server, never_respond, scripted_server
from tests.postgres_servers import primary_and_standby


@pytest.fixture
def db(own_database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(own_database_url, autocommit=True) as connection:
        yield connection


def only(findings: Iterable[Finding]) -> Finding:
    (finding,) = findings
    return finding


def test_a_check_that_breaks_or_hangs_is_a_failure() -> None:
    def breaks() -> Iterator[Finding]:
        yield passed("One thing works")
        raise LookupError("a secret")

    def hangs() -> list[Finding]:
        time.sleep(1)
        return []

    assert bounded("The other", breaks) == [
        (True, "One thing works"),
        (False, "The other cannot be checked (LookupError)."),
    ]
    late = (False, "The other cannot be checked: no response within 0.1 s.")
    assert bounded("The other", hangs, 0.1) == [late]


def test_connections(own_database_url: str) -> None:
    good, text = only(incidents.connections(own_database_url, 1))
    assert good is True
    assert " connections of the database are used (" in text
    few, text = only(incidents.connections(own_database_url, 10_000))
    assert few is None
    assert "fewer than another process uses (10000)" in text


def test_an_open_transaction(own_database_url: str, db: psycopg.Connection) -> None:
    check = incidents.oldest_transaction
    assert only(check(own_database_url)) == (
        True,
        "No transaction is open for long (none is open)",
    )
    db.execute("SET application_name = 'the report'")
    db.execute("BEGIN")
    db.execute("SELECT 1")
    time.sleep(0.01)
    good, text = only(check(own_database_url))
    assert good is True
    assert "(the oldest is 0." in text
    for endless, result in ((60, None), (0, False)):
        found, text = only(check(own_database_url, long=0, endless=endless))
        assert found is result
        pid = db.info.backend_pid
        assert f"Process {pid} (the report, role postgres, idle in transaction)" in text
        assert f"SELECT pg_terminate_backend({pid})" in text


def test_who_blocks_whom(own_database_url: str, db: psycopg.Connection) -> None:
    assert only(incidents.blocked_statements(own_database_url)) == (
        True,
        "No statement waits for a lock",
    )
    db.execute("BEGIN")
    db.execute("LOCK TABLE users")
    with psycopg.connect(own_database_url) as waiting:
        thread = Thread(target=waiting.execute, args=("SELECT count(*) FROM users",))
        thread.start()

        def blocked() -> list[Finding]:
            return list(incidents.blocked_statements(own_database_url, seconds=0))

        eventually(lambda: blocked()[0][0] is False)
        _, text = only(blocked())
        assert f"Process {waiting.info.backend_pid} has waited 0 s for a lock on users" in text
        assert f"of process {db.info.backend_pid} (" in text
        db.execute("ROLLBACK")
        thread.join()


def test_jobs(own_database_url: str, db: psycopg.Connection) -> None:
    def check(*, is_local: bool = False, late: float = 300) -> list[Finding]:
        return list(incidents.jobs(own_database_url, is_local=is_local, late=late))

    assert only(check(is_local=True)) == (True, "No job waits; no worker runs")
    assert only(check())[0] is False
    db.execute(
        "INSERT INTO procrastinate_jobs (queue_name, task_name, args) VALUES ('x', 'y', '{}')"
    )
    for is_local, result in ((True, None), (False, False)):
        found, text = only(check(is_local=is_local))
        assert found is result
        assert "Waiting jobs: 1, the oldest for 0 s; no worker runs: start `backend worker`" in text
    db.execute("INSERT INTO procrastinate_workers DEFAULT VALUES")
    assert only(check())[0] is True
    found, text = only(check(late=0))
    assert found is False
    assert "although a worker runs" in text
    db.execute("UPDATE procrastinate_jobs SET status = 'failed'")
    good, dead = check()
    assert good[0] is True
    assert dead[0] is None
    assert "Jobs that have failed for good: 1." in dead[1]


def test_the_clock(own_database_url: str, db: psycopg.Connection) -> None:
    assert only(incidents.clock(own_database_url))[0] is True
    # A database whose clock is a minute ahead.
    db.execute("CREATE SCHEMA ahead")
    db.execute(
        "CREATE FUNCTION ahead.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS "
        "$$ SELECT pg_catalog.clock_timestamp() + interval '1 minute' $$"
    )
    url = f"{own_database_url}&options=-csearch_path%3Dahead,pg_catalog"
    found, text = only(incidents.clock(url))
    assert found is False
    assert "is 60.0 s behind that of the database" in text


@pytest.mark.parametrize(
    ("days", "result", "text"),
    [
        (60, True, "is valid for 60 more days"),
        (5, None, "is valid for 5 more days: renew it"),
        (-1, False, "is refused (certificate has expired), so no mail leaves"),
    ],
)
async def test_certificates_of_mail_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, result: bool | None, text: str
) -> None:
    file, key = make_certificate(tmp_path / "tls", days)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(file, key)
    async with (
        mail_server(Postbox(), ssl=server) as implicit,
        mail_server(Postbox(), tls_context=server) as explicit,
    ):
        for url in (f"smtps://127.0.0.1:{implicit}", f"smtp://127.0.0.1:{explicit}"):
            found = await asyncio.to_thread(list, certificates.mail_server(parse_smtp_url(url)))
            assert only(found)[0] is result
            assert text in only(found)[1]


@pytest.mark.parametrize(
    ("days", "result", "text"),
    [
        (60, True, "is valid for 60 more days"),
        (5, None, "is valid for 5 more days: renew it"),
        (-1, False, "is refused (certificate has expired)"),
    ],
)
async def test_certificates_of_databases(
    tmp_path: Path, days: int, result: bool | None, text: str
) -> None:
    """The embedded PostgreSQL has no TLS, so a server of its own speaks the beginning."""
    file, key = make_certificate(tmp_path / "tls", days)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file, key)

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(8) == b"\0\0\0\x08\x04\xd2\x16\x2f"
        writer.write(b"S")
        with suppress(ssl.SSLError):
            await writer.start_tls(context)
            await reader.read()

    async with scripted_server(respond) as port:
        url = f"postgresql://127.0.0.1:{port}/x?sslmode=verify-full&sslrootcert={file}"
        found = await asyncio.to_thread(list, certificates.database("DATABASE_URL", url))
    assert only(found)[0] is result
    assert text in only(found)[1]


def test_connections_without_verification_take_any_certificate() -> None:
    assert list(certificates.database("DATABASE_URL", "postgresql://h/x?sslmode=require")) == []


async def test_other_troubles_of_mail_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "TIMEOUT_SECONDS", 0.2)
    async with mail_server(Postbox()) as port, scripted_server(never_respond) as silent:
        for url, result in (
            (f"smtp://127.0.0.1:{port}", True),
            (f"smtp://127.0.0.1:{silent}", False),
            ("smtp://127.0.0.1:1", False),
        ):
            found = await asyncio.to_thread(list, certificates.mail_server(parse_smtp_url(url)))
            assert only(found)[0] is result


@pytest.mark.parametrize(
    ("peer", "trusted", "headers", "result", "text"),
    [
        (
            "10.0.0.7",
            "10.0.0.0/8",
            {"X-Forwarded-For": "192.0.2.1"},
            True,
            "No request of",
        ),
        (
            "10.0.0.7",
            "10.0.0.0/8",
            {},
            None,
            "The proxy 10.0.0.7 of TRUSTED",
        ),
        ("10.0.0.7", "10.1.0.0/16", {"X-Forwarded-For": "::2"}, False, "from 10.0.0.7, which"),
        ("8.8.8.8", "10.1.0.0/16", {"X-Forwarded-For": "::2"}, None, "from 8.8.8.8, which"),
        ("10.0.0.7", "10.1.0.0/16", {}, True, "No request of"),
    ],
)
async def test_requests_that_contradict_trusted_proxies(
    database_url: str,
    peer: str,
    trusted: str,
    headers: dict[str, str],
    result: bool | None,
    text: str,
    context: Context,
) -> None:
    values: dict[str, Any] = {"trusted_proxies": (trusted,)}
    made = make_context(database_url, **values)
    made.state.started = True
    async with Client(create_app(made, MODULES), address=peer) as client:
        # A health check goes past the proxy.
        await client.get("/health/live", headers={"X-Forwarded-For": "192.0.2.1"})
        await client.get("/api/v1/users/me", headers=headers)
    await proxy_watch(made).report(made)
    await made.close()
    loaded: dict[type[SettingsBase], SettingsBase] = {
        kind: context.module_settings[kind] for kind in setting_kinds() if kind is not Settings
    }
    loaded[Settings] = Settings(
        _env_file=None,
        **{name: value for name, value in DEFAULTS.items() if name in Settings.model_fields},
        database_url=SecretStr(database_url),
    )
    found = await asyncio.to_thread(list, proxies.last_requests(MODULES, loaded))
    assert only(found)[0] is result
    assert text in only(found)[1]


@pytest.mark.slow
def test_a_trouble_ends_no_other_check(
    own_database_url: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    db.execute("BEGIN")
    db.execute("LOCK TABLE users")
    with psycopg.connect(own_database_url) as waiting:
        pid = waiting.info.backend_pid
        thread = Thread(target=waiting.execute, args=("SELECT count(*) FROM users",))
        thread.start()
        time.sleep(incidents.LONG_WAIT)
        said = backend(
            "doctor",
            *("--port", "0"),
            folder=tmp_path,
            DATABASE_URL=own_database_url,
            SMTP_URL="smtp://127.0.0.1:1",
        )
        db.execute("ROLLBACK")
        thread.join()
    assert said.returncode == 1
    lines = said.stdout.splitlines()
    mail, wait = (line for line in lines if line.startswith("✗"))
    assert mail.startswith("✗ No mail leaves: the mail server 127.0.0.1:1 cannot be used")
    assert wait.startswith(f"✗ Process {pid} has waited ")
    for text in ("The clocks of this machine", "No job waits", "No request of the last hour"):
        assert any(line.startswith(f"✓ {text}") for line in lines)
    assert lines[-1].startswith("✓ Port ")


@pytest.mark.slow
def test_a_replica_and_used_up_connections() -> None:
    with primary_and_standby() as (primary, standby):

        def lag(url: str) -> Finding:
            return only(incidents.replica(url, primary.url(), 1.0))

        assert lag(standby.url())[0] is True
        assert "no standby" in lag(primary.url())[1]
        standby.execute("SELECT pg_wal_replay_pause()")
        primary.execute("CREATE TABLE made_late (id int)", "trellis")
        found, text = lag(standby.url())
        assert found is False
        assert "bytes of writes that are 1 s old" in text
        standby.execute("SELECT pg_wal_replay_resume()")
        eventually(lambda: lag(standby.url())[0] is True)

        primary.end()
        primary.start(superuser_reserved_connections="3", max_connections="13")
        with ExitStack() as stack:
            for _ in range(9):
                stack.enter_context(psycopg.connect(primary.url()))
            found, text = only(incidents.connections(primary.url(), 20))
        assert found is False
        assert "10 of 10 connections of the database are used" in text
