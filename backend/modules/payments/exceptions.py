from typing import ClassVar

from backend.core.errors import AppError


class PaymentServiceError(AppError):
    status = 503
    code = "PAYMENTS_UNAVAILABLE"
    detail = "Payments are not available. Try again shortly."
    # The time for which the circuit breaker makes no calls.
    default_headers: ClassVar = {"Retry-After": "30"}


class PaymentRefusedError(AppError):
    status = 422
    code = "PAYMENT_REFUSED"
    detail = "The payment is refused. Use another means of payment, or another amount."


class PaymentNotFoundError(AppError):
    status = 404
    code = "PAYMENT_NOT_FOUND"
    detail = "No payment has this id."


class InvalidWebhookError(AppError):
    status = 400
    code = "INVALID_WEBHOOK"
    detail = "The message is not signed by the payment provider, or too old."
