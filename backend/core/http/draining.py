"""Answers on for a while after SIGTERM, not ready, so that a load balancer can look away first."""

import asyncio
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from backend.core.context import Context

# A service manager signals all processes of a service, and the parent then its workers again.
SAME_REQUEST_SECONDS = 1.0


@contextmanager
def drains_before_stop(context: Context) -> Iterator[None]:
    """Delay the server's handler of SIGTERM by `SHUTDOWN_DELAY`; asked again, do not wait."""
    server_handler = signal.getsignal(signal.SIGTERM)
    seconds = context.settings.drain_seconds
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not seconds or not callable(server_handler) or not in_main_thread:
        yield
        return
    loop = asyncio.get_running_loop()
    asked_at = 0.0

    def drain(number: int, frame: FrameType | None) -> None:
        nonlocal asked_at
        if context.state.draining:
            if time.monotonic() - asked_at > SAME_REQUEST_SECONDS:
                server_handler(number, frame)
            return
        context.state.draining = True
        asked_at = time.monotonic()
        loop.call_soon_threadsafe(loop.call_later, seconds, server_handler, number, None)

    signal.signal(signal.SIGTERM, drain)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, server_handler)
