"""Database errors, classified by how the caller should react."""

from typing import Literal

import psycopg
from sqlalchemy import exc as sa

# The kinds of database errors in log lines; `db.troubles` determines that of an error.
Trouble = Literal[
    "pool_exhausted",
    "too_many_connections",
    "refused_by_pooler",
    "timeout",
    "lock_timeout",
    "conflict",
    "read_only",
    "down",
    "out_of_resources",
    "misconfigured",
    "wrong_schema",
    "refused_value",
    "other",
]

# The locale has to match the encoding; the server's default locale may belong to another one.
CREATE_DATABASE = "createdb --template=template0 --encoding=UTF8 --locale=C.UTF-8 NAME"
# Errors of prepared statements behind a pooler that switches server sessions between transactions.
LOST_STATEMENTS = (
    psycopg.errors.InvalidSqlStatementName,
    psycopg.errors.DuplicatePreparedStatement,
)


class DatabaseUnavailableError(Exception):
    """The database is down, starting, or still busy after the configured wait: retry later."""

    def __init__(self, message: str = "", *, trouble: Trouble = "down") -> None:
        super().__init__(message)
        self.trouble = trouble


class OverloadedError(DatabaseUnavailableError):
    """So many requests wait for a connection that another one would wait too long."""

    def __init__(self, message: str) -> None:
        super().__init__(message, trouble="pool_exhausted")


class TooManyReadsError(Exception):
    """A caller exceeds its limit of concurrent expensive reads."""


class EncodingError(DatabaseUnavailableError):
    """The database is not encoded in UTF-8. `str()` contains the remedy and no host name."""

    def __init__(self, encoding: str) -> None:
        super().__init__(
            f"The database is encoded in {encoding}, and only UTF8 holds every text: create "
            f"another one with `{CREATE_DATABASE}` and set DATABASE_URL to it.",
            trouble="misconfigured",
        )


class MigrationRefusedError(Exception):
    """Existing rows prevent a migration. `str()` names the rows and the remedy."""


class PoolerError(DatabaseUnavailableError):
    """A transaction pooler is configured where a session is needed. `str()` names the remedy."""

    def __init__(self, message: str) -> None:
        super().__init__(message, trouble="refused_by_pooler")


class CommitAndRaise:
    """Marker for exceptions after which the transaction commits, although the request is refused.

    A failed-attempt counter or a revoked token family has to be stored together with the refusal.
    """


class InvalidCursorError(Exception):
    """A list cursor with an invalid signature, or one that belongs to another list."""


def driver_error(error: BaseException) -> BaseException:
    """Return the psycopg error wrapped by a SQLAlchemy one, or the error itself."""
    return error.orig if isinstance(error, sa.DBAPIError) and error.orig else error


def is_unavailable(error: BaseException) -> bool:
    """Return whether the same request may succeed later.

    Lost connections, a server that starts or stops, timeouts, deadlocks and full disks are all
    `OperationalError` in PEP 249's terms; a statement on a connection that broke before is an
    `InterfaceError`.
    """
    if isinstance(error, DatabaseUnavailableError | sa.TimeoutError):
        return True
    if isinstance(error, sa.DBAPIError) and error.connection_invalidated:
        return True
    cause = driver_error(error)
    if isinstance(cause, psycopg.errors.FeatureNotSupported) and "cached plan" in str(cause):
        # A column's type has changed; the rollback discards the connection's cached plans.
        return True
    return isinstance(
        cause,
        (
            *LOST_STATEMENTS,
            psycopg.OperationalError,
            psycopg.InterfaceError,
            psycopg.errors.IdleInTransactionSessionTimeout,
            psycopg.errors.ReadOnlySqlTransaction,
        ),
    )


def violated_constraint(error: sa.IntegrityError) -> str | None:
    """Return the name of the violated constraint or unique index."""
    return error.orig.diag.constraint_name if isinstance(error.orig, psycopg.Error) else None
