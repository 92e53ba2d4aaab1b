"""Storages of files: a folder, and a bucket of a real S3 server."""

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.commands import eventually, free_port

BUCKET = "a-bucket"
SECRET = "a-secret-of-the-bucket"


class S3Server:
    """A server that can be started and killed; its address stays the same.

    It keeps objects in memory, so a restart loses them.
    """

    def __init__(self) -> None:
        self.address = f"http://127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, prefix: str) -> str:
        """Return a STORAGE_URL."""
        options = f"region=us-east-1&endpoint={self.address}"
        return f"s3://a-key:{SECRET}@{BUCKET}/{prefix}?{options}"

    def start(self) -> None:
        port = self.address.rpartition(":")[2]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", port],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        eventually(self._make_bucket)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _make_bucket(self) -> bool:
        # The address is the one above.
        request = urllib.request.Request(f"{self.address}/{BUCKET}", method="PUT")  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=5):  # noqa: S310
                return True
        except OSError:
            return False


@contextmanager
def s3_server() -> Iterator[S3Server]:
    server = S3Server()
    server.start()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def shared_s3() -> Iterator[S3Server]:
    """A server for all tests that do not stop it."""
    with s3_server() as server:
        yield server


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.slow)])
def storage_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """STORAGE_URL of an empty folder, and of an empty prefix in a bucket."""
    if request.param == "folder":
        return f"file://{tmp_path}/objects"
    server: S3Server = request.getfixturevalue("shared_s3")
    return server.url(tmp_path.name)
