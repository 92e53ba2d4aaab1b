"""Origins of web pages, in the form of the header `Origin` (RFC 6454)."""

import re
from collections.abc import Collection

from backend.addresses.host_names import canonical_host, check_port, split_port

DEFAULT_PORTS = {"http": "80", "https": "443"}
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.IGNORECASE | re.DOTALL)
# The development servers of front ends, such as Vite and Next.js, have ports of their own.
_LOCAL = re.compile(r"http://(?:localhost|127\.0\.0\.1)(?::[1-9][0-9]{0,4})?")


def read_origin(text: str) -> str:
    """Normalize an entry of `CORS_ORIGINS`, such as `https://app.example.com`, or `*`.

    Raise `ValueError` with the problem of an invalid entry, without the entry itself.
    """
    if text == "*":
        return text
    match = _SCHEME.fullmatch(text)
    if match is None:
        raise ValueError("has no scheme")
    scheme, rest = match[1].lower(), match[2].removesuffix("/")
    if scheme not in DEFAULT_PORTS:
        raise ValueError("has a scheme other than http and https")
    if wrong := re.search(r"[/\\?#@]", rest):
        part = {"@": "user information", "?": "a query", "#": "a fragment"}
        raise ValueError(f"has {part.get(wrong[0], 'a path')}")
    name, port = split_port(rest)
    check_port(port)
    host = canonical_host(name)
    usual = not port or str(int(port)) == DEFAULT_PORTS[scheme]
    return f"{scheme}://{host}" if usual else f"{scheme}://{host}:{int(port)}"


def allows_origin(origin: str, listed: Collection[str], *, local: bool) -> bool:
    """Return whether the origin is listed, or if `local`, is an origin of this machine.

    `*` includes every origin except `null`, which is that of any sandboxed page.
    """
    if origin in listed or ("*" in listed and origin != "null"):
        return True
    return local and _LOCAL.fullmatch(origin) is not None
