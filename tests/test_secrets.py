"""No secret is disclosed by the processes of a whole application.

The application runs as in production with recognizable secrets. It gets valid and invalid requests
while mail server and Redis are unavailable and the database is interrupted. Then all its output is
searched. (`secret_leaks.py` checks every other test in the same way.)
"""

import json
import signal
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from backend.modules.auth import session_cookies
from tests.commands import eventually, running
from tests.processes import Server, served
from tests.secret_leaks import FORMS, keys_of

TABLES = ("audit_events", "procrastinate_jobs", "procrastinate_events", "mailed_tokens", "mailbox")


def canary(name: str) -> str:
    """A secret that the rules accept and that nothing else contains."""
    return f"Canary-{name}-7Qx9vLk2Zr8Wm4Tb6Nh1Pd3Yc5Gf0Js"


PASSWORD, OTHER = canary("password"), canary("new-password")
CONFIGURED = {
    name: canary(name)
    for name in ("secret", "former-secret", "database", "smtp", "redis", "first-admin")
}
ACCOUNT = {"email": "ada@example.com", "password": PASSWORD, "username": "ada"}


def environment(database_url: str) -> dict[str, Any]:
    assert "postgres@" in database_url
    return {
        "ENVIRONMENT": "production",
        "LOG_LEVEL": "debug",
        "DATABASE_URL": database_url.replace("postgres@", f"postgres:{CONFIGURED['database']}@"),
        "SECRET_KEY": CONFIGURED["secret"],
        "SECRET_KEY_PREVIOUS": CONFIGURED["former-secret"],
        "SMTP_URL": f"smtp://trellis:{CONFIGURED['smtp']}@127.0.0.1:1",
        "REDIS_URL": f"redis://:{CONFIGURED['redis']}@127.0.0.1:1/0",
        "EMAIL_FROM": "Trellis <no-reply@example.com>",
        "FIRST_ADMIN_EMAIL": "root@example.com",
        "FIRST_ADMIN_PASSWORD": CONFIGURED["first-admin"],
        "FRONTEND_URL": "https://app.example.com",
        "ALLOWED_HOSTS": "127.0.0.1",
        "BCRYPT_COST": 12,
        "RATE_LIMIT_ENABLED": "true",
        "SHUTDOWN_DELAY": 0,
    }


class Visitor:
    """A client that uses the application and collects its secrets and its error responses."""

    def __init__(self, server: Server) -> None:
        self.http = httpx.Client(base_url=f"{server.url}/api/v1", timeout=60)
        self.secrets = {PASSWORD, OTHER, *CONFIGURED.values()}
        for name in ("secret", "former-secret"):
            self.secrets |= keys_of(CONFIGURED[name])
        self.refusals: list[str] = []

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        answer = self.http.request(method, path, **options)
        if answer.is_error:
            # Pages on another host need this header of a 401 to renew their session.
            headers = [item for item in answer.headers.items() if item[0] != "x-csrf-token"]
            self.refusals.append(f"{headers} {answer.text}")
        elif answer.headers.get("content-type") == "application/json":
            body = answer.json()
            found = (body.get(each) for each in ("access_token", "refresh_token", "csrf_token"))
            self.secrets |= {each for each in found if each}
        self.secrets |= set(answer.cookies.values())
        self.http.cookies.clear()
        return answer

    def sign_in(self, **credentials: str) -> dict[str, str]:
        answer = self.send("POST", "/auth/login", json=credentials)
        assert answer.status_code == 200, answer.text
        tokens: dict[str, str] = answer.json()
        return tokens


def use_rightly(visitor: Visitor) -> None:
    assert visitor.send("POST", "/auth/register", json=ACCOUNT).status_code == 201
    tokens = visitor.sign_in(email="ada", password=PASSWORD)
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert visitor.send("GET", "/users/me", headers=bearer).status_code == 200
    change = {"email": "ada@example.org", "current_password": PASSWORD}
    assert visitor.send("PATCH", "/users/me", json=change, headers=bearer).status_code == 200
    for path in ("/auth/forgot-password", "/auth/verify-email/request"):
        asked = visitor.send("POST", path, json={"email": "ada@example.com"})
        assert asked.status_code == 202
    change = {"current_password": PASSWORD, "new_password": OTHER}
    changed = visitor.send("PUT", "/users/me/password", json=change, headers=bearer)
    assert changed.status_code == 204
    visitor.sign_in(email="root@example.com", password=CONFIGURED["first-admin"])


def use_by_cookie(visitor: Visitor) -> None:
    answer = visitor.send(
        "POST",
        "/auth/login?transport=cookie",
        json={"email": "ada@example.com", "password": OTHER},
    )
    cookies = {each.name: each.value for each in answer.cookies.jar}
    assert cookies.keys() == set(vars(session_cookies.SECURE).values())
    headers = {
        "Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()),
        "X-CSRF-Token": answer.json()["csrf_token"],
    }
    assert visitor.send("POST", "/items", json={"title": "Tea"}, headers=headers).is_success
    forged = {**headers, "X-CSRF-Token": PASSWORD}
    assert visitor.send("POST", "/items", json={}, headers=forged).status_code == 403
    assert visitor.send("POST", "/auth/logout", headers=headers).status_code == 204
    assert visitor.send("GET", "/users/me", headers=headers).status_code == 401


def use_wrongly(visitor: Visitor) -> None:
    wrong = {"email": "ada@example.com", "password": PASSWORD}
    assert visitor.send("POST", "/auth/login", json=wrong).status_code == 401
    # The password in the field of the email, a common mistake.
    swapped = {"email": OTHER, "password": "x" * 8}
    assert visitor.send("POST", "/auth/login", json=swapped).status_code == 401
    tokens = visitor.sign_in(email="ada", password=OTHER)
    first = {"refresh_token": tokens["refresh_token"]}
    second = visitor.send("POST", "/auth/refresh", json=first).json()
    visitor.send("POST", "/auth/refresh", json={"refresh_token": second["refresh_token"]})
    assert visitor.send("POST", "/auth/refresh", json=first).status_code == 401
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    refused: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "/users/me", {"headers": bearer}),
        ("GET", "/users/me", {"headers": {"Authorization": f"Bearer {PASSWORD}"}}),
        ("GET", "/users/me", {"headers": {"Authorization": f"Basic {PASSWORD}"}}),
        ("GET", "/articles", {"params": {"access_token": tokens["access_token"]}}),
        ("POST", "/auth/register", {"json": {**ACCOUNT, "unknown": PASSWORD}}),
        ("POST", "/auth/register", {"json": {"email": PASSWORD, "password": [PASSWORD]}}),
        ("POST", "/auth/register", {"content": f'{{"password": "{PASSWORD}'.encode()}),
        ("POST", "/auth/register", {"json": ACCOUNT}),
        ("POST", "/auth/reset-password", {"json": {"token": OTHER, "new_password": PASSWORD}}),
        ("POST", "/auth/verify-email", {"json": {"token": PASSWORD}}),
        ("POST", "/auth/logout", {"json": {"refresh_token": OTHER}}),
    ]
    for method, path, options in refused:
        assert 400 <= visitor.send(method, path, **options).status_code < 500, path


def interrupt(database_url: str, visitor: Visitor) -> None:
    """Break all connections of the application while it handles a request."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        name = connection.info.dbname
        forbid = SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(Identifier(name))
        with psycopg.connect(database_url.replace(f"/{name}?", "/postgres?")) as other:
            other.autocommit = True
            other.execute(forbid)
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = %s AND pid <> %s",
                [name, connection.info.backend_pid],
            )
            for _ in range(3):
                body = {"email": "ada", "password": PASSWORD}
                assert visitor.send("POST", "/auth/login", json=body).status_code == 503
            other.execute(SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(Identifier(name)))
    eventually(lambda: visitor.http.get("/articles").status_code == 200)


def written(database_url: str) -> str:
    with psycopg.connect(database_url) as connection:
        rows = [
            row
            for table in TABLES
            for row in connection.execute(
                SQL("SELECT to_jsonb(each)::text FROM {} AS each").format(Identifier(table))
            )
        ]
    return "\n".join(row[0] for row in rows)


@pytest.mark.slow
def test_no_secret_leaves_the_processes(own_database_url: str, tmp_path: Path) -> None:
    settings = environment(own_database_url)
    with served(own_database_url, workers=1, **settings) as server:
        with running("worker", folder=tmp_path, **settings) as worker:
            visitor = Visitor(server)
            with visitor.http:
                use_rightly(visitor)
                use_by_cookie(visitor)
                use_wrongly(visitor)
                # The mails cannot be sent, and each attempt is logged.
                worker.wait_for(r"job_failed.*accounts\.|accounts\..*job_failed")
                interrupt(own_database_url, visitor)
            worker.kill(signal.SIGTERM)
            worker.wait()
        for what, text in {
            "the server's log": server.output,
            "the worker's log": worker.output,
            "the tables": written(own_database_url),
            "the errors": "\n".join(visitor.refusals),
        }.items():
            assert text, what
            # JSON escapes some characters of a secret.
            leaked = [each for each in visitor.secrets if each in text or json.dumps(each) in text]
            assert not leaked, f"{what}: {leaked}"
            if what != "the tables":
                assert not FORMS.search(text), (what, FORMS.search(text))
        assert "auth.refresh_reuse" in written(own_database_url)
