"""The command `backend dev`: start, reload and stop."""

import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from backend.addresses.host_names import admission
from backend.cli.dev import hosts, origins
from backend.core.settings import Settings
from backend.dev.embedded_host import locked
from backend.dev.embedded_server import data_folder
from backend.product import TITLE
from tests.commands import (
    ROOT,
    Running,
    backend,
    data_dir,
    eventually,
    fetch,
    output_of,
    postmaster,
    refusal,
    running,
)

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    with data_dir(tmp_path) as folder:
        yield folder


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder with a migrated database, because most starts are not the first."""
    folder = tmp_path_factory.mktemp("used")
    with data_dir(folder) as data:
        assert backend("db", "upgrade", folder=folder, DATA_DIR=data).returncode == 0
        yield data


def child(dev: Running, name: str) -> int:
    """Return the process id of the API or the worker once it runs."""
    found: list[int] = []

    def look() -> list[int]:
        for pid in dev.children():
            line = subprocess.run(
                ["ps", "-o", "command=", str(pid)], capture_output=True, text=True, check=False
            )
            if f"backend.cli.{name}" in line.stdout:
                found.append(pid)
        return found

    eventually(look)
    return found[0]


def panel(dev: Running) -> str:
    dev.wait_for("Stop +Ctrl-C")
    return dev.output


@pytest.mark.slow
def test_first_start_tells_all_a_stranger_needs(tmp_path: Path, data: Path) -> None:
    with running("dev", "--port", "0", folder=tmp_path, DATA_DIR="data") as dev:
        shown = panel(dev)
        assert re.match(
            r"Database    PostgreSQL 1\d\.\d+\nMigrations  \d{4}, applied now\nAPI         ready\n"
            rf"\n{TITLE} is running.\n\n",
            shown,
        )
        assert "Origins    http://localhost and http://127.0.0.1 on any port\n" in shown
        assert fetch(dev.url, "/health/ready")[0] == 200
        found = re.search(r"Password   (\S+) \(the first one; kept in data/admin_password\)", shown)
        assert found
        file = data / "admin_password"
        assert file.read_text() == found[1]
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        form = f"username=admin@example.com&password={found[1]}"
        assert fetch(dev.url, "/api/v1/auth/login", form)[0] == 200
        where = re.search("Data       (.+)", shown)
        assert where
        assert (tmp_path / where[1] / "data" / "PG_VERSION").exists()
        dev.kill(signal.SIGINT)
        assert dev.wait() == 0
    assert postmaster(data) is None


@pytest.mark.parametrize("number", STOP_SIGNALS)
@pytest.mark.parametrize(("group", "times"), [(False, 1), (True, 2)], ids=["parent", "all_twice"])
@pytest.mark.slow
def test_stops_all_at_the_first_signal(
    used: Path, tmp_path: Path, number: signal.Signals, group: bool, times: int
) -> None:
    with running("dev", "--port", "0", folder=tmp_path, DATA_DIR=used) as dev:
        panel(dev)
        asked = time.monotonic()
        for _ in range(times):
            dev.kill(number, group=group)
            time.sleep(0.05)
        assert dev.wait() == 0
        assert time.monotonic() - asked < 5
        assert postmaster(used) is None


@pytest.mark.parametrize("moment", ["Database", "API"])
@pytest.mark.slow
def test_stops_while_it_is_starting(used: Path, tmp_path: Path, moment: str) -> None:
    # If a process ends while it opens a file, Python closes the file with a warning.
    settings: dict[str, Any] = {"DATA_DIR": used, "PYTHONWARNINGS": "ignore::ResourceWarning"}
    with running("dev", "--port", "0", folder=tmp_path, **settings) as dev:
        eventually(lambda: moment in dev.output)
        dev.kill(signal.SIGINT, group=True)
        assert dev.wait() == 0
        assert "Error" not in dev.output


@pytest.mark.slow
def test_interrupt_of_the_first_start_leaves_nothing_behind(tmp_path: Path, data: Path) -> None:
    home = data_folder(data / "postgres")
    settings: dict[str, Any] = {"DATA_DIR": data, "PYTHONWARNINGS": "ignore::ResourceWarning"}
    with running("dev", "--port", "0", folder=tmp_path, **settings) as dev:
        eventually(lambda: any(home.glob("data.part-*/PG_VERSION")))
        dev.kill(signal.SIGINT, group=True)
        assert dev.wait() == 0
        assert dev.output.split() == ["Database"]
    assert not list(home.glob("data*"))


@pytest.mark.slow
def test_stops_while_another_command_starts_the_database(used: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"DATA_DIR": used, "PYTHONWARNINGS": "ignore::ResourceWarning"}
    with (
        locked(data_folder(used / "postgres") / "start.lock"),
        running("dev", "--port", "0", folder=tmp_path, **settings) as dev,
    ):
        dev.wait_for("Database")
        dev.kill(signal.SIGTERM)
        assert dev.wait() == 0


@pytest.mark.slow
def test_killed_api_ends_everything_with_a_sentence(own_database_url: str, tmp_path: Path) -> None:
    with running("dev", "--port", "0", folder=tmp_path, DATABASE_URL=own_database_url) as dev:
        panel(dev)
        os.kill(child(dev, "dev_api"), signal.SIGKILL)
        assert dev.wait() == 128 + signal.SIGKILL
        assert "The API was ended by SIGKILL, so everything stops.\n" in dev.output


@pytest.mark.slow
def test_runs_jobs_and_replaces_a_killed_worker(own_database_url: str, tmp_path: Path) -> None:
    enqueue = (
        "SELECT procrastinate_defer_jobs_v1(ARRAY[ROW('default', 'jobs.clean', 0, NULL, NULL,"
        " '{}', NULL)::procrastinate_job_to_defer_v1])"
    )
    with running("dev", "--port", "0", folder=tmp_path, DATABASE_URL=own_database_url) as dev:
        assert "Jobs       run by a worker beside the API\n" in panel(dev)
        dev.wait_for("worker_started")
        first = child(dev, "worker")
        os.kill(first, signal.SIGKILL)
        dev.wait_for("The worker ended by SIGKILL. It starts again now.\n")
        eventually(lambda: dev.output.count("worker_started") == 2)
        assert child(dev, "worker") != first
        done = dev.output.count("jobs.clean")
        with psycopg.connect(own_database_url, autocommit=True) as connection:
            connection.execute(enqueue)
        eventually(lambda: dev.output.count("jobs.clean") > done)
        assert fetch(dev.url, "/health/ready")[1]["checks"]["worker"]["status"] == "ok"
        dev.kill(signal.SIGINT)
        assert dev.wait() == 0


@pytest.mark.slow
def test_killed_database_is_healed(used: Path, tmp_path: Path) -> None:
    with running("dev", "--port", "0", folder=tmp_path, DATA_DIR=used) as dev:
        panel(dev)
        pid = postmaster(used)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        dev.wait_for("The database server had died and is running again.")
        eventually(lambda: fetch(dev.url, "/health/ready")[0] == 200)
        dev.kill(signal.SIGTERM)
        assert dev.wait() == 0


@pytest.mark.slow
def test_killed_parent_takes_all_with_it_and_the_next_start_works(
    own_database_url: str, tmp_path: Path
) -> None:
    with running("dev", "--port", "0", folder=tmp_path, DATABASE_URL=own_database_url) as dev:
        panel(dev)
        port = dev.url.rpartition(":")[2]
        assert child(dev, "dev_api") != child(dev, "worker")
        dev.kill(signal.SIGKILL)
        dev.wait()
        eventually(lambda: not dev.children())
    with running("dev", "--port", port, folder=tmp_path, DATABASE_URL=own_database_url) as again:
        panel(again)
        assert fetch(again.url, "/health/ready")[0] == 200
        again.kill(signal.SIGINT)
        assert again.wait() == 0


@pytest.mark.slow
def test_starts_the_api_again_when_its_code_changes(own_database_url: str, tmp_path: Path) -> None:
    project = tmp_path / "project"
    for name in ("backend", "migrations"):
        shutil.copytree(ROOT / name, project / name)
    file = project / "backend" / "modules" / "items" / "service.py"
    right = file.read_text()
    settings: dict[str, Any] = {"DATABASE_URL": own_database_url}
    with running("dev", "--port", "0", folder=project, project=project, **settings) as dev:
        dev.wait_for("worker_started")
        file.write_text(f"this is no Python\n{right}")
        dev.wait_for("backend/modules/items/service.py changed: starting the API again.")
        dev.wait_for(r"Module 'items' does not load: SyntaxError: .+\(service.py, line 1\)")
        dev.wait_for("The API ended with exit code 1. It starts again when its code changes.")
        file.write_text(right)
        # The port stays open; until then each response contains the reason.
        eventually(lambda: fetch(dev.url, "/health/ready")[0] != 503)
        assert fetch(dev.url, "/health/ready")[0] == 200
        eventually(lambda: dev.output.count("worker_started") == 2)
        cli = project / "backend" / "cli" / "worker.py"
        cli.write_text("raise SystemExit('broken on purpose')")
        dev.wait_for("The worker ended with exit code 1. It starts again when its code changes.")
        cli.write_text((ROOT / "backend" / "cli" / "worker.py").read_text())
        eventually(lambda: dev.output.count("worker_started") == 3)
        assert dev.output.count("broken on purpose") == 1
        dev.kill(signal.SIGINT)
        assert dev.wait() == 0


@pytest.mark.slow
def test_works_on_a_database_of_ones_own(own_database_url: str, tmp_path: Path) -> None:
    secret = "correct horse battery"
    settings: dict[str, Any] = {
        "DATABASE_URL": own_database_url,
        "FIRST_ADMIN_EMAIL": "ada@example.com",
        "FIRST_ADMIN_PASSWORD": secret,
    }
    with running("dev", "--port", "0", folder=tmp_path, **settings) as dev:
        shown = panel(dev)
        assert "Admin      ada@example.com\n  Password   that of FIRST_ADMIN_PASSWORD" in shown
        assert "Data       the database of DATABASE_URL, and data\n" in shown
        assert secret not in shown
        form = f"username=ada@example.com&password={secret.replace(' ', '+')}"
        assert fetch(dev.url, "/api/v1/auth/login", form)[0] == 200
        dev.kill(signal.SIGTERM)
        assert dev.wait() == 0


def test_taken_port_is_explained(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        taken.close()
        with subprocess.Popen(
            ["python3", "-m", "http.server", str(port), "--bind", "127.0.0.1"],
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        ) as other:
            try:
                eventually(lambda: _answers(port))
                said = refusal("dev", "--port", str(port), folder=tmp_path)
            finally:
                other.kill()
    option = f"--port {port + 1}"
    assert said == (
        f"Port {port} is taken by another program: stop it, or choose another port with {option} "
        f'(of make dev: args="{option}").'
    )


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
def test_second_start_on_the_same_port_is_explained(own_database_url: str, tmp_path: Path) -> None:
    with running("dev", "--port", "0", folder=tmp_path, DATABASE_URL=own_database_url) as dev:
        panel(dev)
        port = dev.url.rpartition(":")[2]
        said = refusal("dev", "--port", port, folder=tmp_path, DATABASE_URL=own_database_url)
        assert said.startswith(f"Port {port} is taken by another {TITLE}: stop it, or choose")
        found = output_of("doctor", "--port", port, folder=tmp_path, DATABASE_URL=own_database_url)
        assert f"✓ {TITLE} is running on port {port}\n" in found
        dev.kill(signal.SIGINT)
        assert dev.wait() == 0


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("no.such.host.invalid", "The host no.such.host.invalid is unknown"),
        (
            "203.0.113.7",
            "203.0.113.7 is not an address of this machine: choose another with --host.",
        ),
    ],
)
def test_unusable_host_is_explained(tmp_path: Path, host: str, said: str) -> None:
    assert said in refusal("dev", "--host", host, "--port", "0", folder=tmp_path)


def test_is_not_for_production(tmp_path: Path) -> None:
    said = refusal(
        "dev",
        folder=tmp_path,
        ENVIRONMENT="staging",
        BCRYPT_COST=12,
        DATABASE_URL="postgresql://nowhere/app",
        SECRET_KEY="kQ5mR8vTz2LxWc7nYp4Js9HdGb3FaEuq",
        ALLOWED_HOSTS="example.com",
        SMTP_URL="smtp://mail.example.com",
        EMAIL_FROM="no-reply@example.com",
        FRONTEND_URL="https://example.com",
    )
    assert said == (
        "`backend dev` is for development, and ENVIRONMENT is staging: use `backend serve`."
    )


@pytest.mark.parametrize(
    ("listed", "shown"),
    [
        ((), "http://localhost and http://127.0.0.1 on any port"),
        (
            ("https://app.example.com",),
            "https://app.example.com, http://localhost and http://127.0.0.1 on any port",
        ),
        (("*",), "every page may call (CORS_ORIGINS=*)"),
    ],
)
def test_the_panel_tells_which_pages_may_call(listed: tuple[str, ...], shown: str) -> None:
    assert origins(Settings(_env_file=None, cors_origins=listed)) == shown


@pytest.mark.parametrize(
    ("host", "listed", "foreign"),
    [
        *((host, (), False) for host in ("127.0.0.1", "::", "localhost", "mybox")),
        ("MyBox.local", (), True),
        ("mybox.local", ("api.example.com",), False),
    ],
)
def test_a_name_to_listen_on_is_answered(host: str, listed: tuple[str, ...], foreign: bool) -> None:
    suggested = hosts(Settings(_env_file=None, allowed_hosts=listed), host)
    assert bool(suggested) == foreign
    if foreign:
        allowed = Settings(_env_file=None, allowed_hosts=suggested["ALLOWED_HOSTS"]).allowed_hosts  # type: ignore[arg-type]  # read as from text
        admits = admission(allowed, local_only=True)
        assert admits is not None
        for name in ("mybox.local", "localhost", "app.localhost", "127.0.0.1", "[::1]"):
            assert admits(name)
        assert not admits("evil.example")
