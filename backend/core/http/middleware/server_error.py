"""The time limit of a request, and the handler of errors that nothing else handles."""

import asyncio
from collections import Counter
from collections.abc import Callable

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.core.errors import AppError, InternalError, ServiceUnavailableError
from backend.core.problems import problem_response
from backend.db.fair_semaphore import admitted
from backend.db.time_limits import TimeLimit, TimeLimits
from backend.db.transactions import deadline
from backend.db.troubles import database_trouble
from backend.telemetry.tracing import EXCEPTION, annotate

log = structlog.get_logger()


class ServerErrorMiddleware:
    """Responds 500 to an unhandled error, and 503 to a request that takes `seconds` or longer.

    `report` is called with the scope and each unhandled error.

    The time to receive the body, to commit and to send the response does not count. This
    middleware is inside the CORS layer, unlike Starlette's own handler, because browsers cannot
    read an error without CORS headers.
    """

    def __init__(
        self,
        app: ASGIApp,
        seconds: float,
        show_details: bool,
        report: Callable[[Scope, Exception], None] | None = None,
    ) -> None:
        self.app = app
        self.report = report
        self.seconds = seconds
        self.show_details = show_details
        self.limits = TimeLimits()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False
        task = asyncio.current_task()
        assert task is not None
        loop = task.get_loop()
        limit = TimeLimit(self.limits, task)
        token = deadline.set(limit)
        admitted.set(Counter())

        async def receive_unlimited() -> Message:
            if limit.expired():
                return await receive()
            limit.reschedule(None)
            message = await receive()
            limit.reschedule(loop.time() + self.seconds)
            return message

        async def send_unlimited(message: Message) -> None:
            nonlocal started
            if not started:
                started = True
                if not limit.expired():
                    limit.reschedule(None)
            await send(message)

        try:
            with limit:
                limit.reschedule(loop.time() + self.seconds)
                await self.app(scope, receive_unlimited, send_unlimited)
        except Exception as error:
            if isinstance(error, TimeoutError) and limit.expired():
                log.warning("request_timeout", request_id=scope.get("request_id"))
                problem: AppError = ServiceUnavailableError()
                detail = None
            else:
                log.exception(
                    "unhandled_error",
                    request_id=scope.get("request_id"),
                    **database_trouble(error),
                )
                annotate({EXCEPTION: type(error).__name__})
                if self.report is not None:
                    self.report(scope, error)
                problem = InternalError()
                detail = f"{type(error).__name__}: {error}" if self.show_details else None
            if started:
                # The status has been sent, so only a broken connection can signal the error.
                raise
            await problem_response(scope, problem, detail=detail)(scope, receive, send)
        finally:
            deadline.reset(token)
