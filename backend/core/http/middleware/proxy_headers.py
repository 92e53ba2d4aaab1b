"""Client, scheme and prefix of requests that arrive through a proxy."""

from collections.abc import Awaitable, Collection
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from starlette.types import ASGIApp, Receive, Scope, Send

from backend.addresses.path_prefixes import parse_prefix

Address = IPv4Address | IPv6Address
SCHEMES = ("http", "https")


class ProxyHeadersMiddleware:
    """Applies `X-Forwarded-For`, `-Proto` and `-Prefix` from trusted addresses.

    Each proxy appends the address of its client, so the list is read from the end. The client can
    invent the entries before the last address that is not trusted.
    """

    def __init__(self, app: ASGIApp, trusted: Collection[str]) -> None:
        self.app = app
        self.trusted = [ip_network(network, strict=False) for network in trusted]

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http" and scope.get("client"):
            peer = parsed(scope["client"][0])
            if peer is not None and self.trusts(peer):
                client = self.client(_listed(scope, b"x-forwarded-for"))
                if client is not None:
                    scope["client"] = (str(client), 0)
                scheme = next(reversed(_listed(scope, b"x-forwarded-proto")), "").lower()
                if scheme in SCHEMES:
                    scope["scheme"] = scheme
                # The nearest proxy wrote the last one; the client may have sent the others.
                prefix = next(reversed(_listed(scope, b"x-forwarded-prefix")), "")
                scope["prefix"] = parse_prefix(prefix) or ""
        return self.app(scope, receive, send)

    def trusts(self, address: Address) -> bool:
        return any(address in network for network in self.trusted)

    def client(self, forwarded: list[str]) -> Address | None:
        """Return the last address that is not trusted, else the first one."""
        client = None
        for text in reversed(forwarded):
            address = parsed(text)
            if address is None:
                break
            client = address
            if not self.trusts(address):
                break
        return client


def parsed(text: str) -> Address | None:
    """Parse `1.2.3.4`, `1.2.3.4:5`, `::1`, `[::1]` or `[::1]:5`."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _listed(scope: Scope, name: bytes) -> list[str]:
    """Return the entries of a list header, from all its lines."""
    lines = [value.decode("latin-1") for key, value in scope["headers"] if key == name]
    return [part.strip() for part in ",".join(lines).split(",") if part.strip()]
