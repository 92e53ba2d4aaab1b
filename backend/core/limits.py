"""Rate limits: a maximal number of actions per key in any window of time.

`count_request` counts every request. Attempts to guess a secret are counted individually:

    result = await hit(context, f"code {user_id}", Rule(5, 300))
    if not result.allowed:
        raise RateLimitedError(result)

These counts are durable, exact for any number of processes, and cost a round trip. An attempt is
counted before it is made, so that parallel attempts cannot exceed the limit; `refund` takes back
an attempt that was not made, and `clear` deletes all after a success. `hit_cached` is for actions
that are never refunded or cleared, such as sending mail: it caches refusals, so that repetitions
cost no round trip. A key is always used with the same rules, and stored as a keyed hash.
"""

import math

from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.types import Scope

from backend.addresses.ip_addresses import address_key
from backend.core.client_info import client_address
from backend.core.context import Context
from backend.core.errors import AppError
from backend.core.principal import Principal
from backend.db.read_limits import PER_CALLER
from backend.ratelimit import postgres as counts
from backend.ratelimit.rules import ALLOWED, LimitResult, Rule, parse_rules

__all__ = [
    "CONCURRENT_READS",
    "LimitResult",
    "RateLimitedError",
    "Rule",
    "clear",
    "clear_in",
    "count_refusal",
    "count_request",
    "hit",
    "hit_address",
    "hit_cached",
    "parse_rules",
    "refund",
    "set_refusal_headers",
]

# Not counted here: see `backend.db.read_limits`.
CONCURRENT_READS = Rule(PER_CALLER, 0, "concurrent reads")
POLICY, STATE = b"ratelimit-policy", b"ratelimit"


class RateLimitedError(AppError):
    status = 429
    code = "RATE_LIMITED"
    detail = "Too many requests. Try again after the seconds given in `Retry-After`."

    def __init__(self, result: LimitResult | None = None, *, of_address: bool = False) -> None:
        """`of_address`: the limit refuses all such requests of the address, for any account.

        Without a `result`, too many requests of the caller are running at the same time.
        """
        self.result = result
        self.of_address = of_address
        if result is None:
            super().__init__(headers={"Retry-After": "1"})
            return
        headers = {
            "Retry-After": str(result.retry_after),
            "RateLimit-Policy": result.policy,
            "RateLimit": _state(result),
        }
        super().__init__(headers=headers)


async def count_request(
    context: Context, scope: Scope, principal: Principal | None, *, is_download: bool = False
) -> None:
    """Count a request for its user, or without one for its address; add the RateLimit headers.

    Downloads are counted separately. Raise `RateLimitedError` if the limit is exceeded.
    """
    limits = context.limits
    if limits is None:
        return
    if principal is None:
        name = f"address {address_key(client_address(scope))}"
    else:
        name = f"user {principal.user_id}"
    quotas = limits.quotas
    if is_download:
        quotas, name = limits.downloads, f"downloads of {name}"
    result = await quotas.hit(limits.key(name))
    if not result.allowed:
        count_refusal(context, result.rule)
        raise RateLimitedError(result, of_address=principal is None)
    scope["response_headers"] += [
        (POLICY, quotas.policy.encode()),
        (STATE, _state(result).encode()),
    ]


def _state(result: LimitResult) -> str:
    assert result.rule is not None
    return f'"{result.rule.name}";r={result.remaining};t={math.ceil(result.reset)}'


def set_refusal_headers(context: Context, scope: Scope, error: RateLimitedError) -> None:
    """Remove the headers of other limits from the response, and cache a refusal of the address."""
    scope["response_headers"][:] = [
        header for header in scope["response_headers"] if header[0] not in (POLICY, STATE)
    ]
    caller = scope.get("anonymous")
    if caller is not None and error.of_address and context.limits and error.result:
        context.limits.refused.remember(caller, error.result)


def count_refusal(context: Context, rule: Rule | None) -> None:
    """Count in the metrics that this rule has refused an action."""
    if context.metrics is not None and rule is not None and rule.subject:
        context.metrics.rate_limited.labels(rule.subject).inc()


async def hit(context: Context, key: str, *rules: Rule) -> LimitResult:
    """Count an attempt for `key`, unless one of the rules refuses it."""
    limits = context.limits
    if limits is None:
        return ALLOWED
    result = await limits.hit(key, rules, context.database.primary)
    if not result.allowed:
        count_refusal(context, result.rule)
    return result


async def hit_cached(context: Context, key: str, *rules: Rule) -> LimitResult:
    """Do the same as `hit`, for actions that are never refunded or cleared."""
    limits = context.limits
    if limits is None:
        return ALLOWED
    result = await limits.hit_cached(key, rules, context.database.primary)
    if not result.allowed:
        count_refusal(context, result.rule)
    return result


async def hit_address(context: Context, what: str, ip: str | None, *rules: Rule) -> None:
    """Count an action `what` of this address; raise `RateLimitedError` if there are too many."""
    result = await hit_cached(context, f"{what} {address_key(ip)}", *rules)
    if not result.allowed:
        raise RateLimitedError(result, of_address=True)


async def refund(context: Context, key: str) -> None:
    """Take back the newest attempt, which was not made."""
    if context.limits is not None:
        await counts.refund(context.database.primary, context.limits.key(key))


async def clear(context: Context, key: str) -> None:
    """Delete all attempts."""
    if context.limits is not None:
        await counts.clear(context.database.primary, context.limits.key(key))


async def clear_in(session: AsyncSession, context: Context, key: str) -> None:
    """Delete all attempts in the transaction of `session`."""
    if context.limits is not None:
        await counts.clear(session, context.limits.key(key))
