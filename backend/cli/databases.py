"""The database of a command: the one in the settings, or the embedded one in the data folder."""

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from backend.cli.sessions import require_session
from backend.cli.terminal import CommandError, deferred_signals, require_writable
from backend.core.settings import Settings
from backend.db.connections import host_and_port, require_utf8
from backend.db.errors import EncodingError
from backend.db.troubles import database_trouble, trouble_sentence
from backend.dev.embedded_server import EmbeddedServer, embedded_server

OLDEST_VERSION = 15
# How to end a refusal that is not due to a wrong setting, by the kind of the error.
_REMEDIES = {
    "down": "wait until it has started",
    "refused_by_pooler": "look into the log of the pooler, and compare its limits",
    "too_many_connections": "end some of its sessions, or raise its limit of connections",
}


@dataclass(frozen=True)
class ReachableDatabase:
    """A database that accepts connections. `server` is set for an embedded one."""

    url: str
    version: str
    server: EmbeddedServer | None = None


def embedded_folder(settings: Settings) -> Path:
    return settings.data_dir / "postgres"


def name_of_session_url(settings: Settings) -> str:
    """Return the name of the setting that `session_url` comes from."""
    return "DATABASE_URL" if settings.database_direct_url is None else "DATABASE_DIRECT_URL"


@contextmanager
def reachable_database(
    settings: Settings, *, needs_session: bool = True
) -> Iterator[ReachableDatabase]:
    """Start or join the embedded server, or check that the database of the settings is reachable.

    Raise `CommandError` if it is not, or if a session is needed and a pooler provides none. A
    command that uses ordinary transactions needs none, provided that DATABASE_POOLER is correct.
    """
    if settings.session_url is not None:
        url, name = settings.session_url.get_secret_value(), name_of_session_url(settings)
        version = reach(url, name)
        if needs_session or settings.database_pooler == "session":
            require_session(name, url)
        yield ReachableDatabase(url, version)
        return
    require_writable(settings.data_dir)
    with ExitStack() as stack:
        server = embedded_server(embedded_folder(settings))
        # Registered first, because a signal may arrive between its start and any later statement.
        stack.push(server)
        server.__enter__()
        try:
            yield ReachableDatabase(server.url, reach(server.url), server)
        finally:
            with deferred_signals():
                stack.close()


def reach(url: str, name: str = "DATABASE_URL") -> str:
    """Connect and return the server's version; raise `CommandError` if that fails.

    The error does not contain the password. `name` is the setting to correct.
    """
    try:
        target = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        # The driver's message repeats a part of the URL, perhaps of the password.
        raise CommandError(
            f"{name} cannot be read: it looks like postgresql://user:password@host:5432/name, "
            "with special characters of the password written as %XX."
        ) from None
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            number = connection.info.server_version
            require_utf8(connection.info)
    except psycopg.OperationalError as error:
        raise CommandError(_explained(error, target, name)) from None
    except EncodingError as error:
        raise CommandError(str(error)) from None
    if number < OLDEST_VERSION * 10_000:
        raise CommandError(
            f"PostgreSQL {number // 10_000} at {host_and_port(target)} is too old: "
            f"point {name} at PostgreSQL {OLDEST_VERSION} or newer."
        )
    return f"{number // 10_000}.{number % 10_000}"


def _explained(error: psycopg.Error, target: Mapping[str, object], name: str) -> str:
    message, place = str(error), host_and_port(target)
    missing = re.search(r'database "(.+)" does not exist', message)
    if missing:
        host, port = str(target.get("host") or "localhost"), target.get("port") or 5432
        user = target.get("user")
        login = f" --username={user}" if user else ""
        return (
            f"The server at {place} has no database {missing[1]}: "
            f"make it with `createdb --host={host} --port={port}{login} {missing[1]}`."
        )
    refused = re.search(r"FATAL: +(.+)", message)
    if refused:
        remedy = _REMEDIES.get(str(database_trouble(error)["trouble"]), f"correct {name}")
        return (
            f"PostgreSQL at {place} refuses the connection ({refused[1]}): {remedy}. "
            f"{trouble_sentence(error)}"
        )
    first_line = message.strip().partition("\n")[0]
    reason = first_line.rpartition("failed: ")[2] or "no reason given"
    return (
        f"PostgreSQL at {place} cannot be reached ({reason}): start it, or correct {name}. "
        f"{trouble_sentence(error)}"
    )
