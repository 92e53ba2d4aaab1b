"""Whether requests arrive through proxies as TRUSTED_PROXIES says; `backend doctor` reports it.

One request in a while is examined, and only one that does not match leaves a record.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

import structlog
from starlette.types import Scope

from backend.core.background import in_background
from backend.core.context import Context
from backend.core.http.middleware.proxy_headers import parsed
from backend.core.temporary import TemporaryValues

log = structlog.get_logger()

EXAMINE_SECONDS = 10.0
KEPT_SECONDS = 3600.0
# Of all processes, the newest mismatch: {"peer": "192.0.2.1", "trusted": false}.
MISMATCH = TemporaryValues("core.proxies")
LAST = "last"


class ProxyWatch:
    """Examines a request when one is `due`, in seconds of `time.perf_counter`."""

    def __init__(self, context: Context) -> None:
        self.due = 0.0
        self._is_probe = context.is_probe
        networks = context.settings.trusted_proxies
        self._trusted = [ip_network(network, strict=False) for network in networks]
        self._mismatch: dict[str, Any] | None = None

    def examine(self, scope: Scope, now: float) -> None:
        """Note a request whose peer is a proxy, but not a trusted one, or the other way round."""
        # Health checks go past the proxy.
        if self._is_probe(scope["path"]) or not scope.get("client"):
            return
        self.due = now + EXAMINE_SECONDS
        peer = parsed(scope["client"][0])
        is_trusted = peer is not None and any(peer in network for network in self._trusted)
        is_forwarded = any(name == b"x-forwarded-for" for name, _ in scope["headers"])
        if is_trusted != is_forwarded:
            self._mismatch = {"peer": str(peer), "trusted": is_trusted}

    async def report(self, context: Context) -> None:
        """Store the newest mismatch for `backend doctor`."""
        if self._mismatch is not None:
            found, self._mismatch = self._mismatch, None
            await MISMATCH.set(context, LAST, found, seconds=KEPT_SECONDS)


def proxy_watch(context: Context) -> ProxyWatch:
    return context.get_or_create(ProxyWatch)


@asynccontextmanager
async def proxies_watched(context: Context) -> AsyncIterator[None]:
    """During the block, store mismatches of requests with TRUSTED_PROXIES."""
    async with in_background(_report_always(context)):
        yield


async def _report_always(context: Context) -> None:
    while True:
        await asyncio.sleep(EXAMINE_SECONDS)
        try:
            await proxy_watch(context).report(context)
        except Exception as error:  # noqa: BLE001  # a later mismatch is reported instead
            log.debug("proxy_mismatch_not_stored", error=type(error).__name__)
