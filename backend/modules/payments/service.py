"""Use cases of payments. The calling module decides who may pay, and has the webhook's route.

Functions without a session call Stripe, so call them outside of transactions.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

import structlog
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context
from backend.core.principal import System
from backend.db.base import uuid7
from backend.integrations.payments import (
    Payment,
    PaymentError,
    PaymentEvent,
    PaymentProvider,
    PaymentsUnavailableError,
    UnknownPaymentError,
    WebhookRefusedError,
)
from backend.modules.payments.exceptions import (
    InvalidWebhookError,
    PaymentNotFoundError,
    PaymentRefusedError,
    PaymentServiceError,
)
from backend.modules.payments.models import ReceivedEvent
from backend.modules.payments.settings import PaymentSettings

log = structlog.get_logger()

NO_METADATA: Mapping[str, str] = MappingProxyType({})


async def create_payment(
    context: Context,
    by: System,
    *,
    amount: int,
    currency: str,
    key: str,
    metadata: Mapping[str, str] = NO_METADATA,
) -> Payment:
    """Create a payment of `amount` cents, or of the currency's smallest unit.

    The same `key`, such as the id of an order, returns the same payment, so a job may call this
    again. Stripe keeps keys for about 24 hours, and repeats a stored 500 for the same key: store
    the payment's id, and call `read_payment` afterwards. `metadata` comes back with each event of
    the payment; it must not be personal.
    """
    by.must_be_system()
    with _translated_errors():
        return await _provider_of(context).create(
            amount=amount, currency=currency, key=key, metadata=metadata
        )


async def read_payment(context: Context, by: System, payment_id: str) -> Payment:
    """Return the payment as Stripe has it now."""
    by.must_be_system()
    with _translated_errors():
        return await _provider_of(context).read(payment_id)


async def accept_event(
    context: Context, session: AsyncSession, by: System, body: bytes, signature: str
) -> PaymentEvent | None:
    """Return the event of a webhook request, or None if this event was accepted before.

    `body` is that of the request, byte for byte, and `signature` its header `Stripe-Signature`. The
    event counts as accepted when the transaction of `session` commits. Write there what follows
    from it: then a repeated event, also a simultaneous one, has no second effect, and a failed
    transaction is repeated by Stripe.
    """
    by.must_be_system()
    with _translated_errors():
        event = _provider_of(context).verify(body, signature)
    new = insert(ReceivedEvent).values(id=uuid7(), event_id=event.id).on_conflict_do_nothing()
    stored = await session.exec(new.returning(col(ReceivedEvent.id)))
    return event if stored.first() else None


def _provider_of(context: Context) -> PaymentProvider:
    return context.get_or_create(_provider)


def _provider(context: Context) -> PaymentProvider:
    # The HTTP client takes memory, so only processes that need it load it.
    from backend.integrations.payments.stripe import StripePayments  # noqa: PLC0415  # see above

    settings = context.settings_of(PaymentSettings)
    if settings.stripe_secret_key is None:
        raise PaymentsUnavailableError("STRIPE_SECRET_KEY is missing.")
    webhook = settings.stripe_webhook_secret
    return StripePayments(
        settings.stripe_secret_key.get_secret_value(),
        webhook.get_secret_value() if webhook else None,
        url=settings.stripe_url,
        metrics=context.metrics,
    )


@contextmanager
def _translated_errors() -> Iterator[None]:
    """Turn the provider's errors into those of the API. The log has their reasons."""
    try:
        yield
    except PaymentsUnavailableError as error:
        log.warning("payments_unavailable", reason=str(error))
        raise PaymentServiceError from None
    except UnknownPaymentError:
        raise PaymentNotFoundError from None
    except PaymentError as error:
        log.warning("payment_refused", reason=str(error))
        raise PaymentRefusedError from None
    except WebhookRefusedError as error:
        log.warning("webhook_refused", reason=str(error))
        raise InvalidWebhookError from None
