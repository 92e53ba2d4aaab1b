"""The total size of the bodies in memory is bounded per process and per client."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from backend.core.http import bodies
from backend.core.http.bodies import held_bytes
from tests.actors import Client
from tests.core.conftest import Served

ITEMS = "/api/v1/items"
LOGIN = "/api/v1/auth/login"
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
LARGE = b'{"title": "x", "description": "' + b"x" * 150_000


@pytest.fixture(autouse=True)
def _little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MAX_HELD_BYTES", 200_000)
    monkeypatch.setattr(bodies, "MAX_HELD_OF_ONE", 200_000)


async def slowly(arrived: asyncio.Event, rest: asyncio.Event) -> AsyncIterator[bytes]:
    """A large body whose end waits for `rest`; `arrived` is set when the server reads on."""
    yield LARGE
    arrived.set()
    await rest.wait()
    yield b'"}'


@pytest.mark.parametrize(("path", "headers"), [(ITEMS, JSON), (LOGIN, JSON), (LOGIN, FORM)])
async def test_large_bodies_wait_while_others_are_held(
    served: Served, path: str, headers: dict[str, str]
) -> None:
    arrived, rest = asyncio.Event(), asyncio.Event()
    content = slowly(arrived, rest)
    slow = asyncio.create_task(served.member.post(path, content=content, headers=headers))
    await arrived.wait()
    refused = await served.member.post(path, content=LARGE + b'"}', headers=headers)
    assert (refused.status_code, refused.json()["error"]) == (503, "SERVICE_UNAVAILABLE")
    assert refused.headers["retry-after"] == "1"
    small = await served.member.post(ITEMS, json={"title": "x"})
    assert small.status_code == 201
    rest.set()
    assert (await slow).status_code == 422
    assert not held_bytes(served.app.state.context)
    again = await served.member.post(path, content=LARGE + b'"}', headers=headers)
    assert again.status_code == 422


async def test_one_client_does_not_hold_all(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "MAX_HELD_BYTES", 400_000)
    monkeypatch.setattr(bodies, "MAX_HELD_OF_ONE", 200_000)
    arrived, rest = asyncio.Event(), asyncio.Event()

    async def send(address: str, content: AsyncIterator[bytes] | bytes) -> int:
        async with Client(served.app, address=address) as client:
            return (await client.post(LOGIN, content=content, headers=JSON)).status_code

    slow = asyncio.create_task(send("2001:db8::1", slowly(arrived, rest)))
    await arrived.wait()
    assert await send("2001:db8::2", LARGE + b'"}') == 503
    assert await send("2001:db8:0:1::1", LARGE + b'"}') == 422
    rest.set()
    assert await slow == 422
    assert not held_bytes(served.app.state.context)


@pytest.mark.parametrize("end", [b"", b'"}', b"x" * 1024 * 1024])
async def test_a_body_is_held_no_longer_than_its_request(served: Served, end: bytes) -> None:
    for _ in range(3):
        answer = await served.member.post(ITEMS, content=LARGE + end, headers=JSON)
        assert answer.status_code in (400, 413, 422)
        assert not held_bytes(served.app.state.context)
