"""Payments through Stripe's HTTP API: payment intents, and signed webhooks."""

import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from backend.integrations.http_service import (
    HttpService,
    ServiceError,
    ServiceRefusedError,
    ServiceUnavailableError,
)
from backend.integrations.payments import (
    Payment,
    PaymentDeclinedError,
    PaymentError,
    PaymentEvent,
    PaymentsUnavailableError,
    Status,
    UnknownPaymentError,
    WebhookRefusedError,
)

URL = "https://api.stripe.com"
# Stripe keeps the form of responses for this version.
VERSION = "2025-04-30.basil"
TOLERANCE_SECONDS = 300
MAX_HEADER = 4096
STATUSES: dict[str, Status] = {
    "requires_payment_method": "open",
    "requires_confirmation": "open",
    "requires_action": "open",
    "requires_capture": "authorized",
    "processing": "processing",
    "succeeded": "succeeded",
    "canceled": "canceled",
}
_CODE = re.compile(r"[a-z_]{1,100}")
_ID = re.compile(r"\w{1,255}", re.ASCII)


class _Intent(BaseModel):
    id: str
    amount: int
    currency: str
    status: str
    metadata: dict[str, str] = {}
    client_secret: str | None = None

    def payment(self) -> Payment:
        # A status that a later version adds is not final.
        status = STATUSES.get(self.status, "processing")
        return Payment(
            self.id, self.amount, self.currency, status, self.metadata, self.client_secret
        )


class _Error(BaseModel):
    type: str = ""
    code: str | None = None
    decline_code: str | None = None


class _Failure(BaseModel):
    error: _Error


class _EventData(BaseModel):
    object: dict[str, Any]


class _Event(BaseModel):
    id: str = Field(min_length=1, max_length=255)
    type: str
    created: int
    data: _EventData


class StripePayments:
    """Stripe with the secret key of an account, and the secret of its webhook endpoint.

    `options` are those of `HttpService`, `clock` returns the time in seconds since 1970.
    """

    def __init__(
        self,
        key: str,
        webhook_secret: str | None = None,
        *,
        url: str = URL,
        clock: Callable[[], float] = time.time,
        **options: Any,
    ) -> None:
        headers = {"Authorization": f"Bearer {key}", "Stripe-Version": VERSION}
        self._service = HttpService("Stripe", url, headers=headers, **options)
        self._webhook_secret = webhook_secret
        self._clock = clock

    async def create(
        self, *, amount: int, currency: str, key: str, metadata: Mapping[str, str]
    ) -> Payment:
        form = {
            "amount": str(amount),
            "currency": currency,
            "automatic_payment_methods[enabled]": "true",
            **{f"metadata[{name}]": value for name, value in metadata.items()},
        }
        path = "/v1/payment_intents"
        return await self._intent("create_payment", "POST", path, form=form, idempotency_key=key)

    async def read(self, payment_id: str) -> Payment:
        # Another text could lead to another address, such as that of the list of payments.
        if not _ID.fullmatch(payment_id):
            raise UnknownPaymentError("Stripe has no such ids.")
        return await self._intent("read_payment", "GET", f"/v1/payment_intents/{payment_id}")

    def verify(self, body: bytes, signature: str) -> PaymentEvent:
        """Return the event of a webhook request from its body and header `Stripe-Signature`."""
        if self._webhook_secret is None:
            raise WebhookRefusedError("STRIPE_WEBHOOK_SECRET is missing.")
        sent_at, signatures = _parts_of(signature)
        digest = hmac.new(self._webhook_secret.encode(), digestmod=hashlib.sha256)
        digest.update(sent_at.encode() + b"." + body)
        expected = digest.hexdigest().encode()
        # During a change of the secret Stripe signs with the old and the new one.
        if not any(hmac.compare_digest(expected, each.encode()) for each in signatures):
            raise WebhookRefusedError("The webhook has no valid signature.")
        if abs(self._clock() - int(sent_at)) > TOLERANCE_SECONDS:
            raise WebhookRefusedError(
                "The webhook is too old. If it is not a replay, the clock of this machine is wrong."
            )
        try:
            event = _Event.model_validate_json(body)
            about = event.data.object
            is_payment = about.get("object") == "payment_intent"
            payment = _Intent.model_validate(about).payment() if is_payment else None
        except ValidationError:
            raise WebhookRefusedError("The webhook has an unknown form.") from None
        created_at = datetime.fromtimestamp(event.created, UTC)
        return PaymentEvent(event.id, event.type, created_at, payment)

    async def _intent(self, operation: str, method: str, path: str, **more: Any) -> Payment:
        try:
            intent = await self._service.read(_Intent, operation, method, path, **more)
        except ServiceError as error:
            raise _translated(error) from None
        return intent.payment()


def _parts_of(header: str) -> tuple[str, list[str]]:
    """Return the time and the signatures of `t=1700000000,v1=5257...,v1=...`."""
    if len(header) > MAX_HEADER:
        raise WebhookRefusedError("The webhook has no valid signature.")
    pairs = [part.strip().partition("=")[::2] for part in header.split(",")]
    times = [value for name, value in pairs if name == "t"]
    if len(times) != 1 or not re.fullmatch(r"[0-9]{1,12}", times[0]):
        raise WebhookRefusedError("The webhook has no valid signature.")
    return times[0], [value for name, value in pairs if name == "v1"]


def _translated(error: ServiceError) -> PaymentError | PaymentsUnavailableError:
    try:
        problem = _Failure.model_validate_json(error.body).error
    except ValidationError:
        problem = _Error()
    # Stripe's message is left out: it may repeat what was sent, part of the key included.
    code = problem.decline_code or problem.code or problem.type
    code = code if _CODE.fullmatch(code) else ""
    reason = f"{str(error).rstrip('.')} {code}".strip() + "."
    # A request with the same key is still in progress, or the key of this installation is wrong,
    # which an operator corrects.
    is_temporary = error.status in {401, 403, 409}
    if isinstance(error, ServiceUnavailableError) or is_temporary:
        return PaymentsUnavailableError(reason)
    if problem.type == "card_error":
        return PaymentDeclinedError(reason, code)
    if error.status == 404:
        return UnknownPaymentError(reason, code)
    assert isinstance(error, ServiceRefusedError)
    return PaymentError(reason, code)
