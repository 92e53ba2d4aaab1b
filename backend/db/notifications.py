"""Notifications of PostgreSQL: messages that are delivered when their transaction commits."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from secrets import token_hex
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.db.connections import Connection, Timeouts
from backend.db.errors import DatabaseUnavailableError
from backend.db.queries import Statement
from backend.db.query_runner import QueryRunner

# Interval of the checks of the connection, and the time that a reply may take.
CHECK_SECONDS, REPLY_SECONDS = 3.0, 1.0
# Pauses between attempts to connect.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
AWAY = "The connection for notifications is lost."
UNHEARD = (
    "Notifications do not arrive: if DATABASE_URL leads to a transaction pooler, set "
    "DATABASE_DIRECT_URL to the server itself."
)
_NOTIFY = Statement("SELECT pg_notify(%(channel)s, %(message)s)")


async def notify(session: AsyncSession, channel: str, messages: Sequence[str]) -> None:
    """Send messages of at most 7,999 bytes when the transaction commits, and never otherwise."""
    connection = await session.connection()
    statement = text(
        "SELECT pg_notify(:channel, message) FROM unnest(CAST(:messages AS text[])) AS message"
    )
    await connection.execute(statement, {"channel": channel, "messages": list(messages)})


class Listener:
    """Receives the messages of a channel over a connection of its own.

    `on_message` is awaited for each message. `on_connected` is awaited when all messages that are
    sent from now on will arrive, and `on_lost`, with the reason and the error that caused it, if
    any, when some may have been missed.
    The connection is checked each `CHECK_SECONDS`.
    """

    def __init__(
        self,
        url: str,
        primary: QueryRunner,
        channel: str,
        *,
        timeouts: Timeouts,
        on_message: Callable[[str], Awaitable[None]],
        on_connected: Callable[[], Awaitable[None]],
        on_lost: Callable[[str, BaseException | None], Awaitable[None]],
    ) -> None:
        self._url = url
        self._primary = primary
        self._channel = channel
        self._timeouts = timeouts
        self._on_message = on_message
        self._on_connected = on_connected
        self._on_lost = on_lost
        self._pause = FIRST_PAUSE

    async def run(self) -> None:
        """Listen until cancelled; connect again after errors, with growing pauses."""
        while True:
            reason, cause = AWAY, None
            try:
                await self._listen()
            except UnheardError:
                reason = UNHEARD
            except (psycopg.Error, OSError, TimeoutError, DatabaseUnavailableError) as error:
                cause = error
            await self._on_lost(reason, cause)
            await asyncio.sleep(self._pause)
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

    async def _listen(self) -> None:
        async with asyncio.timeout(self._timeouts.connect + REPLY_SECONDS):
            connection = await self._connect()
        try:
            async with asyncio.timeout(self._timeouts.connect + 2 * REPLY_SECONDS):
                await self._check_delivery(connection)
            await self._on_connected()
            self._pause = FIRST_PAUSE
            while True:
                async for received in connection.notifies(timeout=CHECK_SECONDS):
                    await self._on_message(received.payload)
                await self._check(connection)
        finally:
            # Without a round trip, which a frozen server would not answer.
            connection.pgconn.finish()

    async def _connect(self) -> Connection:
        options: dict[str, Any] = {
            **self._timeouts.client_arguments(),
            "application_name": "trellis listener",
            # A standby forwards no notifications, and the URL may name several servers.
            "target_session_attrs": "read-write",
        }
        connection = await Connection.connect(self._url, autocommit=True, **options)
        connection.response_timeout = REPLY_SECONDS
        return connection

    async def _check_delivery(self, connection: Connection) -> None:
        """Raise `UnheardError` unless a notification sent over the pool arrives.

        A transaction pooler accepts LISTEN and delivers nothing.
        """
        await connection.execute(SQL("LISTEN {}").format(Identifier(self._channel)))
        message = f"check-{token_hex(8)}"
        await self._primary.all(_NOTIFY, channel=self._channel, message=message)
        # Notifications of other processes may arrive first.
        arrived = connection.notifies(timeout=REPLY_SECONDS)
        async with aclosing(arrived):
            async for received in arrived:
                if received.payload == message:
                    return
        raise UnheardError

    async def _check(self, connection: Connection) -> None:
        cursor = await connection.execute("SELECT pg_is_in_recovery()")
        row = await cursor.fetchone()
        if row is None or row[0]:
            raise DatabaseUnavailableError(trouble="read_only")


class UnheardError(Exception):
    """Notifications do not arrive on this connection."""
