"""Validation of URLs with passwords; no error message contains a part of the URL."""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

from backend.addresses.host_names import check_port

ESCAPES = {"@": "%40", "/": "%2F", "?": "%3F", "#": "%23", "%": "%25"}
_PROJECT = re.compile(r"://[^@/]+@[^?#]+/\d+$")
_DATABASE_PARAMETER = re.compile(r"[a-z_]+=.*", re.DOTALL)


def check_database_url(url: str) -> None:
    """Raise `ValueError` unless it is a URL of PostgreSQL, with one or several hosts."""
    if not url.startswith(("postgresql://", "postgres://")):
        raise ValueError("must begin with postgresql://")
    check_escapes(url, is_parameter=_DATABASE_PARAMETER.fullmatch)
    try:
        ports = str(conninfo_to_dict(url).get("port") or "").split(",")
        for port in ports:
            check_port(port)
    except (psycopg.ProgrammingError, ValueError):
        # The driver's message would contain a part of the URL, perhaps of the password.
        raise ValueError("must be like postgresql://user:password@host:5432/name") from None


def check_redis_url(url: str) -> None:
    """Raise `ValueError` unless it is a URL of Redis."""
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must begin with redis://, rediss:// or unix://")
    check_escapes(url)
    try:
        urlsplit(url).port  # noqa: B018  # reading it is the check
    except ValueError:
        raise ValueError("must be like redis://user:password@host:6379/0") from None


def check_receiver_url(url: str) -> None:
    """Raise `ValueError` unless it is the URL of an OTLP/HTTP receiver."""
    if _http_host(url) is None:
        raise ValueError("must be like http://collector:4318")


def check_service_url(url: str) -> None:
    """Raise `ValueError` unless it is the address of an HTTP API, without a key."""
    if _http_host(url) is None or not url.isprintable() or any(sign in url for sign in "@?# "):
        raise ValueError("must be like https://api.example.com, without user name and query")


def check_sentry_dsn(dsn: str) -> None:
    """Raise `ValueError` unless it is the address of a Sentry project."""
    if _http_host(dsn) is None or not _PROJECT.search(dsn):
        raise ValueError("must be like https://key@sentry.example.com/1")


def _http_host(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # reading it is the check
    except ValueError:
        return None
    return parts.hostname if parts.scheme in ("http", "https") else None


def check_escapes(url: str, *, is_parameter: Callable[[str], object] = lambda _: False) -> None:
    """Raise `ValueError` if a special character of the user name or password is not escaped.

    Parsers differ in which of these characters ends the password, and treat the rest as a host,
    which error messages contain. `is_parameter` returns whether a part of the query may contain @.
    """
    scheme, _, rest = url.partition("://")
    end = re.search(r"[/?#]|$", rest)
    assert end is not None
    authority, tail = rest[: end.start()], rest[end.start() :]
    path, _, query = tail.partition("?")
    parts = [part for part in query.split("&") if "@" in part]
    is_file = scheme == "unix" and not authority
    if authority.count("@") > 1:
        wrong = "@"
    elif ("@" in path and not is_file) or not all(map(is_parameter, parts)):
        wrong = tail[0]
    elif re.search(r"%(?![0-9A-Fa-f]{2})", rest):
        wrong = "%"
    else:
        return
    raise ValueError(f"write {wrong} in the user name or the password as {ESCAPES[wrong]}")
