"""The cost of rate limits: variants with limits that are never reached, and one without."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.servers import PATIENCE_SECONDS, BenchError, free_port, server_environment

OFF = "without limits"
ON = {"RATE_LIMIT_ENABLED": "true", "RATE_LIMIT_DEFAULT": "999999999/minute;1000000000/hour"}
REDIS_SERVER = shutil.which("redis-server")


def storages(redis_url: str | None) -> dict[str, dict[str, str]]:
    """Return the settings of each variant by name."""
    variants = {
        f"limits in {storage}": {**ON, "RATE_LIMIT_STORAGE": storage}
        for storage in ("memory", "postgres")
    }
    if redis_url is not None:
        variants["limits in redis"] = {**ON, "RATE_LIMIT_STORAGE": "redis", "REDIS_URL": redis_url}
    return {OFF: {}, **variants}


@contextmanager
def redis(folder: Path) -> Iterator[str | None]:
    """Run a Redis server and yield its URL, or None if Redis is not installed."""
    if REDIS_SERVER is None:
        yield None
        return
    folder.mkdir()
    port = free_port()
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(
        [REDIS_SERVER, *options],
        env=server_environment(folder, {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait(port)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()


def _wait(port: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.01)
    raise BenchError("Redis did not start.")
