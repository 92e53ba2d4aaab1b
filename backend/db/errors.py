"""What can go wrong between here and PostgreSQL, sorted by what the caller should do."""

import psycopg
from sqlalchemy import exc as sa

# A locale of UTF-8, or PostgreSQL refuses the encoding where the server's own is another one.
CREATE_DATABASE = "createdb --template=template0 --encoding=UTF8 --locale=C.UTF-8 NAME"
# What a prepared statement meets where a pooler lends each transaction another server session.
LOST_STATEMENTS = (
    psycopg.errors.InvalidSqlStatementName,
    psycopg.errors.DuplicatePreparedStatement,
)


class DatabaseUnavailableError(Exception):
    """The database is down, starting, or busy beyond the wait it was given: try again later."""


class TooManyReadsError(Exception):
    """A caller asks for more expensive reads at once than anybody may."""


class EncodingError(DatabaseUnavailableError):
    """The database is not encoded in UTF-8; `str()` tells the remedy and names no host."""

    def __init__(self, encoding: str) -> None:
        super().__init__(
            f"The database is encoded in {encoding}, and only UTF8 holds every text: create "
            f"another one with `{CREATE_DATABASE}` and set DATABASE_URL to it."
        )


class MigrationRefusedError(Exception):
    """Rows stand in the way of a migration. The text names them, and says what to do."""


class PoolerError(DatabaseUnavailableError):
    """A pooler that keeps no session stands where one is needed; `str()` tells the remedy."""


class CommitAndRaise:
    """Marks an exception that refuses the request but keeps what its transaction wrote.

    A counted failure or a revoked token family must outlive the answer that reports it.
    """


class InvalidCursorError(Exception):
    """A list cursor that was not made here, or was made for another list."""


def driver_error(error: BaseException) -> BaseException:
    """The psycopg error inside a SQLAlchemy one; anything else as it is."""
    return error.orig if isinstance(error, sa.DBAPIError) and error.orig else error


def is_unavailable(error: BaseException) -> bool:
    """True where the same request may succeed later.

    Connection loss, a server that is starting or stopping, timeouts, deadlocks and full disks
    are all `OperationalError` in PEP 249's terms; a statement on a connection that broke
    earlier is an `InterfaceError`.
    """
    if isinstance(error, DatabaseUnavailableError | sa.TimeoutError):
        return True
    if isinstance(error, sa.DBAPIError) and error.connection_invalidated:
        return True
    cause = driver_error(error)
    if isinstance(cause, psycopg.errors.FeatureNotSupported) and "cached plan" in str(cause):
        # A column has changed its type; the rollback makes the connection forget its plans.
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
    """Name of the constraint or unique index that refused the write."""
    return error.orig.diag.constraint_name if isinstance(error.orig, psycopg.Error) else None
