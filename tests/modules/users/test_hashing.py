"""Password hashing does not delay other requests."""

import asyncio
import threading

import pytest

from backend.core.context import Context
from backend.core.errors import ServiceUnavailableError
from backend.core.hash_scheduling.hash_queue import MAX_WAITING
from backend.modules.users.passwords import PasswordHasher, hasher_of, hashing
from tests.actors import PASSWORD, Actor, Client
from tests.hashing import fill_queue

KEY = b"a key for tests, thirty-two long"


@pytest.mark.slow
async def test_the_event_loop_goes_on_while_passwords_are_hashed() -> None:
    hasher = PasswordHasher((KEY,), cost=11)
    hashes = asyncio.gather(*(hasher.hash(f"password {number}") for number in range(4)))
    ticks = 0
    while not hashes.done():
        ticks += 1
        # Lets every other task run once, without a delay.
        await asyncio.sleep(0)
    assert len(set(await hashes)) == 4
    # If hashes ran on the event loop, there would be only a tick or two per hash.
    assert ticks > 100


async def test_comparing_is_off_the_loop_as_well() -> None:
    hasher = PasswordHasher((KEY,), cost=11)
    password_hash = await hasher.hash("password")
    for kept, expected in ((password_hash, True), (None, False)):
        comparison = asyncio.ensure_future(hasher.verify("password", kept))
        ticks = 0
        while not comparison.done():
            ticks += 1
            await asyncio.sleep(0)
        assert await comparison is expected
        assert ticks > 50


async def test_the_key_and_the_password_both_count() -> None:
    hasher = PasswordHasher((KEY,), cost=4)
    password_hash = await hasher.hash("password")
    assert await hasher.verify("password", password_hash)
    assert not await hasher.verify("Password", password_hash)
    assert not await PasswordHasher((KEY[::-1],), cost=4).verify("password", password_hash)


async def test_the_cost_is_the_configured_one() -> None:
    assert "$2b$05$" in await PasswordHasher((KEY,), cost=5).hash("password")
    # A hash of another cost still verifies after the setting has changed.
    old = await PasswordHasher((KEY,), cost=4).hash("password")
    assert await PasswordHasher((KEY,), cost=6).verify("password", old)


async def test_a_hash_outlives_its_key_and_cost_and_is_renewed() -> None:
    old, new = PasswordHasher((KEY,), cost=4), PasswordHasher((KEY[::-1], KEY), cost=4)
    stored = await old.hash("password")
    assert await old.renewed("password", stored) is None
    assert await new.verify("password", stored)
    assert not await new.verify("Password", stored)
    renewed = await new.renewed("password", stored)
    assert renewed is not None
    assert await new.renewed("password", renewed) is None
    assert await PasswordHasher((KEY[::-1],), cost=4).verify("password", renewed)
    dearer = await PasswordHasher((KEY,), cost=5).renewed("password", stored)
    assert dearer is not None
    assert "$2b$05$" in dearer


async def test_more_than_can_wait_are_turned_away() -> None:
    hasher = PasswordHasher((KEY,), cost=4)
    places = hasher.threads.threads + MAX_WAITING["sign-in"]
    results = await asyncio.gather(
        *(hasher.hash("password") for _ in range(places + 5)), return_exceptions=True
    )
    refused = [each for each in results if isinstance(each, ServiceUnavailableError)]
    assert len(refused) == 5
    assert sum(isinstance(each, str) for each in results) == places
    assert isinstance(await hasher.hash("password"), str)


@pytest.mark.parametrize("path", ["login", "register"])
async def test_a_full_queue_is_503_and_holds_nobody_else_up(
    ada: Actor, client: Client, context: Context, path: str
) -> None:
    release = threading.Event()
    waiting = await fill_queue(context, release)
    try:
        answer = await client.post(
            f"/api/v1/auth/{path}", json={"email": "new@example.com", "password": PASSWORD}
        )
        assert (answer.status_code, answer.json()["error"]) == (503, "SERVICE_UNAVAILABLE")
        assert int(answer.headers["retry-after"]) >= 1
        assert (await ada.get("/api/v1/users/me")).status_code == 200
    finally:
        release.set()
        await asyncio.gather(*waiting)
    assert (
        await client.post("/api/v1/auth/login", json={"email": ada.email, "password": PASSWORD})
    ).status_code == 200


async def test_threads_end_with_the_application(context: Context) -> None:
    hasher = hasher_of(context)
    async with hashing(context):
        assert await hasher.hash("password")
    with pytest.raises(RuntimeError):
        await hasher.hash("password")
