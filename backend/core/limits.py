"""Limits: how often something may be done in a time, wherever in it one begins to count.

`count_request` is for every request. For what somebody could guess by trying, count the attempts:

    verdict = await take(context, f"code {user_id}", Rule(5, 300))
    if not verdict.allowed:
        raise RateLimitedError(verdict)

These counts are durable, exact for any number of processes, and cost a round trip. An attempt is
counted before it is made, so parallel ones cannot pass together; what turns out to be none is given
back, and a success clears them all. What is never forgiven, such as mails sent, is counted by
`spend` in the place of `take`: then a refusal is known to hold until its time, and costs nothing
more. A key always goes with the same windows, and is stored as a keyed hash.
"""

import math
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Network, ip_address

from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.types import Scope

from backend.core.context import Context
from backend.core.errors import AppError
from backend.core.limiting.rules import ALLOWED, Rule, Verdict, parse_rules
from backend.core.origin import client_address
from backend.core.principal import Principal
from backend.db import limits as counts

__all__ = [
    "RateLimitedError",
    "Rule",
    "Verdict",
    "address_key",
    "clear",
    "clear_in",
    "count_address",
    "count_request",
    "give_back",
    "parse_rules",
    "spend",
    "take",
    "tell_refusal",
]

IPV6_NETWORK = 64
POLICY, STATE = b"ratelimit-policy", b"ratelimit"


class RateLimitedError(AppError):
    status = 429
    code = "RATE_LIMITED"
    detail = "Too many requests; `Retry-After` says in how many seconds to try again."

    def __init__(self, verdict: Verdict | None = None, *, of_address: bool = False) -> None:
        """`of_address`: whatever is asked from there is refused, whoever and whatever is named.

        Without a `verdict` it is for what the caller has under way, and soon over.
        """
        self.verdict = verdict
        self.of_address = of_address
        if verdict is None:
            super().__init__(headers={"Retry-After": "1"})
            return
        headers = {
            "Retry-After": str(verdict.retry_after),
            "RateLimit-Policy": verdict.policy,
            "RateLimit": _state(verdict),
        }
        super().__init__(headers=headers)


async def count_request(context: Context, scope: Scope, principal: Principal | None) -> None:
    """Count a request for its user or else its address, and say so in the answer's headers.

    Raises `RateLimitedError` for one too many.
    """
    limits = context.limits
    if limits is None:
        return
    if principal is None:
        name = f"address {address_key(client_address(scope))}"
    else:
        name = f"user {principal.user_id}"
    found = await limits.quotas.take(limits.key(name))
    if not found.allowed:
        raise RateLimitedError(found, of_address=principal is None)
    scope["answer_headers"] += [
        (POLICY, limits.quotas.policy.encode()),
        (STATE, _state(found).encode()),
    ]


def _state(verdict: Verdict) -> str:
    assert verdict.rule is not None
    return f'"{verdict.rule.name}";r={verdict.remaining};t={math.ceil(verdict.reset)}'


def tell_refusal(context: Context, scope: Scope, error: RateLimitedError) -> None:
    """Have the answer speak of the limit that refused, and remember it where that is possible."""
    scope["answer_headers"][:] = [
        header for header in scope["answer_headers"] if header[0] not in (POLICY, STATE)
    ]
    caller = scope.get("anonymous")
    if caller is not None and error.of_address and context.limits and error.verdict:
        context.limits.refused.remember(caller, error.verdict)


async def take(context: Context, key: str, *rules: Rule) -> Verdict:
    """Count an attempt at what `key` names, unless one of the rules does not allow it."""
    limits = context.limits
    if limits is None:
        return ALLOWED
    return await limits.guess(key, rules, context.database.fresh)


async def spend(context: Context, key: str, *rules: Rule) -> Verdict:
    """`take` for what is never given back or cleared."""
    limits = context.limits
    if limits is None:
        return ALLOWED
    return await limits.spend(key, rules, context.database.fresh)


async def count_address(context: Context, what: str, ip: str | None, *rules: Rule) -> None:
    """`spend` for this address, which is to do no more of it; raises `RateLimitedError`."""
    verdict = await spend(context, f"{what} {address_key(ip)}", *rules)
    if not verdict.allowed:
        raise RateLimitedError(verdict, of_address=True)


async def give_back(context: Context, key: str) -> None:
    """Take back the newest attempt: it was none."""
    if context.limits is not None:
        await counts.give_back(context.database.fresh, context.limits.key(key))


async def clear(context: Context, key: str) -> None:
    """Forget all attempts."""
    if context.limits is not None:
        await counts.clear(context.database.fresh, context.limits.key(key))


async def clear_in(session: AsyncSession, context: Context, key: str) -> None:
    """`clear` in the transaction of the success that ends the guessing."""
    if context.limits is not None:
        await counts.clear(session, context.limits.key(key))


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
