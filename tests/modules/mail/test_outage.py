"""An unavailable mail server delays no response and loses no mail."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest
from pydantic import SecretStr
from sqlalchemy import TextClause, text

from backend.core.context import Context
from backend.core.module import Module
from backend.worker.job_execution import WorkerConfig
from backend.worker.supervisor import CONCURRENCY, work
from tests.actors import PASSWORD, Client
from tests.applications import MODULES, make_context
from tests.mail_servers import Postbox, mail_server, scripted_server

PEOPLE = 50
QUICK = WorkerConfig(heartbeat=0.5, poll=0.05, first_pause=0.05, patience=0.2)
# In seconds. The usual longest pause, three hours, is too long for a test.
OUTAGE, LONGEST_PAUSE = 30, 5
_UNSEALED = text("SELECT count(*) FROM audit_waiting")
_UNFINISHED = text("SELECT count(*) FROM procrastinate_jobs WHERE status <> 'succeeded'")


@asynccontextmanager
async def worker(
    url: str, smtp_port: int, *, modules: tuple[Module, ...] = MODULES, config: WorkerConfig = QUICK
) -> AsyncIterator[None]:
    smtp_url = SecretStr(f"smtp://127.0.0.1:{smtp_port}")
    context = make_context(url, smtp_url=smtp_url, email_from="no-reply@example.com")
    stopping = asyncio.Event()
    working = asyncio.create_task(work(context, modules, stopping, config=config))
    try:
        yield
    finally:
        stopping.set()
        await working


async def register(client: Client, number: int) -> float:
    """Register an account and return the response time in seconds."""
    person = {"email": f"person{number}@example.com", "password": PASSWORD}
    begun = time.monotonic()
    answer = await client.post("/api/v1/auth/register", json=person)
    assert answer.status_code == 201, answer.text
    return time.monotonic() - begun


async def none_left(context: Context, query: TextClause, *, within: float = 60) -> None:
    """Wait until the query counts zero rows."""
    async with asyncio.timeout(within):
        while True:
            async with context.database.transaction() as session:
                if not await session.scalar(query):
                    return
            await asyncio.sleep(0.05)


@pytest.mark.slow
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
    # No server listens now, and another worker runs.
    async with worker(database_url, port):
        await register(client, PEOPLE)
        postbox = Postbox(recipients=["450 4.2.0 greylisted"] * 5, contents=["451 4.3.0 later"] * 5)
        async with mail_server(postbox, port=port):
            await postbox.wait_for_mails(PEOPLE + 1)
            await none_left(context, _UNFINISHED)
    assert_each_got_one(postbox, PEOPLE + 1)


def assert_each_got_one(postbox: Postbox, people: int) -> None:
    addresses = sorted(str(mail["To"]) for mail in postbox.mails)
    assert addresses == sorted(f"person{number}@example.com" for number in range(people))
    assert len(set(postbox.ids())) == people


@pytest.mark.parametrize("outage", ["away", "hangs"])
@pytest.mark.slow
async def test_half_a_minute_without_a_mail_server_holds_up_no_answer(
    client: Client,
    context: Context,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    outage: str,
) -> None:
    monkeypatch.setattr("backend.worker.job_execution.LONGEST_PAUSE", LONGEST_PAUSE)
    times: list[float] = []
    held = 0

    async def hang(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        nonlocal held
        held += 1
        await asyncio.Event().wait()

    async with scripted_server(hang) as port:
        pass
    async with worker(database_url, port, config=WorkerConfig(poll=0.5, first_pause=1)):
        async with AsyncExitStack() as stack:
            if outage == "hangs":
                await stack.enter_async_context(scripted_server(hang, port=port))
            end = time.monotonic() + OUTAGE
            for number in range(PEOPLE):
                times.append(await register(client, number))
                await asyncio.sleep((end - time.monotonic()) / (PEOPLE - number))
            # Connections have timed out and have been replaced by new ones.
            assert (held > 2 * CONCURRENCY) == (outage == "hangs")
        postbox = Postbox()
        async with mail_server(postbox, port=port):
            await none_left(context, _UNFINISHED)
            usual = [await register(client, PEOPLE + number) for number in range(5)]
            await none_left(context, _UNFINISHED)
    assert_each_got_one(postbox, PEOPLE + 5)
    # A response that waited for the mail server would have taken ten seconds.
    assert max(times) < max(usual) + 2


@pytest.mark.slow
async def test_events_are_sealed_while_all_mails_hang(
    client: Client, context: Context, database_url: str
) -> None:
    held = asyncio.Semaphore(0)

    async def hang(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        held.release()
        await asyncio.Event().wait()

    modules = tuple(
        replace(module, jobs=tuple(replace(job, cron="* * * * * *") for job in module.jobs))
        if module.name == "audit"
        else module
        for module in MODULES
    )
    async with scripted_server(hang) as port, worker(database_url, port, modules=modules):
        await asyncio.gather(*(register(client, number) for number in range(3 * CONCURRENCY)))
        async with asyncio.timeout(20):
            for _ in range(CONCURRENCY):
                await held.acquire()
        await register(client, 3 * CONCURRENCY)
        # Sooner than any mail times out, so sealing does not wait for a mail job to end.
        await none_left(context, _UNSEALED, within=8)
