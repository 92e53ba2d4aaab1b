"""IP addresses: their usual spelling, and the key that requests of one client share."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Network, ip_address

IPV6_NETWORK = 64


@lru_cache(4096)
def plain_address(text: str) -> str | None:
    """An IP address in its usual spelling, as it is counted and written down; else None."""
    try:
        address = ip_address(text)
        # A socket that takes both kinds writes the old kind in the form of the new.
        return str(getattr(address, "ipv4_mapped", None) or address)
    except ValueError:
        # Some servers put into it whatever a forwarding header says.
        return None


@lru_cache(1024)
def address_key(ip: str | None, *, network: int = IPV6_NETWORK) -> str:
    """The key of a caller's address, or of its network: a household has 2^64 addresses of IPv6.

    `network` is the length of their common prefix in bits.
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
