"""Host names: the entries of `ALLOWED_HOSTS`, and the `Host` headers that they match."""

import re
from collections.abc import Callable, Collection
from ipaddress import IPv4Address, IPv6Address

import idna

LAST_PORT = 65_535
_NAME = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}")
# Browsers parse a name whose last part is a number as an IPv4 address.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_HEADER = re.compile(r"([a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::[0-9]*)?")


def read_host(text: str) -> str:
    """Normalize an entry of `ALLOWED_HOSTS`: `api.example.com`, `*.example.com`, `[::1]` or `*`.

    A port and a dot at the end are removed. Raise `ValueError` with the problem of an invalid
    entry, without the entry itself.
    """
    if text == "*":
        return text
    if "://" in text:
        raise ValueError("has a scheme")
    if wrong := re.search(r"[/\\?#@]", text):
        part = {"@": "user information", "?": "a query", "#": "a fragment"}
        raise ValueError(f"has {part.get(wrong[0], 'a path')}")
    if text.count(":") > 1 and not text.startswith("["):
        text = f"[{text}]"
    name, port = split_port(text)
    check_port(port)
    name = name.removesuffix(".")
    if name.endswith("."):
        raise ValueError("has no valid host name")
    host = canonical_host(name.removeprefix("*."))
    if not name.startswith("*."):
        return host
    if _is_address(host):
        raise ValueError("has a wildcard before an address")
    return f"*.{host}"


def split_port(text: str) -> tuple[str, str]:
    """Split `name:port`; the port is empty if there is none."""
    name, colon, port = text.rpartition(":")
    return (name, port) if colon and not text.endswith("]") else (text, "")


def check_port(port: str) -> None:
    """Raise `ValueError` unless this is a port, or empty."""
    if port and not (port.isascii() and port.isdecimal() and 1 <= int(port) <= LAST_PORT):
        raise ValueError(f"has a port that is not a number from 1 to {LAST_PORT}")


def canonical_host(host: str) -> str:
    """Return a host name or address as browsers send it: lower case, ASCII, IPv6 in brackets.

    Raise `ValueError` if it is invalid, without the host itself.
    """
    if "*" in host:
        raise ValueError("has a wildcard")
    if not host:
        raise ValueError("has no host name")
    try:
        if host.startswith("[") and host.endswith("]") and "%" not in host:
            return f"[{IPv6Address(host[1:-1]).compressed}]"
        if not host.isascii():
            host = idna.encode(host, uts46=True).decode()
        host = host.lower()
        if _NUMBER.fullmatch(host.removesuffix(".").rpartition(".")[2]):
            return str(IPv4Address(host))
        if not _NAME.fullmatch(host.removesuffix(".")):
            raise ValueError
    except ValueError:
        raise ValueError("has no valid host name") from None
    return host


def admission(allowed: Collection[str], *, local_only: bool) -> Callable[[str], bool] | None:
    """Return the predicate for hosts to serve, or None if all are served.

    `allowed` are results of `read_host`. If it is empty and `local_only`, the predicate is
    `is_local_host`.
    """
    if not allowed:
        return is_local_host if local_only else None
    if "*" in allowed:
        return None
    exact = frozenset(allowed)
    endings = tuple(host[1:] for host in allowed if host.startswith("*."))
    return lambda host: host in exact or host.endswith(endings)


def host_of(header: str) -> str:
    """Return the host in a `Host` header, without port and final dot; empty if invalid."""
    match = _HEADER.fullmatch(header.lower())
    if match is None:
        return ""
    host = match[1]
    if host.startswith("["):
        try:
            return canonical_host(host)
        except ValueError:
            return ""
    host = host.removesuffix(".")
    return "" if "" in host.split(".") else host


def is_local_host(host: str) -> bool:
    """Return whether this is an address, a name without a dot, or a name below `localhost`.

    No public DNS server can resolve these names, so DNS rebinding cannot use them.
    """
    return bool(host) and ("." not in host or host.endswith(".localhost") or _is_address(host))


def _is_address(host: str) -> bool:
    if host.startswith("["):
        return True
    try:
        IPv4Address(host)
    except ValueError:
        return False
    return True
