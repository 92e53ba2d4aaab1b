"""pg_dump and pg_restore: where they are found, and how they connect."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from backend.cli.terminal import CommandError
from backend.dev.embedded_host import EmbeddedError, binaries
from backend.product import NAME

# Debian installs each major version in a folder of its own, outside PATH.
_PACKAGES = Path("/usr/lib/postgresql")


def program(name: str, oldest: int) -> Path:
    """Return the path of `name`, of this major version or of the next newer one.

    Programs of PATH and of Debian's folders come before those of the embedded PostgreSQL, which
    cannot use TLS. Raise `CommandError` if all are older than the server.
    """
    installed = [(major(path), path) for path in _installed(name)]
    embedded = [(major(path), path) for path in _embedded(name)]
    for found in (installed, embedded):
        if usable := sorted(each for each in found if each[0] >= oldest):
            return usable[0][1]
    if not installed and not embedded:
        raise CommandError(
            f"{name} is not installed: install the client programs of PostgreSQL "
            f"{oldest} or newer (Debian: postgresql-client-{oldest}), or "
            f"{NAME}[development]."
        )
    version, path = max(installed + embedded)
    raise CommandError(
        f"{path} is of PostgreSQL {version}, older than the server or the backup ({oldest}), and "
        f"cannot read it: install the client programs of PostgreSQL {oldest}."
    )


def _installed(name: str) -> list[Path]:
    paths = [Path(found)] if (found := shutil.which(name)) else []
    return [*paths, *_PACKAGES.glob(f"*/bin/{name}")]


def _embedded(name: str) -> list[Path]:
    with suppress(EmbeddedError):
        path = binaries() / name
        return [path] if path.exists() else []
    return []


def major(path: Path) -> int:
    """Return the major version of a program; 0 if it does not run."""
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return 0
    match = re.search(r"\(PostgreSQL\) (\d+)", done.stdout)
    return int(match[1]) if match else 0


def connection(url: str) -> tuple[str, Mapping[str, str]]:
    """Return a connection string without the password, and the environment with it.

    Arguments of a process are visible to all users of the machine.
    """
    parts = dict(conninfo_to_dict(url))
    if "sslpassword" in parts:
        raise CommandError(
            "The URL of the database has sslpassword, which pg_dump and pg_restore take from their "
            "arguments only, where every user of the machine sees it: use a key without password."
        )
    password = parts.pop("password", None)
    secrets = {} if password is None else {"PGPASSWORD": str(password)}
    # The variables of libpq count for the application as well.
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in ("PATH", "HOME", "LD_LIBRARY_PATH") or name.startswith("PG")
    }
    # Messages are parsed, so they must not depend on the locale.
    environment = {**kept, "LC_ALL": "C", **secrets}
    return make_conninfo("", **parts), environment
