"""IP addresses: their canonical form, and the key of a client for rate limits."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Network, ip_address

IPV6_NETWORK = 64


@lru_cache(4096)
def plain_address(text: str) -> str | None:
    """Return an IP address in its canonical form, or None if it is invalid."""
    try:
        address = ip_address(text)
        # A socket for both versions represents IPv4 addresses as IPv6 addresses.
        return str(getattr(address, "ipv4_mapped", None) or address)
    except ValueError:
        # Some servers use the value of a forwarding header without validation.
        return None


@lru_cache(1024)
def address_key(ip: str | None, *, network: int = IPV6_NETWORK) -> str:
    """Return the key of an IPv4 address, or of an IPv6 network, as one client has 2^64 addresses.

    `network` is the length of the network's prefix in bits.
    """
    if ip is None:
        return "unknown"
    try:
        address = ip_address(ip.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(address, IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Network((address, network), strict=False))
