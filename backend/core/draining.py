"""Answers on for a while after SIGTERM, not ready, so that a load balancer can look away first."""

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from backend.core.context import Context


@contextmanager
def drains_before_stop(context: Context) -> Iterator[None]:
    """Delay the server's handler of SIGTERM by `SHUTDOWN_DELAY`; a second one does not wait."""
    server_handler = signal.getsignal(signal.SIGTERM)
    seconds = context.settings.drain_seconds
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not seconds or not callable(server_handler) or not in_main_thread:
        yield
        return
    loop = asyncio.get_running_loop()

    def drain(number: int, frame: FrameType | None) -> None:
        if context.state.draining:
            server_handler(number, frame)
            return
        context.state.draining = True
        loop.call_soon_threadsafe(loop.call_later, seconds, server_handler, number, None)

    signal.signal(signal.SIGTERM, drain)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, server_handler)
