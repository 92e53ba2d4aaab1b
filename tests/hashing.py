"""Helpers that fill the queue of password hashes."""

import asyncio
import threading

from backend.core.client_info import current_scope
from backend.core.context import Context
from backend.core.hash_scheduling.hash_queue import MAX_WAITING, Lane, Waiting
from backend.modules.users.passwords import hasher_of


def threads_of(context: Context) -> int:
    """Return the number of passwords hashed at the same time."""
    return hasher_of(context).threads.threads


def waiting_sign_ins(context: Context) -> Waiting:
    return hasher_of(context).threads.queue._lanes["sign-in"]


async def start_hash(
    context: Context, client: str, release: threading.Event, lane: Lane = "sign-in"
) -> asyncio.Task[bool]:
    """Enqueue a hash for a request from the address `client`; it lasts until `release` is set."""

    async def hash_something() -> bool:
        current_scope.set({"type": "http", "client": (client, 1), "headers": [], "request_id": ""})
        return await hasher_of(context).threads.run(release.wait, lane)

    task = asyncio.ensure_future(hash_something())
    # The task enters the queue in this iteration of the loop.
    await asyncio.sleep(0)
    return task


async def guess_as(context: Context, client: str) -> None:
    """A wrong password in a request from this address."""

    async def guess() -> bool:
        current_scope.set({"type": "http", "client": (client, 1), "headers": [], "request_id": ""})
        return await hasher_of(context).verify("wrong", None)

    assert not await asyncio.create_task(guess())


async def fill_queue(context: Context, release: threading.Event) -> list[asyncio.Future[bool]]:
    """Occupy all threads and fill all lanes but that of guesses, each place with another client."""
    sign_ins = threads_of(context) + MAX_WAITING["sign-in"]
    known = [f"203.0.113.{each}" for each in range(MAX_WAITING["known"])]
    for client in known:
        hasher_of(context).threads.queue.record_result(client, verified=True)
    return [
        *[await start_hash(context, f"192.0.2.{each}", release) for each in range(sign_ins)],
        *[await start_hash(context, client, release) for client in known],
        *[
            await start_hash(context, f"198.51.100.{each}", release, "registration")
            for each in range(MAX_WAITING["registration"])
        ],
    ]
