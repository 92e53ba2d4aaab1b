"""A busy queue of password hashes."""

import asyncio
import threading

from backend.core.client_info import current_scope
from backend.core.context import Context
from backend.core.hash_queue import MAX_WAITING, Lane, Waiting
from backend.modules.users.passwords import hasher_of


def threads_of(context: Context) -> int:
    """How many passwords are hashed at once."""
    return hasher_of(context).threads.threads


def sign_ins_waiting(context: Context) -> Waiting:
    return hasher_of(context).threads.queue._lanes["sign-in"]


async def wait_as(
    context: Context, client: str, release: threading.Event, lane: Lane = "sign-in"
) -> asyncio.Task[bool]:
    """A hash for a request from this address, which takes until `release` is set."""

    async def hash_something() -> bool:
        current_scope.set({"type": "http", "client": (client, 1), "headers": [], "request_id": ""})
        return await hasher_of(context).threads.run(release.wait, lane)

    task = asyncio.ensure_future(hash_something())
    # Each takes its place in one turn of the loop.
    await asyncio.sleep(0)
    return task


async def queue_full_of_others(
    context: Context, release: threading.Event
) -> list[asyncio.Future[bool]]:
    """Every thread busy and every place of both lanes taken, each by another client."""
    sign_ins = threads_of(context) + MAX_WAITING["sign-in"]
    return [
        *[await wait_as(context, f"192.0.2.{each}", release) for each in range(sign_ins)],
        *[
            await wait_as(context, f"198.51.100.{each}", release, "registration")
            for each in range(MAX_WAITING["registration"])
        ],
    ]
