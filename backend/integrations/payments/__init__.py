"""Payments: the values, the provider protocol and the errors.

PaymentError                 the provider refuses a request, which it would refuse again
+- PaymentDeclinedError      the bank declines; the payer may use something else
+- UnknownPaymentError       no payment has this id
PaymentsUnavailableError     no usable response; repeat the request later, with the same key
WebhookRefusedError          a message that is not the provider's, or too old
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

# `open` waits for the payer, `processing` for their bank.
Status = Literal["open", "processing", "authorized", "succeeded", "canceled"]


class PaymentError(Exception):
    """A refused request. `str()` has no personal data and no secret. `code` is the provider's."""

    def __init__(self, reason: str, code: str = "") -> None:
        super().__init__(reason)
        self.code = code


class PaymentDeclinedError(PaymentError):
    """The bank declines."""


class UnknownPaymentError(PaymentError):
    """No payment has this id."""


class PaymentsUnavailableError(Exception):
    """No usable response. The payment may exist: the same key returns it for some hours."""


class WebhookRefusedError(Exception):
    """A message that is not the provider's, or too old."""


@dataclass(frozen=True)
class Payment:
    """A payment as the provider has it.

    amount          in the smallest unit of the currency, such as cents
    currency        ISO 4217 in lower case, such as `eur`
    client_secret   lets the payer's browser complete this payment; for the payer only
    """

    id: str
    amount: int
    currency: str
    status: Status
    metadata: Mapping[str, str] = field(default_factory=dict)
    client_secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class PaymentEvent:
    """A verified message of the provider. `payment` is None if it is about something else."""

    id: str
    kind: str
    created_at: datetime
    payment: Payment | None


class PaymentProvider(Protocol):
    async def create(
        self, *, amount: int, currency: str, key: str, metadata: Mapping[str, str]
    ) -> Payment:
        """Create a payment, or return the one that was created with the same `key`.

        A provider keeps keys for a limited time (Stripe: about 24 hours), and may repeat a stored
        failure for the same key.
        """

    async def read(self, payment_id: str) -> Payment:
        """Return the payment with this id."""

    def verify(self, body: bytes, signature: str) -> PaymentEvent:
        """Return the event of a webhook request, or raise `WebhookRefusedError`."""
