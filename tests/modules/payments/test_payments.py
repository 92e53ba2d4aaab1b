"""Payments of modules, and webhooks whose effects happen once, against a server like Stripe's."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import func, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.requests import Request

from backend.core.authorization import unlimited
from backend.core.context import Context
from backend.core.http.dependencies import CurrentContext, Session
from backend.core.http.routing import Router
from backend.core.module import Module
from backend.core.principal import SYSTEM
from backend.core.registry import ordered
from backend.db.base import utc_now
from backend.integrations.payments import Payment
from backend.modules.payments import service as payments
from backend.modules.payments.exceptions import (
    InvalidWebhookError,
    PaymentNotFoundError,
    PaymentRefusedError,
    PaymentServiceError,
)
from backend.modules.payments.jobs import PURGE_EVENTS
from backend.modules.payments.models import ReceivedEvent
from backend.telemetry.metrics import Metrics
from tests.actors import Client
from tests.applications import MODULES, make_app, make_context
from tests.documents import code_blocks
from tests.stripe_server import (
    KEY,
    WEBHOOK_SECRET,
    StripeServer,
    event_about,
    signature_of,
    stripe_server,
)

INTENT = {
    "id": "pi_1",
    "object": "payment_intent",
    "amount": 1200,
    "currency": "eur",
    "status": "succeeded",
    "metadata": {"order": "17"},
}
BODY = event_about(INTENT)


@pytest.fixture
async def stripe() -> AsyncIterator[StripeServer]:
    async with stripe_server() as server:
        yield server


@pytest.fixture
async def context(database_url: str, stripe: StripeServer) -> AsyncIterator[Context]:
    made = make_context(
        database_url,
        stripe_secret_key=KEY,
        stripe_webhook_secret=WEBHOOK_SECRET,
        stripe_url=stripe.url,
    )
    yield made
    await made.close()


async def create(context: Context, amount: int = 1200) -> Payment:
    return await payments.create_payment(
        context, SYSTEM, amount=amount, currency="eur", key="order-17", metadata={"order": "17"}
    )


async def accept(context: Context, session: AsyncSession, body: bytes = BODY) -> Any:
    signature = signature_of(body, time.time())
    return await payments.accept_event(context, session, SYSTEM, body, signature)


async def test_a_payment_is_created_once_and_read(context: Context) -> None:
    made = await create(context)
    assert (made.amount, made.status, made.metadata) == (1200, "open", {"order": "17"})
    assert await create(context) == made
    assert await payments.read_payment(context, SYSTEM, made.id) == made


async def test_errors_are_those_of_the_api(context: Context, stripe: StripeServer) -> None:
    with pytest.raises(PaymentRefusedError):
        await create(context, amount=1)
    with pytest.raises(PaymentNotFoundError):
        await payments.read_payment(context, SYSTEM, "pi_9")
    stripe.faults = [(429, {"Retry-After": "60"})]
    with pytest.raises(PaymentServiceError) as caught:
        await create(context)
    assert caught.value.headers["Retry-After"] == "30"


async def test_the_state_of_its_circuit_is_a_metric(database_url: str) -> None:
    context = make_context(database_url, stripe_secret_key=KEY, metrics=Metrics())
    payments._provider(context)
    assert context.metrics is not None
    value = context.metrics.registry.get_sample_value
    assert value("trellis_service_circuit_open", {"service": "stripe"}) == 0
    await context.close()


async def test_without_a_key_there_are_no_payments(database_url: str) -> None:
    context = make_context(database_url)
    with pytest.raises(PaymentServiceError):
        await create(context)
    await context.close()


async def test_an_event_is_accepted_once(context: Context) -> None:
    for expected in (True, False):
        async with context.database.transaction() as session:
            assert (await accept(context, session) is not None) is expected
    async with context.database.transaction() as session:
        assert await accept(context, session, event_about(INTENT, id="evt_2")) is not None


async def test_an_event_whose_transaction_fails_is_accepted_later(context: Context) -> None:
    with suppress(LookupError):
        async with context.database.transaction() as session:
            await accept(context, session)
            raise LookupError
    async with context.database.transaction() as session:
        assert await accept(context, session) is not None


async def test_of_simultaneous_deliveries_one_is_accepted(context: Context) -> None:
    async def deliver() -> bool:
        async with context.database.transaction() as session:
            event = await accept(context, session)
            await asyncio.sleep(0.05)
        return event is not None

    assert sorted(await asyncio.gather(*(deliver() for _ in range(4)))) == [False] * 3 + [True]


async def test_forged_and_old_events_leave_no_row(context: Context) -> None:
    old = signature_of(BODY, time.time() - 301)
    for signature in ("", old, signature_of(BODY, time.time(), "whsec_wrong")):
        async with context.database.transaction() as session:
            with pytest.raises(InvalidWebhookError):
                await payments.accept_event(context, session, SYSTEM, BODY, signature)
    assert await stored(context) == 0


async def stored(context: Context) -> int:
    async with context.database.transaction() as session:
        return (await session.exec(select(func.count()).select_from(ReceivedEvent))).one()


async def test_ids_of_events_are_kept_for_a_month(context: Context) -> None:
    async with context.database.transaction() as session:
        await accept(context, session)
        await accept(context, session, event_about(INTENT, id="evt_2"))
        old = update(ReceivedEvent).where(col(ReceivedEvent.event_id) == "evt_2")
        await session.exec(old.values(received_at=utc_now() - timedelta(days=32)))
    await PURGE_EVENTS.run(context)
    assert await stored(context) == 1


async def test_the_documented_webhook_route(context: Context) -> None:
    """The route of docs/services.md, in a module that is added to the application."""
    paid: list[str] = []

    async def mark_paid(_: AsyncSession, order: str) -> None:
        paid.append(order)

    (route,) = [block for block in code_blocks("services.md") if "receive_event" in block]
    names: dict[str, Any] = {
        "Any": Any,
        "CurrentContext": CurrentContext,
        "Request": Request,
        "Router": Router,
        "SYSTEM": SYSTEM,
        "Session": Session,
        "mark_paid": mark_paid,
        "payments": payments,
        "unlimited": unlimited,
    }
    exec(route, names)  # noqa: S102  # our own document
    orders = Module("made_orders", router=names["router"], depends_on=("payments",))
    ordered((*MODULES, orders))  # raises an error for each route without exactly one policy
    context.state.started = True
    path = "/api/v1/orders/payment-events"
    async with Client(make_app(context, (*MODULES, orders))) as client:

        async def post(signature: str, body: bytes = BODY) -> httpx.Response:
            headers = {
                "Stripe-Signature": signature,
                "Content-Type": "application/json; charset=utf-8",
            }
            return await client.post(path, content=body, headers=headers)

        for _ in range(2):
            assert (await post(signature_of(BODY, time.time()))).status_code == 204
        of_others = event_about({**INTENT, "metadata": {}}, id="evt_2")
        assert (await post(signature_of(of_others, time.time()), of_others)).status_code == 204
        refused = await post("t=1,v1=0")
        assert (refused.status_code, refused.json()["error"]) == (400, "INVALID_WEBHOOK")
        assert (await post("", b"x" * 2_000_000)).status_code == 413
    assert paid == ["17"]
