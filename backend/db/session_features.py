"""Detection of the session features of an address: a server, a session or a transaction pooler.

Two connections alternately use features that need a session of their own. Behind a transaction
pooler they see each other's session state, or lose their own.
"""

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from secrets import token_hex
from typing import LiteralString

import psycopg
from psycopg import generators
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult
from psycopg.sql import SQL, Identifier

from backend.db.connections import MARK, Connection, Timeouts

ROUNDS = 5
NOTICE_SECONDS = 1.0


@dataclass(frozen=True)
class SessionFeatures:
    """Features that work at an address.

    transactions  transactions of several statements
    options       the startup parameter `options`, which sets time limits
    settings      SET affects later transactions of the same client, and no other client
    prepared      statements prepared by an earlier transaction
    listens       LISTEN receives a NOTIFY; None on a standby, which does not support it
    """

    transactions: bool
    options: bool
    settings: bool
    prepared: bool
    listens: bool | None

    @property
    def keeps_session(self) -> bool:
        return self.transactions and self.settings and self.prepared and self.listens is not False

    @property
    def lost(self) -> list[str]:
        """The session features that do not work."""
        named = {
            "prepared statements": self.prepared,
            "session settings": self.settings,
            "LISTEN": self.listens,
        }
        return [name for name, works in named.items() if works is False]


async def probe_session(url: str, timeouts: Timeouts) -> SessionFeatures:
    """Test which features work at an address; raise `psycopg.OperationalError` if unreachable.

    Takes a second longer if LISTEN does not work. May leave prepared statements and settings
    with random names in a pooler's sessions.
    """
    async with AsyncExitStack() as stack:
        plain = replace(timeouts, pooled=True)
        one, other = [
            await stack.enter_async_context(await plain.open(url, autocommit=True)) for _ in "ab"
        ]
        return SessionFeatures(
            transactions=await _allows_transactions(url, plain),
            options=await _takes_options(url, timeouts),
            settings=await _keeps_settings(one, other),
            prepared=await _keeps_statements(one, other),
            listens=await _listens(one, other),
        )


async def _allows_transactions(url: str, timeouts: Timeouts) -> bool:
    async with await timeouts.open(url, autocommit=True) as connection:
        try:
            await connection.execute("BEGIN")
            await connection.execute("COMMIT")
        except psycopg.OperationalError:
            return False
    return True


async def _takes_options(url: str, timeouts: Timeouts) -> bool:
    options = {**timeouts.client_arguments(), "options": f"-c {MARK}=kept"}
    try:
        connection = await Connection.connect(url, autocommit=True, **options)
    except psycopg.OperationalError:
        # The same address accepted a connection without `options` just before.
        return False
    async with connection:
        connection.response_timeout = timeouts.statement
        return await _value(connection, MARK) == "kept"


async def _value(connection: Connection, name: str) -> str | None:
    cursor = await connection.execute("SELECT current_setting(%s, true)", [name])
    row = await cursor.fetchone()
    return row[0] if row else None


async def _keeps_settings(one: Connection, other: Connection) -> bool:
    name = f"trellis.trial_{token_hex(8)}"
    change: LiteralString = "SELECT set_config(%s, %s, false)"
    await one.execute(change, [name, "kept"])
    try:
        for _ in range(ROUNDS):
            if await _value(other, name) or await _value(one, name) != "kept":
                return False
        return True
    finally:
        await one.execute(change, [name, ""])


async def _keeps_statements(one: Connection, other: Connection) -> bool:
    # At protocol level, as drivers prepare: some poolers support that, but none supports PREPARE.
    name = f"trellis_{token_hex(8)}".encode()
    texts = {one: b"one", other: b"other"}
    try:
        for connection, text in texts.items():
            prepare = partial(connection.pgconn.send_prepare, name, b"SELECT '%s'" % text)
            if (await _execute(connection, prepare)).status != ExecStatus.COMMAND_OK:
                return False
        for _ in range(ROUNDS):
            for connection, text in texts.items():
                run = partial(connection.pgconn.send_query_prepared, name, [])
                result = await _execute(connection, run)
                if result.status != ExecStatus.TUPLES_OK or result.get_value(0, 0) != text:
                    return False
        return True
    finally:
        for connection in texts:
            deallocate = partial(connection.pgconn.send_query, b"DEALLOCATE %s" % name)
            await _execute(connection, deallocate)


async def _execute(connection: Connection, send: Callable[[], None]) -> PGresult:
    send()
    results: list[PGresult] = await connection.wait(generators.execute(connection.pgconn))
    return results[-1]


async def _listens(one: Connection, other: Connection) -> bool | None:
    channel = Identifier(f"trellis_{token_hex(8)}")
    try:
        await one.execute(SQL("LISTEN {}").format(channel))
    except psycopg.errors.ReadOnlySqlTransaction:
        return None
    await other.execute(SQL("NOTIFY {}").format(channel))
    received = [each async for each in one.notifies(timeout=NOTICE_SECONDS, stop_after=1)]
    await one.execute(SQL("UNLISTEN {}").format(channel))
    return bool(received)
