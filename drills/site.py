"""The system under test: PostgreSQL, instances of `backend serve`, and nginx as shipped."""

import os
import re
import shutil
import signal
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psycopg

from backend.dev.embedded_server import embedded_server
from drills.load import LoadReport
from tests.commands import ROOT, Running, eventually, fetch, free_port, running
from tests.databases import upgrade
from tests.nginx_servers import PROGRAM

PASSWORD = "correct horse battery staple"  # of an account in a database that the drill removes
SETTINGS = {
    # Production would require settings for mail.
    "ENVIRONMENT": "test",
    "SECRET_KEY": "the key of a drill that protects nothing at all",
    "BCRYPT_COST": "4",
    "RATE_LIMIT_ENABLED": "false",
    "TRUSTED_PROXIES": "127.0.0.1",
    "LOG_LEVEL": "WARNING",
}


@contextmanager
def database(folder: Path) -> Iterator[str]:
    """Yield the URL of a migrated database on a server of its own, as durable as in production."""
    with embedded_server(folder / "postgres") as server:
        upgrade(server.url)
        yield server.url


@dataclass
class Instance:
    """One `backend serve`, which a drill can stop and start again on the same port."""

    port: int
    folder: Path
    settings: dict[str, Any]
    workers: int
    stack: ExitStack
    process: Running | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        arguments = ("serve", "--port", str(self.port), "--workers", str(self.workers))
        self.process = self.stack.enter_context(
            running(*arguments, folder=self.folder, **self.settings)
        )
        eventually(lambda: fetch(self.url, "/health/ready")[0] == 200)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        assert self.process is not None
        self.process.kill(number)
        self.process.wait()
        self.stack.close()


@contextmanager
def instances(
    folder: Path, url: str, count: int = 2, *, workers: int = 1, **settings: Any
) -> Iterator[list[Instance]]:
    """Run `count` instances on one database, and yield them when all are ready."""
    with ExitStack() as stack:
        started = []
        for index in range(count):
            own = folder / f"instance-{index}"
            own.mkdir()
            options = {**SETTINGS, "DATABASE_URL": url, **settings}
            processes = stack.enter_context(ExitStack())
            instance = Instance(free_port(), own, options, workers, processes)
            stack.callback(_end, instance)
            instance.start()
            started.append(instance)
        yield started


def _end(instance: Instance) -> None:
    if instance.process is not None and instance.process.process.poll() is None:
        instance.stop()


@contextmanager
def shipped_nginx(
    folder: Path, instances: list[Instance], *, keepalive: str = "3s"
) -> Iterator[tuple[str, ssl.SSLContext]]:
    """Run nginx with `deploy/nginx.conf`, in which only addresses and files are replaced."""
    assert PROGRAM is not None, "nginx is not installed: apt-get install nginx-light"
    own, port, plain = folder / "nginx", free_port(), free_port()
    own.mkdir()
    certificate, key = _self_signed(own)
    text = (ROOT / "deploy" / "nginx.conf").read_text()
    servers = "\n".join(f"    server 127.0.0.1:{item.port} max_fails=0;" for item in instances)
    text = re.sub(r"    server 127\.0\.0\.1:8001.*\n.*8002.*;", servers, text)
    text = re.sub(r" *listen \[::\].*\n", "", text)
    text = text.replace("listen 80;", f"listen 127.0.0.1:{plain};")
    text = text.replace("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;")
    text = text.replace("/etc/ssl/certs/api.example.com.pem", str(certificate))
    text = text.replace("/etc/ssl/private/api.example.com.key", str(key))
    text = text.replace("keepalive_timeout 3s;", f"keepalive_timeout {keepalive};")
    (own / "nginx.conf").write_text(
        f"daemon off; pid {own}/nginx.pid; error_log {own}/error.log warn;\n"
        "events { worker_connections 1024; }\nhttp {\naccess_log off;\n"
        f"client_body_temp_path {own}/body; proxy_temp_path {own}/proxy;\n"
        f"fastcgi_temp_path {own}/a; uwsgi_temp_path {own}/b; scgi_temp_path {own}/c;\n{text}}}\n"
    )
    process = subprocess.Popen(
        [PROGRAM, "-p", str(own), "-c", str(own / "nginx.conf"), "-e", f"{own}/error.log"],
        stdin=subprocess.DEVNULL,
    )
    trusted = ssl.create_default_context(cafile=str(certificate))
    url = f"https://localhost:{port}"
    try:
        eventually(lambda: _is_live(url, trusted))
        yield url, trusted
    finally:
        process.terminate()
        process.wait(30)


def _is_live(url: str, trusted: ssl.SSLContext) -> bool:
    try:
        return httpx.get(f"{url}/health/live", verify=trusted).is_success
    except httpx.HTTPError:
        return False


def _self_signed(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    openssl = shutil.which("openssl")
    assert openssl is not None, "openssl is not installed: apt-get install openssl"
    command = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    subject = ["-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([openssl, *command.split(), *subject, *files], check=True, capture_output=True)
    return certificate, key


def sign_in(url: str, verify: ssl.SSLContext | bool = True, *, address: str = "192.0.2.1") -> str:
    """Register an account for the load and sign in; return the access token.

    `address` is that of the client, if `url` is that of an instance.
    """
    email = f"drill-{os.urandom(4).hex()}@example.com"
    body = {"email": email, "password": PASSWORD}
    headers = {"X-Forwarded-For": address}
    with httpx.Client(base_url=f"{url}/api/v1", headers=headers, verify=verify) as client:
        client.post("/auth/register", json=body).raise_for_status()
        token: str = client.post("/auth/login", json=body).raise_for_status().json()["access_token"]
    return token


@dataclass(frozen=True)
class Writes:
    """Numbers of acknowledged writes that are missing from the database, or stored twice."""

    lost: int
    doubled: int


def compare_writes(url: str, report: LoadReport) -> Writes:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT title, id FROM items WHERE title LIKE 'drill %'")
        stored: dict[str, list[UUID]] = {}
        for title, id in rows:
            stored.setdefault(title, []).append(id)
    lost = sum(id not in stored.get(title, ()) for title, id in report.acknowledged.items())
    return Writes(lost, sum(len(ids) > 1 for ids in stored.values()))
