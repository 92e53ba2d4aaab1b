"""Payments and signed webhooks, against a local server that behaves like Stripe's API."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from backend.integrations import http_service
from backend.integrations.payments import (
    Payment,
    PaymentDeclinedError,
    PaymentError,
    PaymentsUnavailableError,
    UnknownPaymentError,
    WebhookRefusedError,
)
from backend.integrations.payments.stripe import StripePayments
from tests.stripe_server import (
    KEY,
    WEBHOOK_SECRET,
    Fault,
    StripeServer,
    event_about,
    signature_of,
    stripe_server,
)

NOW = 1_800_000_000
INTENT = {
    "id": "pi_1",
    "object": "payment_intent",
    "amount": 1200,
    "currency": "eur",
    "status": "succeeded",
}


@pytest.fixture
async def stripe(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[StripeServer]:
    monkeypatch.setattr(http_service, "FIRST_PAUSE", 0.01)
    async with stripe_server() as server:
        yield server


def payments(url: str = "http://127.0.0.1:9", **options: Any) -> StripePayments:
    return StripePayments(KEY, WEBHOOK_SECRET, url=url, clock=lambda: NOW, **options)


async def create(client: StripePayments, amount: int = 1200, currency: str = "eur") -> Payment:
    metadata = {"order": "17 & 18"}
    return await client.create(amount=amount, currency=currency, key="order-17", metadata=metadata)


async def test_a_payment_is_created_once_and_read(stripe: StripeServer) -> None:
    client = payments(stripe.url)
    stripe.faults = ["half", (500, {})]
    made = await create(client)
    assert made == Payment("pi_1", 1200, "eur", "open", {"order": "17 & 18"}, "pi_1_secret")
    assert await create(client) == made
    assert await client.read(made.id) == made
    assert list(stripe.payments) == ["pi_1"]
    assert "pi_1_secret" not in repr(made)
    request = stripe.requests[0]
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["stripe-version"]


async def test_refused_payments(stripe: StripeServer) -> None:
    client = payments(stripe.url)
    await create(client)
    with pytest.raises(PaymentError) as reused:
        await create(client, amount=1300)
    assert str(reused.value) == "Stripe responds 400 idempotency_error."
    with pytest.raises(UnknownPaymentError):
        await client.read("pi_9")
    received = len(stripe.requests)
    for unusable in ("", ".", "..", "../charges?limit=3", "pi_1\n", "pi_é", "x" * 256):
        with pytest.raises(UnknownPaymentError):
            await client.read(unusable)
    assert len(stripe.requests) == received


async def test_codes_of_refusals(stripe: StripeServer) -> None:
    with pytest.raises(PaymentError) as small:
        await create(payments(stripe.url), amount=1)
    assert small.value.code == "amount_too_small"
    with pytest.raises(PaymentDeclinedError) as declined:
        await create(payments(stripe.url), currency="xxx")
    assert declined.value.code == "lost_card"


@pytest.mark.parametrize(
    "fault",
    [(409, {}), (409, {}, "idempotency_error"), (429, {}), (500, {}), "silent", "reset"],
)
async def test_no_usable_response(stripe: StripeServer, fault: Fault) -> None:
    stripe.faults = [fault] * 3
    with pytest.raises(PaymentsUnavailableError) as caught:
        await create(payments(stripe.url, deadline=0.5))
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_a_wrong_key_is_for_the_operator(stripe: StripeServer) -> None:
    with pytest.raises(PaymentsUnavailableError, match="401"):
        await create(StripePayments("sk_test_wrong", url=stripe.url))


def test_a_signed_event() -> None:
    body = event_about(INTENT)
    event = payments().verify(body, signature_of(body, NOW))
    assert (event.id, event.kind) == ("evt_1", "payment_intent.succeeded")
    assert event.created_at == datetime.fromtimestamp(1_700_000_000, UTC)
    assert event.payment == Payment("pi_1", 1200, "eur", "succeeded")


def test_while_the_secret_changes_one_of_two_signatures_is_right() -> None:
    body = event_about(INTENT)
    signature = signature_of(body, NOW, "whsec_new", WEBHOOK_SECRET)
    assert payments().verify(body, signature).id == "evt_1"


def test_an_event_about_something_else() -> None:
    body = event_about({"id": "cus_1", "object": "customer", "status": "x"})
    assert payments().verify(body, signature_of(body, NOW)).payment is None


@pytest.mark.parametrize(("age", "accepted"), [(300, True), (-300, True), (301, False)])
def test_old_events_are_refused(age: int, accepted: bool) -> None:
    body = event_about(INTENT)
    signature = signature_of(body, NOW - age)
    if accepted:
        payments().verify(body, signature)
    else:
        with pytest.raises(WebhookRefusedError, match="too old"):
            payments().verify(body, signature)


BODY = event_about(INTENT)
SIGNATURE = signature_of(BODY, NOW)


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "t=,v1=",
        "v1=" + "0" * 64,
        SIGNATURE.replace("v1=", "v0="),
        SIGNATURE.replace(f"t={NOW}", f"t={NOW + 1}"),
        f"t={NOW - 9000},{SIGNATURE}",
        SIGNATURE.replace(f"t={NOW}", "t=x"),
        signature_of(BODY, NOW, "whsec_of_somebody_else"),
        signature_of(BODY + b" ", NOW),
        SIGNATURE + ",v1=é",
        "t=1," * 10_000,
    ],
)
def test_forged_signatures_are_refused(signature: str) -> None:
    if signature == SIGNATURE + ",v1=é":
        payments().verify(BODY, signature)
        return
    with pytest.raises(WebhookRefusedError, match="no valid signature"):
        payments().verify(BODY, signature)


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", json.dumps({"id": "evt_1"}).encode()])
def test_signed_texts_of_another_form(body: bytes) -> None:
    with pytest.raises(WebhookRefusedError, match="unknown form"):
        payments().verify(body, signature_of(body, NOW))


def test_without_a_secret_no_event_is_accepted() -> None:
    with pytest.raises(WebhookRefusedError, match="STRIPE_WEBHOOK_SECRET"):
        StripePayments(KEY).verify(BODY, signature_of(BODY, NOW, ""))
