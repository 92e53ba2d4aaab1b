"""Calls of a service that is slow, overloaded, broken or away, over real connections."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from typing import Any

import pytest
from pydantic import BaseModel
from structlog.testing import capture_logs

from backend.integrations import http_service
from backend.integrations.circuit_breaker import CircuitBreaker
from backend.integrations.http_service import (
    HttpService,
    ServiceRefusedError,
    ServiceSuspendedError,
    ServiceUnavailableError,
    ServiceUnreachableError,
)
from backend.telemetry.metrics import SERVICE_CALLS, Metrics
from tests.documents import code_blocks
from tests.mail_servers import scripted_server
from tests.stripe_server import KEY, Fault, StripeServer, stripe_server

HEADERS = {"Authorization": f"Bearer {KEY}"}
FORM = {"amount": "1200", "currency": "eur"}


class Reply(BaseModel):
    id: str
    amount: int


@pytest.fixture
async def stripe(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[StripeServer]:
    monkeypatch.setattr(http_service, "FIRST_PAUSE", 0.01)
    async with stripe_server() as server:
        yield server


def service(url: str, **options: Any) -> HttpService:
    return HttpService("Stripe", url, headers=HEADERS, **options)


async def create(client: HttpService, key: str | None = "order-1") -> Reply:
    return await client.read(
        Reply, "create_payment", "POST", "/v1/payment_intents", form=FORM, idempotency_key=key
    )


@pytest.mark.parametrize("fault", [(500, {}), (503, {}), (429, {}), "reset", "half"])
async def test_a_call_with_a_key_is_repeated_and_has_one_effect(
    stripe: StripeServer, fault: Fault
) -> None:
    stripe.faults = [fault, fault]
    assert (await create(service(stripe.url))).amount == 1200
    assert len(stripe.requests) == 3
    assert len(stripe.payments) == 1
    assert {each.headers["idempotency-key"] for each in stripe.requests} == {"order-1"}


@pytest.mark.parametrize("fault", [(503, {}), (429, {}), "reset", "half"])
async def test_a_post_without_a_key_is_not_repeated(stripe: StripeServer, fault: Fault) -> None:
    stripe.faults = [fault]
    with pytest.raises(ServiceUnavailableError):
        await create(service(stripe.url), key=None)
    assert len(stripe.requests) == 1


async def test_a_get_is_repeated(stripe: StripeServer) -> None:
    made = await create(service(stripe.url))
    stripe.faults = ["reset", (502, {})]
    path = f"/v1/payment_intents/{made.id}"
    assert await service(stripe.url).read(Reply, "read_payment", "GET", path) == made


async def test_a_refusal_is_not_repeated(stripe: StripeServer) -> None:
    with pytest.raises(ServiceRefusedError) as caught:
        await service(stripe.url).call("read_payment", "GET", "/v1/payment_intents/pi_9")
    assert (caught.value.status, str(caught.value)) == (404, "Stripe responds 404.")
    assert b"resource_missing" in caught.value.body
    assert len(stripe.requests) == 1


async def test_an_invalid_address_is_refused(stripe: StripeServer) -> None:
    for path in ("/orders/1\n", "/" + "x" * 70_000):
        client = service(stripe.url, breaker=CircuitBreaker(failures=1))
        with pytest.raises(ServiceRefusedError, match=r"^Stripe has no such address\.$"):
            await client.call("read_order", "GET", path)
        assert (await create(client)).id == "pi_1"


async def test_attempts_are_bounded(stripe: StripeServer) -> None:
    stripe.faults = [(500, {})] * 9
    with capture_logs() as lines, pytest.raises(ServiceUnavailableError):
        await create(service(stripe.url))
    assert len(stripe.requests) == 3
    (line,) = lines
    assert (line["operation"], line["attempts"]) == ("create_payment", 3)
    assert KEY not in str(lines)


async def test_calls_are_counted_by_outcome_and_so_is_an_open_circuit(
    stripe: StripeServer,
) -> None:
    metrics, now = Metrics(), 0.0
    breaker = CircuitBreaker(failures=3, clock=lambda: now)
    client = service(stripe.url, breaker=breaker, metrics=metrics)

    def counted() -> dict[str, float | None]:
        metrics.sample_circuits()
        name = "trellis_service_call_duration_seconds_count"
        labels = [{"service": "stripe", "outcome": each} for each in SERVICE_CALLS]
        found = [metrics.registry.get_sample_value(name, each) for each in labels]
        circuit = "trellis_service_circuit_open"
        is_open = metrics.registry.get_sample_value(circuit, {"service": "stripe"})
        return dict(zip((*SERVICE_CALLS, "open"), (*found, is_open), strict=True))

    # The series exist before the first call: a counter that begins with 1 does not rise.
    assert set(counted().values()) == {0}
    await create(client)
    with pytest.raises(ServiceRefusedError):
        await client.call("read_payment", "GET", "/v1/payment_intents/pi_9")
    stripe.faults = [(500, {})] * 3
    with pytest.raises(ServiceUnavailableError):
        await create(client, key="order-2")
    with pytest.raises(ServiceSuspendedError):
        await create(client, key="order-2")
    assert counted() == {"done": 1, "refused": 1, "failed": 1, "suspended": 1, "open": 1}
    now = 31.0
    await create(client, key="order-2")
    assert counted() == {"done": 2, "refused": 1, "failed": 1, "suspended": 1, "open": 0}


async def test_an_unreachable_service_is_tried_again_even_by_post() -> None:
    attempts = 0

    async def count(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        nonlocal attempts
        attempts += 1

    async with scripted_server(count) as port:
        pass
    with capture_logs() as lines, pytest.raises(ServiceUnreachableError) as caught:
        await create(service(f"http://127.0.0.1:{port}"), key=None)
    assert str(caught.value) == "Stripe cannot be reached (ConnectError)."
    assert lines[0]["attempts"] == 3
    assert attempts == 0


@pytest.mark.parametrize(
    "after",
    ["1", format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)],
    ids=["seconds", "date"],
)
async def test_retry_after_beyond_the_deadline_fails_at_once(
    stripe: StripeServer, after: str
) -> None:
    stripe.faults = [(429, {"Retry-After": after})]
    with pytest.raises(ServiceUnavailableError) as caught:
        await create(service(stripe.url, deadline=0.9))
    assert (caught.value.retry_after or 0) > 0.9
    assert len(stripe.requests) == 1


@pytest.mark.parametrize(
    "after", ["Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "Mon, 01 Jan 2026 00:00:00", "soon"]
)
async def test_an_unreadable_retry_after_is_none(stripe: StripeServer, after: str) -> None:
    stripe.faults = [(429, {"Retry-After": after})]
    assert (await create(service(stripe.url))).id == "pi_1"


async def test_retry_after_within_the_deadline_is_waited_for(
    stripe: StripeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    stripe.faults = [(429, {"Retry-After": "3"}), (503, {}), (503, {"Retry-After": "soon"})]
    await create(service(stripe.url, attempts=4))
    first, second, third = pauses
    assert 3 < first < 3.1
    assert max(second, third) < 0.1


async def test_the_deadline_includes_all_attempts(stripe: StripeServer) -> None:
    stripe.faults = [(500, {}), "silent"]
    with pytest.raises(ServiceUnavailableError, match=r"^Stripe does not respond in time\.$"):
        await create(service(stripe.url, deadline=0.3))
    assert len(stripe.requests) == 2


async def test_a_response_that_trickles_ends_at_the_deadline() -> None:
    async def trickle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.05)

    async with scripted_server(trickle) as port:
        with pytest.raises(ServiceUnavailableError, match="in time"):
            await create(service(f"http://127.0.0.1:{port}", deadline=0.3))


async def test_a_response_without_end_is_cut() -> None:
    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async with scripted_server(flood) as port:
        with pytest.raises(ServiceUnavailableError, match="more than 1048576 bytes"):
            await create(service(f"http://127.0.0.1:{port}", attempts=1))


async def test_a_response_of_another_form(stripe: StripeServer) -> None:
    stripe.faults = [(200, {})]
    with pytest.raises(ServiceUnavailableError, match="unknown form") as caught:
        await create(service(stripe.url))
    assert caught.value.__cause__ is None
    assert KEY not in str(caught.value)


async def test_a_service_that_is_down_is_not_called(stripe: StripeServer) -> None:
    client = service(stripe.url, attempts=1, breaker=CircuitBreaker(failures=2, seconds=60))
    stripe.faults = ["reset", (500, {})]
    for _ in range(2):
        with pytest.raises(ServiceUnavailableError):
            await create(client)
    with pytest.raises(ServiceUnavailableError, match=r"not called for 60 s") as caught:
        await create(client)
    assert (caught.value.retry_after or 0) > 59
    assert len(stripe.requests) == 2


async def test_it_recovers(stripe: StripeServer) -> None:
    client = service(stripe.url, attempts=1, breaker=CircuitBreaker(failures=1, seconds=0.05))
    stripe.faults = [(500, {})]
    with pytest.raises(ServiceUnavailableError):
        await create(client)
    await asyncio.sleep(0.06)
    assert (await create(client)).id == "pi_1"


@pytest.mark.parametrize("fault", [(429, {}), (404, {})])
async def test_refusals_do_not_open_the_circuit(stripe: StripeServer, fault: Fault) -> None:
    client = service(stripe.url, attempts=1, breaker=CircuitBreaker(failures=1))
    stripe.faults = [fault]
    with pytest.raises(http_service.ServiceError):
        await create(client)
    assert (await create(client)).id == "pi_1"


async def test_the_documented_client() -> None:
    """The client that docs/services.md adds."""
    (code,) = [block for block in code_blocks("services.md") if "class ExchangeRates" in block]
    names: dict[str, Any] = {"__name__": "exchange_rates"}
    exec(code, names)  # noqa: S102  # our own document
    asked = []
    replies = [
        b"500 Down\r\n\r\n",
        b'200 OK\r\n\r\n{"rate": "1.0842", "at": "noon"}',
        b"404 No\r\n\r\n",
    ]

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 " + replies.pop(0))
        await writer.drain()

    async with scripted_server(respond) as port:
        rates = names["ExchangeRates"](KEY, url=f"http://127.0.0.1:{port}")
        assert await rates.rate("EUR", to="USD") == Decimal("1.0842")
        with pytest.raises(names["RatesUnavailableError"], match=r"^Rates responds 404\.$"):
            await rates.rate("EUR", to="XXX")
    assert asked[1].startswith(b"GET /rates?from=EUR&to=USD HTTP/1.1")
    assert f"Authorization: Bearer {KEY}".encode() in asked[1]
