"""A mail server that is away or in trouble costs nobody an answer and nobody a mail."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import SecretStr
from sqlalchemy import text

from backend.core.attempts import Pace
from backend.core.context import Context
from backend.core.worker import work
from tests.actors import PASSWORD, Client
from tests.applications import MODULES, make_context
from tests.mail_servers import Postbox, mail_server, scripted_server

PEOPLE = 50
QUICK = Pace(heartbeat=0.5, poll=0.05, first_pause=0.05, patience=0.2)
_UNFINISHED = text("SELECT count(*) FROM procrastinate_jobs WHERE status <> 'succeeded'")


@asynccontextmanager
async def worker(url: str, smtp_port: int) -> AsyncIterator[None]:
    smtp_url = SecretStr(f"smtp://127.0.0.1:{smtp_port}")
    context = make_context(url, smtp_url=smtp_url, email_from="no-reply@example.com")
    stopping = asyncio.Event()
    working = asyncio.create_task(work(context, MODULES, stopping, pace=QUICK))
    try:
        yield
    finally:
        stopping.set()
        await working


async def register(client: Client, number: int) -> None:
    person = {"email": f"person{number}@example.com", "password": PASSWORD}
    answer = await client.post("/api/v1/auth/register", json=person)
    assert answer.status_code == 201, answer.text


async def all_done(context: Context) -> None:
    """Wait until every job has ended well."""
    async with asyncio.timeout(60):
        while True:
            async with context.database.transaction() as session:
                if not await session.scalar(_UNFINISHED):
                    return
            await asyncio.sleep(0.05)


async def test_an_outage_delays_mail_and_nothing_else(
    client: Client, context: Context, database_url: str
) -> None:
    held = asyncio.Event()

    async def hang(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        held.set()
        await asyncio.Event().wait()

    async with scripted_server(hang) as port, worker(database_url, port):
        await asyncio.gather(*(register(client, number) for number in range(PEOPLE // 2)))
        await asyncio.wait_for(held.wait(), 20)
        await asyncio.gather(*(register(client, number) for number in range(PEOPLE // 2, PEOPLE)))
    # Now nobody listens at all, and the worker is another one.
    async with worker(database_url, port):
        await register(client, PEOPLE)
        postbox = Postbox(recipients=["450 4.2.0 greylisted"] * 5, contents=["451 4.3.0 later"] * 5)
        async with mail_server(postbox, port=port):
            await postbox.reach(PEOPLE + 1)
            await all_done(context)
    addresses = sorted(str(mail["To"]) for mail in postbox.mails)
    assert addresses == sorted(f"person{number}@example.com" for number in range(PEOPLE + 1))
    assert len(set(postbox.ids())) == PEOPLE + 1
