"""Limits on the resources that clients use in a server process."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Bounds:
    """Limits of one connection, and of all connections of one process. Sizes are in bytes.

    head_bytes      request line and headers; also the lines between the chunks of a body
    headers         header lines
    pipelined       requests that wait for the responses to earlier ones
    head_seconds    from the first byte of a request to the end of its headers
    body_seconds    time without a byte of the body
    slow_seconds    grace period of a body or a response; each second after it requires another
                    `slow_rate` bytes
    slow_rate       bytes per second
    write_seconds   time without a byte of a response being read
    unread_bytes    unread bytes of all responses; above, the slowest readers are disconnected
    new_rate        bytes credited to each client as if read in one second before the response, so
                    that a new client does not rank as the slowest
    unsent_bytes    bytes of a response that the kernel buffers as unsent, where it has such a limit
    linger_seconds  time for a refused client to read the response; what it sends is discarded
    stop_seconds    time for a request that is arriving when the server stops
    connections     open connections; above, those that have waited longest for their client are
                    closed
    spare           connections above `connections` that get a 503; health checks are answered
    """

    head_bytes: int = 64 * 1024
    headers: int = 1000
    pipelined: int = 64
    head_seconds: float = 10
    body_seconds: float = 30
    slow_seconds: float = 300
    slow_rate: float = 1024
    write_seconds: float = 30
    unread_bytes: int = 64 * 1024 * 1024
    new_rate: float = 64 * 1024
    unsent_bytes: int = 128 * 1024
    linger_seconds: float = 5
    stop_seconds: float = 5
    connections: int = 1000
    spare: int = 100
    # Closed together, so that a flood does not sort all connections for each of its own.
    closed_at_once: int = 32
    # Connections that have waited for their client for a shorter time are not closed.
    fresh_seconds: float = 1
