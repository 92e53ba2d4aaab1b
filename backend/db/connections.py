"""How connections are made, shared out, and found dead."""

import asyncio
import re
import select
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import waiting
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from backend.db.errors import DatabaseUnavailableError, EncodingError, PoolerError

# So often a server that runs a statement looks whether anybody still waits for it.
CHECK_SECONDS = 1
NAME = "trellis"
# A parameter of a session that only `options` set: where it is missing, a pooler ignored them.
MARK = "trellis.session"
REMEDY = "set DATABASE_POOLER=transaction"


@dataclass(frozen=True)
class Timeouts:
    """Seconds. Every wait on the database has an end.

    `pooled` says that a transaction pooler may lend each transaction another server session. Then
    nothing is left in a session: no startup parameter `options`, which poolers refuse, no prepared
    statement, and limits that `begin` sets for a transaction alone.

    An `expensive_read` is one that a client may make long; it gets no more than `statement`.
    """

    connect: float = 5
    pool: float = 5
    statement: float = 15
    expensive_read: float = 3
    lock: float = 5
    idle_in_transaction: float = 30
    pooled: bool = False

    def server_settings(self) -> dict[str, str]:
        """What the server has to enforce, as parameters of a session, a role or a transaction."""
        limits = {
            "statement_timeout": self.statement,
            "lock_timeout": self.lock,
            "idle_in_transaction_session_timeout": self.idle_in_transaction,
            "client_connection_check_interval": CHECK_SECONDS,
        }
        milliseconds = {name: f"{seconds * 1000:.0f}" for name, seconds in limits.items()}
        return {**milliseconds, "timezone": "UTC"}

    def beginning(self) -> str:
        """Begins a transaction with these limits, in the one round trip that BEGIN takes anyway."""
        return f"BEGIN; {self.assignments('SET LOCAL')}"

    def assignments(self, command: str) -> str:
        """Statements such as `SET LOCAL` for all of them, sent in one round trip."""
        settings = self.server_settings().items()
        return "; ".join(f"{command} {name} = '{value}'" for name, value in settings)

    def client_arguments(self) -> dict[str, Any]:
        """Keyword arguments for `psycopg.connect` of which the server learns the name only."""
        return {
            # libpq reads 1 as 2, and a fraction not at all.
            "connect_timeout": max(2, round(self.connect)),
            "application_name": NAME,
            # A role, a database and PGCLIENTENCODING may ask for one that lacks most letters.
            "client_encoding": "UTF8",
            # A server that vanished without a word enforces no timeout.
            "tcp_user_timeout": round((self.statement + self.connect) * 1000),
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
        }

    async def set_up(self, connection: "Connection") -> None:
        """Set what the server has to enforce in this session.

        For few and lasting connections: that is a round trip more than `options`, but also a
        pooler that keeps sessions takes it.
        """
        await connection.execute(self.assignments("SET").encode())
        await connection.commit()

    def connect_arguments(self) -> dict[str, Any]:
        """Keyword arguments for `psycopg.connect`; the server enforces them, unless `pooled`."""
        if self.pooled:
            return self.client_arguments() | {"prepare_threshold": None}
        # The server reports its `application_name`, which tells without a round trip whether
        # `options` counted. An empty one of our own keeps the environment's from replacing it.
        settings = self.server_settings() | {"application_name": NAME, MARK: "kept"}
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        return self.client_arguments() | {"application_name": "", "options": options}

    async def open(self, address: str = "", **options: Any) -> "Connection":
        """A connection on which the server has to answer within a statement's time and a bit.

        `PoolerError` where a pooler does not give it the session that it needs.
        """
        # What `options` of a URL sets as well, such as connect_timeout, is ours to decide.
        arguments = {**options, **self.connect_arguments()}
        try:
            made = await Connection.connect(address, **arguments)
        except psycopg.OperationalError as error:
            if self.pooled or not refuses_options(error):
                raise
            raise _pooler_error("refuses", address, options) from None
        if not self.pooled and made.pgconn.parameter_status(b"application_name") != NAME.encode():
            made.pgconn.finish()
            raise _pooler_error("ignores", address, options)
        made.answer = self.statement + self.connect
        try:
            require_utf8(made.info)
        except EncodingError:
            await made.close()
            raise
        return made


def require_utf8(connected: psycopg.ConnectionInfo) -> None:
    """`EncodingError` unless the database is encoded in UTF-8. Asks the server nothing."""
    encoding = connected.parameter_status("server_encoding")
    # A pooler may not pass it on.
    if encoding not in ("UTF8", None):
        raise EncodingError(encoding)


def refuses_options(error: psycopg.OperationalError) -> bool:
    """Whether a pooler refused the connection because of the startup parameter `options`."""
    return bool(re.search("startup parameter|command-line options", str(error)))


def where(target: Mapping[str, Any]) -> str:
    """Host and port of connection parameters, in words."""
    host = str(target.get("host") or target.get("hostaddr") or "localhost")
    return host if host.startswith("/") else f"{host}:{target.get('port') or 5432}"


def _pooler_error(does: str, address: str, options: dict[str, Any]) -> PoolerError:
    place = where({**conninfo_to_dict(address), **options})
    return PoolerError(
        f"The pooler at {place} {does} the startup parameter 'options', which keeps a session's "
        f"time limits: {REMEDY}."
    )


class Connection(psycopg.AsyncConnection[Any]):
    """Is closed when nobody waits for its answer any more, or none comes in `answer` seconds.

    psycopg would ask the server to drop the statement, and wait for that for ten seconds. But a
    server that is frozen, or behind a proxy that is, drops nothing and enforces no timeout; any
    other finds out by itself that nobody waits.
    """

    answer: float | None = None

    async def wait(
        self,
        gen: Any,
        interval: float = 0.1,
        timeout: float | None = None,  # noqa: ASYNC109  # psycopg calls it so
    ) -> Any:
        if timeout is None:
            timeout = self.answer
        try:
            return await waiting.wait_async(gen, self.pgconn.socket, interval, timeout)
        except (asyncio.CancelledError, psycopg.OperationalError):
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.pgconn.finish()
            raise


class FairSemaphore:
    """At most `size` holders at once, served in the order they came.

    SQLAlchemy's own pool queue is not fair: with 32 clients on 10 connections the unlucky wait
    for more than a second while others are served repeatedly.
    """

    def __init__(self, size: int, wait: float, what: str = "database connection") -> None:
        self._free = size
        self._wait = wait
        self._what = what
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def acquire(self) -> None:
        """Wait for a place; `DatabaseUnavailableError` when none is free in time."""
        if self._free:
            self._free -= 1
            return
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._waiting.append(turn)
        # A timer of its own costs a third of `asyncio.timeout` around a semaphore.
        timer = loop.call_later(self._wait, self._refuse, turn)
        try:
            await turn
        except asyncio.CancelledError:
            # Cancelled in the moment between being called and coming?
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.release()
            raise
        finally:
            timer.cancel()

    def release(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _refuse(self, turn: "asyncio.Future[None]") -> None:
        if not turn.done():
            message = f"no {self._what} was free within {self._wait:g} s"
            turn.set_exception(DatabaseUnavailableError(message))

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        await self.acquire()
        try:
            yield
        finally:
            self.release()


def is_dead(pgconn: psycopg.pq.abc.PGconn) -> bool:
    """True when the server has closed this idle connection, found without a round trip.

    An idle connection has nothing to read. If its socket is readable, the server has said
    something unasked: that it is going, as a rule. What it said is not looked at, because a
    farewell may arrive before the end that proves it, and a new connection costs little.
    """
    if pgconn.status != psycopg.pq.ConnStatus.OK:
        return True
    poll = select.poll()
    poll.register(pgconn.socket, select.POLLIN)
    return bool(poll.poll(0))
