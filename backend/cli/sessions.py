"""Checks of the session features that each database address in the settings needs."""

import asyncio
from collections.abc import Iterator

import psycopg
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier, Literal

from backend.cli.terminal import CommandError
from backend.core.settings import Settings
from backend.db.connections import REMEDY, Timeouts
from backend.db.errors import is_unavailable
from backend.db.session_features import SessionFeatures, probe_session
from backend.db.troubles import trouble_sentence

KEPT = "prepared statements, session settings and LISTEN work"
DIRECT = "set DATABASE_DIRECT_URL to the server itself, for migrations and the worker"


def require_session(name: str, url: str) -> None:
    """Raise `CommandError` unless session features work at this address, the setting `name`."""
    features = _probe(name, url)
    if not features.keeps_session:
        remedy = DIRECT if name == "DATABASE_DIRECT_URL" else f"{REMEDY}, and {DIRECT}"
        raise CommandError(f"{_lost(name, features)}: {remedy}.")


def describe(name: str, url: str, settings: Settings) -> str:
    """Describe the address of the setting `name`; raise `CommandError` if it is unsuitable."""
    if name == "DATABASE_DIRECT_URL":
        require_session(name, url)
        return f"{name} keeps sessions: {KEPT}"
    features = _probe(name, url)
    if not features.transactions:
        raise CommandError(
            f"{name} leads to a pooler that takes no transactions: set its pool_mode to "
            "transaction."
        )
    if settings.database_pooler == "transaction":
        if features.keeps_session:
            return f"{name} keeps sessions, which DATABASE_POOLER=transaction does not need"
        return f"{name} leads to a transaction pooler, as DATABASE_POOLER=transaction says"
    also = "" if settings.database_direct_url else f", and {DIRECT}"
    if not features.keeps_session:
        raise CommandError(f"{_lost(name, features)}: {REMEDY}{also}.")
    if not features.options:
        raise CommandError(
            f"{name} leads to a pooler that keeps sessions, but refuses or ignores the startup "
            f"parameter 'options', by which statements get their time limits: {REMEDY}{also}."
        )
    return f"{name} keeps sessions: {KEPT}"


def missing_limits(url: str, settings: Settings) -> str | None:
    """Return advice if the role of a pooler's sessions lacks time limits; None otherwise.

    Transactions set their limits themselves. Single reads have only those of the role: the client
    closes the connection after its own timeout, but the server continues the statement.
    """
    if settings.database_pooler == "session":
        return None
    recommended = _timeouts(settings).server_settings()
    with psycopg.connect(
        url, autocommit=True, prepare_threshold=None, row_factory=dict_row
    ) as connection:
        current = connection.execute(
            "SELECT name, setting FROM pg_settings WHERE lower(name) = ANY(%s)",
            [list(recommended)],
        ).fetchall()
        row = connection.execute(
            "SELECT current_user AS role, current_database() AS database"
        ).fetchone()
    assert row is not None
    unlimited = [each["name"] for each in current if each["setting"] == "0"]
    if not unlimited:
        return None
    change = SQL("ALTER ROLE {} IN DATABASE {} SET {} = {};")
    role, database = Identifier(row["role"]), Identifier(row["database"])
    lines = (
        change.format(role, database, Identifier(name), Literal(value)).as_string()
        for name, value in recommended.items()
    )
    advice = (
        f"The role {row['role']} has no {', '.join(sorted(unlimited))}: the server may continue "
        "single reads after their client has timed out. Run this, then let the pooler reconnect:"
    )
    return "\n    ".join([advice, *lines])


def addresses(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield the names and URLs of the settings that refer to a database."""
    for name in ("database_url", "database_replica_url", "database_direct_url"):
        secret = getattr(settings, name)
        if secret is not None:
            yield name.upper(), secret.get_secret_value()


def _probe(name: str, url: str) -> SessionFeatures:
    try:
        return asyncio.run(probe_session(url, Timeouts()))
    except (psycopg.Error, OSError) as error:
        if not is_unavailable(error):
            raise
        reason = str(error).strip().partition("\n")[0]
        raise CommandError(
            f"The connection to {name} broke during the check ({reason}): try again. "
            f"{trouble_sentence(error)}"
        ) from None


def _lost(name: str, features: SessionFeatures) -> str:
    *first, last = features.lost or ["transactions"]
    lost = " and ".join(filter(None, [", ".join(first), last]))
    return f"{name} leads to a transaction pooler, where {lost} do not work"


def _timeouts(settings: Settings) -> Timeouts:
    return Timeouts(
        pool=settings.database_pool_timeout, statement=settings.database_statement_timeout
    )
