"""Limits on the resources that clients use in a server process."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Bounds:
    """Limits of one connection, and of all connections of one process. Sizes are in bytes.

    head_bytes      request line and headers; also what stands between the chunks of a body
    headers         header lines
    pipelined       requests that wait for the responses to earlier ones
    head_seconds    from the first byte of a request to the end of its headers
    body_seconds    time without a byte of the body
    slow_seconds    of a body or an answer, after which each second more must have had `slow_rate`
                    bytes
    write_seconds   in which a client reads nothing of an answer
    unread_bytes    of all answers together; beyond them, those that are read slowest are given up
    new_rate        bytes a second that a client is taken to read before it had time to
    unsent_bytes    that the kernel takes of an answer before the client reads, where it can be told
    linger_seconds  in which a refused client may read the answer and is not listened to
    stop_seconds    in which a request that is arriving when the server stops must have arrived
    connections     beyond these, those that wait longest for their client are closed
    spare           connections beyond `connections` that are answered 503, probes apart
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
    # A client that was heard of so lately is not taken for idle.
    fresh_seconds: float = 1
