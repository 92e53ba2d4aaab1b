"""A real nginx in front of a server, with a configuration of its own."""

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

# Debian installs it into a folder that is not on the PATH of ordinary users.
PROGRAM = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
CONFIGURATION = """
daemon off;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream api {{ server {upstream}; keepalive 4; }}
    server {{
        listen 127.0.0.1:{port};
{locations}
    }}
}}
"""


@contextmanager
def nginx(upstream: str, locations: str) -> Iterator[str]:
    """Run nginx with these locations in front of `upstream` (host:port), and yield its URL."""
    if PROGRAM is None:
        assert not os.environ.get("CI"), "nginx is not installed"
        pytest.skip("nginx is not installed")
    with tempfile.TemporaryDirectory(prefix="trellis-nginx-") as name:
        folder, port = Path(name), free_port()
        configuration = folder / "nginx.conf"
        configuration.write_text(
            CONFIGURATION.format(folder=folder, upstream=upstream, port=port, locations=locations)
        )
        process = subprocess.Popen(
            [PROGRAM, "-p", str(folder), "-c", str(configuration), "-e", "stderr"],
            stdin=subprocess.DEVNULL,
        )
        url = f"http://127.0.0.1:{port}"
        try:
            eventually(lambda: _is_up(process, url))
            yield url
        finally:
            process.terminate()
            process.wait(30)


def _is_up(process: "subprocess.Popen[bytes]", url: str) -> bool:
    assert process.poll() is None, "nginx did not start"
    try:
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 5):
            return True
    except OSError:
        return False
