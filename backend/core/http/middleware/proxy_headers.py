"""Who called the proxy in front of us."""

from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from starlette.types import ASGIApp, Receive, Scope, Send

from backend.addresses.path_prefixes import parse_prefix

Address = IPv4Address | IPv6Address
SCHEMES = ("http", "https")


class ProxyHeadersMiddleware:
    """Believes `X-Forwarded-For`, `-Proto` and `-Prefix`, from trusted addresses only.

    Each proxy appends the address it was called from, so the list is read from its end, and what
    stands before the first address that is not trusted may be anybody's invention.
    """

    def __init__(self, app: ASGIApp, trusted: Collection[str]) -> None:
        self.app = app
        self.trusted = [ip_network(each, strict=False) for each in trusted]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope.get("client"):
            peer = parsed(scope["client"][0])
            if peer is not None and self.trusts(peer):
                client = self.client(_listed(scope, b"x-forwarded-for"))
                if client is not None:
                    scope["client"] = (str(client), 0)
                scheme = next(reversed(_listed(scope, b"x-forwarded-proto")), "").lower()
                if scheme in SCHEMES:
                    scope["scheme"] = scheme
                # The last was written by the nearest proxy; others may be the client's.
                prefix = next(reversed(_listed(scope, b"x-forwarded-prefix")), "")
                scope["prefix"] = parse_prefix(prefix) or ""
        await self.app(scope, receive, send)

    def trusts(self, address: Address) -> bool:
        return any(address in network for network in self.trusted)

    def client(self, forwarded: list[str]) -> Address | None:
        """The last that is not trusted; failing that, the first of those that are."""
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
    """The address in `1.2.3.4`, `1.2.3.4:5`, `::1`, `[::1]` or `[::1]:5`."""
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
    """The parts of a header that is a list, of all its lines."""
    lines = [value.decode("latin-1") for key, value in scope["headers"] if key == name]
    return [part.strip() for part in ",".join(lines).split(",") if part.strip()]
