"""A real Redis on a port of its own, which a test can kill and restart."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.commands import eventually, free_port

PROGRAM = shutil.which("redis-server")
PASSWORD = "a-password-of-redis"


class RedisServer:
    """A server that can be started and killed; its address stays the same."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert PROGRAM is not None
        options = ["--bind", "127.0.0.1", "--port", str(self.port), "--requirepass", PASSWORD]
        self._process = subprocess.Popen(
            [PROGRAM, *options, "--save", "", "--dir", str(self._folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        eventually(self._is_up)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def command(self, *words: str) -> str:
        """Run a command and return the reply as sent by the server."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            connection.sendall(f"AUTH {PASSWORD}\r\n{' '.join(words)}\r\nQUIT\r\n".encode())
            with connection.makefile() as replies:
                assert replies.readline() == "+OK\n"
                return replies.read()

    def _is_up(self) -> bool:
        try:
            return "PONG" in self.command("PING")
        except OSError:
            return False


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """Run a server. Without redis-server skip the test; in CI fail it."""
    if PROGRAM is None:
        assert not os.environ.get("CI"), "redis-server is not installed"
        pytest.skip("redis-server is not installed")
    with tempfile.TemporaryDirectory(prefix="trellis-redis-") as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.kill()
