"""How uvicorn is set up."""

import socket
from typing import Any

import uvicorn


def make_config(app: Any, *, patience: int, **options: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        # Set up by backend.core.logging; the application writes a line per request itself.
        log_config=None,
        access_log=False,
        server_header=False,
        # Whose X-Forwarded-For is believed is the application's decision.
        proxy_headers=False,
        ws="none",
        # Longer than load balancers keep connections, or they reuse one that is just closing.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=patience,
        **options,
    )


class Server(uvicorn.Server):
    """Lets go of everything also for somebody who presses Ctrl-C twice."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        if self.force_exit:
            await self.lifespan.shutdown()
