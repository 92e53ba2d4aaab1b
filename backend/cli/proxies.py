"""The check of TRUSTED_PROXIES against the last requests, for `backend doctor`."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address

from backend.cli.findings import Finding, advice, failed, passed
from backend.core.app import create_context
from backend.core.http.proxy_watch import LAST, MISMATCH
from backend.core.module import Module
from backend.core.settings import SettingsBase


def last_requests(
    modules: Sequence[Module], loaded: Mapping[type[SettingsBase], SettingsBase]
) -> Iterator[Finding]:
    """Report the newest request of the last hour that arrived otherwise than the settings say."""
    found = asyncio.run(_last_mismatch(modules, loaded))
    if found is None:
        yield passed("No request of the last hour contradicts TRUSTED_PROXIES")
    elif found["trusted"]:
        yield advice(
            f"The proxy {found['peer']} of TRUSTED_PROXIES sent a request without X-Forwarded-For, "
            "so it counts for the proxy's address: let the proxy set the header."
        )
    elif _is_public(str(found["peer"])):
        yield advice(
            f"A request with X-Forwarded-For came from {found['peer']}, which TRUSTED_PROXIES does "
            "not list. List it if it is your proxy; a client may have invented the header."
        )
    else:
        yield failed(
            f"A request with X-Forwarded-For came from {found['peer']}, which TRUSTED_PROXIES does "
            "not list, so all clients of this proxy share its address and its limits: list it."
        )


def _is_public(peer: str) -> bool:
    """Return whether it is an address of the internet, where anybody may be the client."""
    try:
        return ip_address(peer).is_global
    except ValueError:
        return False


async def _last_mismatch(
    modules: Sequence[Module], loaded: Mapping[type[SettingsBase], SettingsBase]
) -> dict[str, object] | None:
    context = create_context(modules, loaded)
    try:
        found: dict[str, object] | None = await MISMATCH.get(context, LAST)
        return found
    finally:
        await context.close()
