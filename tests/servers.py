"""A real HTTP server in the event loop of the test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from backend.server.config import Config
from backend.server.server import Server


@asynccontextmanager
async def serving(app: Any, **options: Any) -> AsyncIterator[str]:
    """Serve an ASGI application on a free port during the block, and yield its URL.

    Its lifespan does not run, because the application of a test is started already. `options`
    are uvicorn's.
    """
    config = Config(app, host="127.0.0.1", port=0, log_config=None, lifespan="off", **options)
    server = Server(config)
    socket = config.bind_socket()
    # Clients can connect before the server has started; they wait for it.
    socket.listen()
    # serve() would handle the signals of the test run.
    task = asyncio.create_task(server._serve([socket]))
    try:
        yield f"http://127.0.0.1:{socket.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
