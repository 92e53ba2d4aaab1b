"""Origins of web pages, as browsers send them in the header `Origin` (RFC 6454)."""

import re
from collections.abc import Collection

from backend.addresses.host_names import canonical_host, check_port, split_port

DEFAULT_PORTS = {"http": "80", "https": "443"}
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.IGNORECASE | re.DOTALL)
# Front ends in development run on ports of their own, as Vite and Next.js do.
_LOCAL = re.compile(r"http://(?:localhost|127\.0\.0\.1)(?::[1-9][0-9]{0,4})?")


def read_origin(text: str) -> str:
    """One entry of `CORS_ORIGINS` in the spelling of browsers: `https://app.example.com`, or `*`.

    `ValueError` that says what is wrong with the entry, without repeating it.
    """
    if text == "*":
        return text
    found = _SCHEME.fullmatch(text)
    if found is None:
        raise ValueError("has no scheme")
    scheme, rest = found[1].lower(), found[2].removesuffix("/")
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
    """Whether pages of this origin may call: it is listed, or one of this machine's if `local`.

    `*` lists every origin but `null`, which stands for any sandboxed page.
    """
    if origin in listed or ("*" in listed and origin != "null"):
        return True
    return local and _LOCAL.fullmatch(origin) is not None
