"""Connections: time limits, opening, detection of closed ones."""

import asyncio
import re
import select
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import waiting
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from backend.db.errors import EncodingError, PoolerError

# Interval at which the server checks during a statement whether its client is still connected.
CHECK_SECONDS = 1
NAME = "trellis"
# A session parameter set by `options` only; it is missing if a pooler ignored them.
MARK = "trellis.session"
REMEDY = "set DATABASE_POOLER=transaction"


@dataclass(frozen=True)
class Timeouts:
    """Time limits of every wait on the database, in seconds.

    With `pooled`, a transaction pooler may assign each transaction another server session. Then
    no session state is used: no startup parameter `options`, which poolers refuse, no prepared
    statements, and time limits only per transaction, set when it begins.

    `expensive_read` is for statements whose duration depends on what the client asks for; it is
    capped at `statement`.
    """

    connect: float = 5
    pool: float = 5
    statement: float = 15
    expensive_read: float = 3
    lock: float = 5
    idle_in_transaction: float = 30
    pooled: bool = False

    def server_settings(self) -> dict[str, str]:
        """Return the limits the server enforces, as parameters of a session, role or transaction.

        Times are in milliseconds.
        """
        limits = {
            "statement_timeout": self.statement,
            "lock_timeout": self.lock,
            "idle_in_transaction_session_timeout": self.idle_in_transaction,
            "client_connection_check_interval": CHECK_SECONDS,
        }
        milliseconds = {name: f"{seconds * 1000:.0f}" for name, seconds in limits.items()}
        return {**milliseconds, "timezone": "UTC"}

    def beginning(self) -> str:
        """Return statements that begin a transaction with these limits, in one round trip."""
        return f"BEGIN; {self.assignments('SET LOCAL')}"

    def assignments(self, command: str) -> str:
        """Return statements that apply `command`, such as `SET LOCAL`, to each server setting."""
        settings = self.server_settings().items()
        return "; ".join(f"{command} {name} = '{value}'" for name, value in settings)

    def client_arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of `psycopg.connect` that do not use `options`."""
        return {
            # libpq raises 1 to 2, and does not accept fractions.
            "connect_timeout": max(2, round(self.connect)),
            "application_name": NAME,
            # The default of a role, a database or PGCLIENTENCODING may lack most letters.
            "client_encoding": "UTF8",
            # The server's own timeouts do not apply if its machine or the network fails.
            "tcp_user_timeout": round((self.statement + self.connect) * 1000),
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
        }

    async def set_up(self, connection: "Connection") -> None:
        """Set the server settings for this session.

        This is for few, long-lived connections: it takes one more round trip than `options`, but
        also works with session poolers that refuse `options`.
        """
        await connection.execute(self.assignments("SET").encode())
        await connection.commit()

    def connect_arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of `psycopg.connect`, with server settings unless pooled."""
        if self.pooled:
            return self.client_arguments() | {"prepare_threshold": None}
        # The server reports `application_name`, which shows without a round trip whether
        # `options` took effect. The empty argument keeps PGAPPNAME from overriding it.
        settings = self.server_settings() | {"application_name": NAME, MARK: "kept"}
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        return self.client_arguments() | {"application_name": "", "options": options}

    async def open(self, address: str = "", **options: Any) -> "Connection":
        """Open a connection with a response timeout of `statement` plus `connect` seconds.

        Raise `PoolerError` if a pooler does not apply the server settings, and `EncodingError`
        if the database is not encoded in UTF-8.
        """
        # These arguments override those of the URL, such as connect_timeout.
        arguments = {**options, **self.connect_arguments()}
        try:
            connection = await Connection.connect(address, **arguments)
        except psycopg.OperationalError as error:
            if self.pooled or not refuses_options(error):
                raise
            raise _pooler_error("refuses", address, options) from None
        name = connection.pgconn.parameter_status(b"application_name")
        if not self.pooled and name != NAME.encode():
            connection.pgconn.finish()
            raise _pooler_error("ignores", address, options)
        connection.response_timeout = self.statement + self.connect
        try:
            require_utf8(connection.info)
        except EncodingError:
            await connection.close()
            raise
        return connection


def require_utf8(info: psycopg.ConnectionInfo) -> None:
    """Raise `EncodingError` unless the database is encoded in UTF-8. Takes no round trip."""
    encoding = info.parameter_status("server_encoding")
    # None: a pooler may not forward the parameter.
    if encoding not in ("UTF8", None):
        raise EncodingError(encoding)


def refuses_options(error: psycopg.OperationalError) -> bool:
    """Return whether a pooler refused the connection because of the parameter `options`."""
    return bool(re.search("startup parameter|command-line options", str(error)))


def host_and_port(target: Mapping[str, Any]) -> str:
    """Return `host:port` of connection parameters, or the directory of a Unix socket."""
    host = str(target.get("host") or target.get("hostaddr") or "localhost")
    return host if host.startswith("/") else f"{host}:{target.get('port') or 5432}"


def _pooler_error(verb: str, address: str, options: dict[str, Any]) -> PoolerError:
    pooler = host_and_port({**conninfo_to_dict(address), **options})
    return PoolerError(
        f"The pooler at {pooler} {verb} the startup parameter 'options', which sets a session's "
        f"time limits: {REMEDY}."
    )


class Connection(psycopg.AsyncConnection[Any]):
    """A connection that closes when its statement is cancelled or exceeds `response_timeout`.

    psycopg would send a cancel request and wait for its effect for ten seconds. A server that is
    frozen, or unreachable behind a proxy, reacts to no cancel request and enforces no timeout;
    any other server notices the closed connection within `CHECK_SECONDS`.
    """

    response_timeout: float | None = None  # seconds

    async def wait(
        self,
        gen: Any,
        interval: float = 0.1,
        timeout: float | None = None,  # noqa: ASYNC109  # psycopg calls it so
    ) -> Any:
        if timeout is None:
            timeout = self.response_timeout
        try:
            return await waiting.wait_async(gen, self.pgconn.socket, interval, timeout)
        except (asyncio.CancelledError, psycopg.OperationalError):
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.pgconn.finish()
            raise


def is_dead(pgconn: psycopg.pq.abc.PGconn) -> bool:
    """Return whether an idle connection is closed or about to be. Takes no round trip.

    An idle connection has nothing to read. A readable socket means an unrequested message,
    usually of a server that shuts down. The message is not parsed: it can arrive before the end
    of the stream, and a new connection costs little.
    """
    if pgconn.status != psycopg.pq.ConnStatus.OK:
        return True
    poll = select.poll()
    poll.register(pgconn.socket, select.POLLIN)
    return bool(poll.poll(0))
