"""Whether an address leads to sessions that last, or to a pooler that lends them by transaction.

Two clients do what needs a session, several times in turn. Behind a transaction pooler they meet
each other's sessions, or lose their own.
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
class Trial:
    """Features that were found to work at an address.

    transactions  transactions of several statements
    options       the startup parameter `options`, by which connections ask for their time limits
    settings      what SET leaves for later transactions of the same client, and of no other
    prepared      statements that an earlier transaction prepared
    listens       LISTEN hears a NOTIFY; None on a standby, where nobody may listen
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
        """Session features that this address lacks."""
        named = {
            "prepared statements": self.prepared,
            "session settings": self.settings,
            "LISTEN": self.listens,
        }
        return [name for name, works in named.items() if works is False]


async def try_session(url: str, timeouts: Timeouts) -> Trial:
    """Find out what works at this address; `psycopg.OperationalError` if it cannot be reached.

    Takes a second longer where nobody hears a NOTIFY. A pooler's sessions may be left with names
    that nobody else uses.
    """
    async with AsyncExitStack() as stack:
        plain = replace(timeouts, pooled=True)
        one, other = [
            await stack.enter_async_context(await plain.open(url, autocommit=True)) for _ in "ab"
        ]
        return Trial(
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
        # Without that parameter there was an answer just now.
        return False
    async with connection:
        connection.answer = timeouts.statement
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
    # By the protocol, as drivers do: some poolers keep those, but none the statement PREPARE.
    name = f"trellis_{token_hex(8)}".encode()
    texts = {one: b"one", other: b"other"}
    try:
        for connection, text in texts.items():
            prepare = partial(connection.pgconn.send_prepare, name, b"SELECT '%s'" % text)
            if (await _sent(connection, prepare)).status != ExecStatus.COMMAND_OK:
                return False
        for _ in range(ROUNDS):
            for connection, text in texts.items():
                run = partial(connection.pgconn.send_query_prepared, name, [])
                result = await _sent(connection, run)
                if result.status != ExecStatus.TUPLES_OK or result.get_value(0, 0) != text:
                    return False
        return True
    finally:
        for connection in texts:
            forget = partial(connection.pgconn.send_query, b"DEALLOCATE %s" % name)
            await _sent(connection, forget)


async def _sent(connection: Connection, send: Callable[[], None]) -> PGresult:
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
    heard = [each async for each in one.notifies(timeout=NOTICE_SECONDS, stop_after=1)]
    await one.execute(SQL("UNLISTEN {}").format(channel))
    return bool(heard)
