"""Real HTTP servers: of the application in the event loop of the test, and others in a thread."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import HTTPServer
from threading import Thread
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


@contextmanager
def serving_in_thread(server: HTTPServer) -> Iterator[int]:
    """Run a server of Python's library in a thread during the block, and yield its port."""
    with server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
