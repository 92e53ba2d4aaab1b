"""Calls of external services over HTTP; docs/services.md builds a client with it.

ServiceError
+- ServiceUnavailableError   no usable response; the same call may succeed later
|  +- ServiceUnreachableError   no connection, so the service has received nothing
|  +- ServiceSuspendedError     not called, because the last calls failed
+- ServiceRefusedError       a response that refuses this call
"""

import asyncio
import random
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
import structlog
from pydantic import BaseModel, ValidationError

from backend.integrations.circuit_breaker import CircuitBreaker, CircuitOpenError
from backend.telemetry.spans import http_call
from backend.telemetry.tracing import trace_headers

if TYPE_CHECKING:
    from backend.telemetry.metrics import Metrics

log = structlog.get_logger()

REPEATABLE = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE"}
# The service responds, but not to this call yet.
BUSY = {408, 425, 429}
CONNECT_SECONDS = 3.0
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
MAX_BYTES = 1024 * 1024
M = TypeVar("M", bound=BaseModel)


class ServiceError(Exception):
    """A call that failed. `str()` has no address, content or secret, so it may be logged.

    status        status of the response; None without one
    body          the response; it may repeat what was sent, so it must not be logged
    retry_after   seconds after which the service is worth another call, if it is known
    """

    def __init__(
        self,
        reason: str,
        *,
        status: int | None = None,
        body: bytes = b"",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.body = body
        self.retry_after = retry_after


class ServiceUnavailableError(ServiceError):
    """No usable response. The service may have done what it was asked for."""


class ServiceUnreachableError(ServiceUnavailableError):
    """No connection, so the service has received nothing."""


class ServiceSuspendedError(ServiceUnavailableError):
    """The service is not called for `retry_after` seconds, because the last calls failed."""


class ServiceRefusedError(ServiceError):
    """The service refuses this call; `status` and `body` tell why."""


class HttpService:
    """An external service with an HTTP API. One object for a process, for its circuit breaker.

    name       in errors, log lines and spans
    url        where paths begin
    headers    of each request; nothing logs them, so they may contain a key
    deadline   seconds of a call, all its attempts and pauses included
    attempts   the most attempts of a call
    metrics    count the calls by outcome

    Each attempt has a connection of its own: idle ones break unnoticed, and after a break it is
    unknown whether the service has received the request.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        deadline: float = 10.0,
        attempts: int = 3,
        breaker: CircuitBreaker | None = None,
        metrics: "Metrics | None" = None,
    ) -> None:
        self._name = name
        self._url = url.rstrip("/")
        # A compressed response could exceed its limit many times over when it is read.
        self._headers = {"Accept-Encoding": "identity", **(headers or {})}
        self._deadline = deadline
        self._attempts = attempts
        self._breaker = breaker or CircuitBreaker()
        self._metrics = metrics
        if metrics is not None:
            metrics.expect_service(name.lower(), lambda: self._breaker.remaining() > 0)
        # Created once: loading the trusted certificates takes longer than most requests.
        self._tls = ssl.create_default_context()

    async def read(self, model: type[M], operation: str, method: str, path: str, **more: Any) -> M:
        """Make a call as `call` does and parse the response as JSON of `model`."""
        body = await self.call(operation, method, path, **more)
        try:
            return model.model_validate_json(body)
        except ValidationError:
            # `from None`: the error contains the response.
            raise ServiceUnavailableError(
                f"{self._name} sent a response of an unknown form.", body=body
            ) from None

    async def call(
        self,
        operation: str,
        method: str,
        path: str,
        *,
        idempotency_key: str | None = None,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        form: Mapping[str, str] | None = None,
    ) -> bytes:
        """Make a call and return the body of its successful response; raise `ServiceError`.

        `operation` names the call in log lines and spans: `create_payment`. A failed attempt is
        repeated if that is safe: the method is idempotent, or the service knows the call by
        `idempotency_key`, or it was not reached.
        """
        headers = dict(self._headers)
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        request = {
            "method": method,
            "url": self._url + path,
            "params": params,
            "headers": headers,
            "json": json,
            "data": form,
        }
        is_repeatable = method in REPEATABLE or idempotency_key is not None
        with self._counted():
            return await self._call(operation, request, is_repeatable)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Count the call in the block by its outcome; one that is cancelled has none."""
        started = time.monotonic()
        outcome: str | None = None
        try:
            yield
            outcome = "done"
        except ServiceError as error:
            outcome = _outcome_of(error)
            raise
        finally:
            if self._metrics is not None and outcome is not None:
                seconds = time.monotonic() - started
                self._metrics.service_seconds.labels(self._name.lower(), outcome).observe(seconds)

    async def _call(self, operation: str, request: Mapping[str, Any], is_repeatable: bool) -> bytes:
        ends_at = asyncio.get_running_loop().time() + self._deadline
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._attempt(request, ends_at)
            except CircuitOpenError as error:
                raise ServiceSuspendedError(
                    f"{self._name} is not called for {error.seconds:.0f} s: it was down.",
                    retry_after=error.seconds,
                ) from None
            except ServiceUnavailableError as error:
                pause = self._pause(attempt, error, ends_at)
                if pause is None or not (
                    is_repeatable or isinstance(error, ServiceUnreachableError)
                ):
                    log.warning(
                        "service_call_failed",
                        service=self._name,
                        operation=operation,
                        attempts=attempt,
                        reason=str(error),
                    )
                    raise
            await asyncio.sleep(pause)

    async def _attempt(self, request: Mapping[str, Any], ends_at: float) -> bytes:
        with self._breaker.guarding(_is_down):
            seconds = ends_at - asyncio.get_running_loop().time()
            limits = httpx.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))
            try:
                with http_call(self._name.lower(), request["method"]) as note_status:
                    headers = {**request["headers"], **trace_headers()}
                    async with (
                        asyncio.timeout(seconds),
                        httpx.AsyncClient(verify=self._tls, timeout=limits) as client,
                        client.stream(**{**request, "headers": headers}) as response,
                    ):
                        note_status(response.status_code)
                        return await self._body_of(response)
            except (TimeoutError, httpx.HTTPError) as error:
                # `from None`: the error contains the request with its headers.
                raise self._failure(error) from None
            except httpx.InvalidURL:
                raise ServiceRefusedError(f"{self._name} has no such address.") from None

    async def _body_of(self, response: httpx.Response) -> bytes:
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > MAX_BYTES:
                raise ServiceUnavailableError(
                    f"{self._name} sent more than {MAX_BYTES} bytes.", status=response.status_code
                )
        if response.is_success:
            return bytes(body)
        is_temporary = response.is_server_error or response.status_code in BUSY
        raise (ServiceUnavailableError if is_temporary else ServiceRefusedError)(
            f"{self._name} responds {response.status_code}.",
            status=response.status_code,
            body=bytes(body),
            retry_after=_seconds_of(response.headers.get("retry-after", "")),
        )

    def _failure(self, error: Exception) -> ServiceError:
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            reason = f"{self._name} cannot be reached ({type(error).__name__})."
            return ServiceUnreachableError(reason)
        if isinstance(error, TimeoutError | httpx.TimeoutException):
            return ServiceUnavailableError(f"{self._name} does not respond in time.")
        return ServiceUnavailableError(
            f"{self._name} broke the connection ({type(error).__name__})."
        )

    def _pause(self, attempt: int, error: ServiceError, ends_at: float) -> float | None:
        """Return the seconds to wait before another attempt, or None if none may follow."""
        pause = min(FIRST_PAUSE * 2.0 ** (attempt - 1), LONGEST_PAUSE)
        # Random, so that the callers of a service that was away do not return all at once.
        pause *= random.uniform(0.5, 1)  # noqa: S311  # not a secret
        pause += error.retry_after or 0
        left = ends_at - asyncio.get_running_loop().time()
        if attempt >= self._attempts or pause >= left or self._breaker.remaining():
            return None
        return pause


def _is_down(error: Exception) -> bool:
    return isinstance(error, ServiceUnavailableError) and error.status not in BUSY


def _outcome_of(error: ServiceError) -> str:
    if isinstance(error, ServiceSuspendedError):
        return "suspended"
    return "refused" if isinstance(error, ServiceRefusedError) else "failed"


def _seconds_of(retry_after: str) -> float | None:
    """Return the seconds of a header Retry-After, which is a number or a date."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:9])
    try:
        at: datetime = parsedate_to_datetime(retry_after)
    except (ValueError, OverflowError):
        return None
    return max((at - datetime.now(UTC)).total_seconds(), 0) if at.tzinfo else None
