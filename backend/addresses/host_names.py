"""Host names: how `ALLOWED_HOSTS` is read, and which `Host` of a request it admits."""

import re
from collections.abc import Callable, Collection
from ipaddress import IPv4Address, IPv6Address

import idna

LAST_PORT = 65_535
_NAME = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}")
# Browsers take a name whose last part is a number for an IPv4 address.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_HEADER = re.compile(r"([a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::[0-9]*)?")


def read_host(text: str) -> str:
    """One entry of `ALLOWED_HOSTS` in its one spelling: `api.example.com`, `*.example.com`, `[::1]`
    or `*`. A port and a dot at the end do not matter and are left out.

    `ValueError` that says what is wrong with the entry, without repeating it.
    """
    if text == "*":
        return text
    if "://" in text:
        raise ValueError("has a scheme")
    if found := re.search(r"[/\\?#@]", text):
        part = {"@": "user information", "?": "a query", "#": "a fragment"}
        raise ValueError(f"has {part.get(found[0], 'a path')}")
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
    """`name:port` in two; the port is empty where there is none."""
    name, colon, port = text.rpartition(":")
    return (name, port) if colon and not text.endswith("]") else (text, "")


def check_port(port: str) -> None:
    """`ValueError` unless this is a port, or empty."""
    if port and not (port.isascii() and port.isdecimal() and 1 <= int(port) <= LAST_PORT):
        raise ValueError(f"has a port that is not a number from 1 to {LAST_PORT}")


def canonical_host(host: str) -> str:
    """A host name or address as browsers send it: in lower case and ASCII, IPv6 in brackets.

    `ValueError` for anything else, without repeating it.
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
    """The function that tells whether `host_of` a request may be answered; None: any may.

    `allowed` are entries of `read_host`. Without any, `local_only` admits the hosts of
    `is_local_host` alone.
    """
    if not allowed:
        return is_local_host if local_only else None
    if "*" in allowed:
        return None
    exact = frozenset(allowed)
    endings = tuple(host[1:] for host in allowed if host.startswith("*."))
    return lambda host: host in exact or host.endswith(endings)


def host_of(header: str) -> str:
    """The host in a `Host` header, without port and dot at the end; empty if there is none."""
    found = _HEADER.fullmatch(header.lower())
    if found is None:
        return ""
    host = found[1]
    if host.startswith("["):
        try:
            return canonical_host(host)
        except ValueError:
            return ""
    host = host.removesuffix(".")
    return "" if "" in host.split(".") else host


def is_local_host(host: str) -> bool:
    """Whether no stranger's DNS can make this host name mean this machine (DNS rebinding).

    Those are addresses, names without a dot, and names below `localhost`.
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
