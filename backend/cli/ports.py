"""Server sockets and their addresses."""

import errno
import http.client
import json
import socket
from contextlib import closing, suppress

from backend.cli.terminal import CommandError
from backend.product import TITLE

BACKLOG = 2048
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # only looked up


def listen(host: str, port: int) -> list[socket.socket]:
    """Open listening sockets, one per address of the host; `localhost` may have two.

    Raise `CommandError` with the reason if the address is unusable.
    """
    return _opened(host, port, listens=True)


def bind(host: str, port: int) -> list[socket.socket]:
    """Bind sockets as `listen` does, without listening: connections fail until a server listens."""
    return _opened(host, port, listens=False)


def _opened(host: str, port: int, *, listens: bool) -> list[socket.socket]:
    try:
        resolved = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CommandError(
            f"The host {host} is unknown ({error.strerror}): "
            "give an address of this machine with --host."
        ) from None
    sockets: list[socket.socket] = []
    errors: list[OSError] = []
    for family, *_, address in dict.fromkeys(resolved):
        try:
            sockets.append(_bound(family, address, listens=listens))
        except OSError as error:
            errors.append(error)
    # A machine without IPv6 may still resolve a name to ::1.
    if sockets and all(error.errno == errno.EADDRNOTAVAIL for error in errors):
        return sockets
    for each in sockets:
        each.close()
    raise CommandError(_explained(errors[0], host, port)) from None


def _bound(
    family: int, address: tuple[str | int, ...] | tuple[int, bytes], *, listens: bool
) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        # Several sockets may be bound to one port; only `listen` detects the conflict.
        if listens:
            opened.listen(BACKLOG)
    except OSError:
        opened.close()
        raise
    return opened


def _explained(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        by = f"another {TITLE}" if trellis_answers(host, port) else "another program"
        option = f"--port {port + 1 if port < 65535 else port - 1}"
        return (
            f"Port {port} is taken by {by}: stop it, or choose another port with {option} "
            f'(of make dev: args="{option}").'
        )
    if error.errno == errno.EACCES:
        return f"Port {port} is reserved for root: choose one above 1023 with --port."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is not an address of this machine: choose another with --host."
    return f"{host}:{port} cannot be used ({error.strerror}): choose another --host or --port."


def url_of(listening: socket.socket) -> str:
    """Return the URL at which a browser on this machine reaches the socket."""
    host, port = listening.getsockname()[:2]
    host = ANY_ADDRESS.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def trellis_answers(host: str, port: int) -> bool:
    """Return whether this application, and no other program, answers at this address."""
    connection = http.client.HTTPConnection(ANY_ADDRESS.get(host, host), port, timeout=2)
    with closing(connection), suppress(OSError, http.client.HTTPException, ValueError):
        connection.request("GET", "/health")
        body = json.loads(connection.getresponse().read(1000))
        return isinstance(body, dict) and {"status", "version"} <= body.keys()
    return False
