"""Kinds of database errors, which log lines name beside the SQLSTATE.

A SQLSTATE alone does not tell an operator what to do: a pooler reports all its refusals with the
same one, and a connection that cannot be opened has none at all.
"""

import re
from typing import get_args

import psycopg
from sqlalchemy import exc as sa

from backend.db.errors import DatabaseUnavailableError, Trouble, driver_error

# docs/observability.md explains them.
TROUBLES: tuple[Trouble, ...] = get_args(Trouble)
# By SQLSTATE, or by its class, which is its first two characters.
_BY_SQLSTATE: dict[str, Trouble] = {
    "08": "down",
    # PostgreSQL reports it only to broken clients, and pgbouncer with each of its refusals.
    "08P01": "refused_by_pooler",
    "22": "refused_value",
    "23": "refused_value",
    "25006": "read_only",
    "25P03": "timeout",
    "25P04": "timeout",
    # A prepared statement that is missing, or exists already, belongs to another client of the
    # pooler.
    "26000": "refused_by_pooler",
    "42P05": "refused_by_pooler",
    "28": "misconfigured",
    "3D000": "misconfigured",
    "3F000": "wrong_schema",
    "40001": "conflict",
    "40P01": "conflict",
    "42501": "misconfigured",
    "42703": "wrong_schema",
    "42701": "wrong_schema",
    "42704": "wrong_schema",
    "42710": "wrong_schema",
    "42883": "wrong_schema",
    "42P01": "wrong_schema",
    "42P07": "wrong_schema",
    "53": "out_of_resources",
    "53300": "too_many_connections",
    "55P03": "lock_timeout",
    "57014": "timeout",
    "57P01": "down",
    "57P02": "down",
    "57P03": "down",
    "57P05": "timeout",
    "58": "out_of_resources",
}
_REFUSED_BY_POOLER = (
    r"no more connections allowed|query_wait_timeout|server login has been failing|"
    r"server_login_retry|pgbouncer|bouncer config error|client_login_timeout|"
    r"startup parameter|no such (database|user)\b"
)
# libpq has no SQLSTATE for a connection that was refused, only the text of the server, which is
# English unless `lc_messages` of the server says otherwise. The first match counts.
_CONNECTION_TEXTS = [
    (re.compile(pattern), sqlstate)
    for pattern, sqlstate in (
        (_REFUSED_BY_POOLER, "08P01"),
        (r"too many clients|too many connections|connection slots are reserved", "53300"),
        (r"database system is|not (yet )?accepting connections", "57P03"),
        (r"terminating connection due to", "57P01"),
        (r"read-only|hot standby", "25006"),
        (r'database ".*" does not exist', "3D000"),
        (r"password authentication failed|no password supplied", "28P01"),
        (r"authentication|pg_hba\.conf|permitted to log in|role .* does not exist", "28000"),
    )
]
_UNSECURED = re.compile(r"certificate|support SSL")
_OUT_OF_TIME = re.compile(r"^wait timeout expired")


def database_trouble(error: BaseException | None) -> dict[str, str | None]:
    """Return `sqlstate` and `trouble` of a database error for a log line; else an empty mapping.

    `sqlstate` is None if neither the server nor a pooler has given or implied one. The values
    contain no text of the error.
    """
    if isinstance(error, DatabaseUnavailableError):
        cause = error.__cause__
        sqlstate = cause.sqlstate if isinstance(cause, psycopg.Error) else None
        return {"sqlstate": sqlstate, "trouble": error.trouble}
    if isinstance(error, sa.SQLAlchemyError):
        cause = driver_error(error)
        if cause is error:
            kind: Trouble = "pool_exhausted" if isinstance(error, sa.TimeoutError) else "other"
            return {"sqlstate": None, "trouble": kind}
        error = cause
    if not isinstance(error, psycopg.Error):
        return {}
    sqlstate = error.sqlstate or _implied_sqlstate(error)
    return {"sqlstate": sqlstate, "trouble": _trouble(error, sqlstate)}


def trouble_sentence(error: BaseException) -> str:
    """Return the same as a sentence for the command line; empty if it is no database error."""
    found = database_trouble(error)
    if not found:
        return ""
    state = f" (SQLSTATE {found['sqlstate']})" if found["sqlstate"] else ""
    return f"Kind of database error: {found['trouble']}{state}."


def _trouble(error: psycopg.Error, sqlstate: str | None) -> Trouble:
    if sqlstate is not None:
        if isinstance(error, psycopg.errors.FeatureNotSupported) and "cached plan" in str(error):
            return "wrong_schema"
        return _BY_SQLSTATE.get(sqlstate) or _BY_SQLSTATE.get(sqlstate[:2], "other")
    if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return "other"
    text = str(error)
    if _OUT_OF_TIME.search(text):
        return "timeout"
    return "misconfigured" if _UNSECURED.search(text) else "down"


def _implied_sqlstate(error: psycopg.Error) -> str | None:
    if not isinstance(error, psycopg.OperationalError):
        return None
    text = str(error)
    return next((state for pattern, state in _CONNECTION_TEXTS if pattern.search(text)), None)
