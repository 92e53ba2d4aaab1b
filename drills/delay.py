"""A proxy that makes PostgreSQL as slow as one far away: python -m drills.delay SOCKET PORT SECONDS

It is a process of its own, so that the load generator does not delay it.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
from psycopg.conninfo import conninfo_to_dict

from tests.commands import ROOT, eventually, free_port


@contextmanager
def delayed(url: str, seconds: float) -> Iterator[str]:
    """Yield the URL of a proxy to the database that delays each reply by `seconds`.

    Any number of replies wait at the same time, so only a client's connections limit its rate.
    """
    server, port = conninfo_to_dict(url), free_port()
    socket = f"{server['host']}/.s.PGSQL.{server.get('port', 5432)}"
    command = [sys.executable, "-m", "drills.delay", socket, str(port), str(seconds)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL)
    slow = f"postgresql://{server['user']}@127.0.0.1:{port}/{server['dbname']}"
    try:
        eventually(lambda: _connects(slow))
        yield slow
    finally:
        process.kill()
        process.wait()


def _connects(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


async def _serve(socket: str, port: int, seconds: float) -> None:
    async def pump(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await asyncio.sleep(delay)
                writer.write(data)
                await writer.drain()
        writer.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_unix_connection(socket)
        await asyncio.gather(pump(reader, to_server, 0), pump(from_server, writer, seconds))

    async with await asyncio.start_server(forward, "127.0.0.1", port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
