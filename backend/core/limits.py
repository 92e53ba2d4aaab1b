"""Placeholder until the real one is written (a package `limits/` would hide this file)."""

from dataclasses import dataclass

from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context
from backend.core.errors import AppError


@dataclass(frozen=True)
class Rule:
    limit: int
    window: int


@dataclass(frozen=True)
class Verdict:
    allowed: bool
    remaining: int
    reset: float
    retry_after: int


class RateLimitedError(AppError):
    status = 429
    code = "RATE_LIMITED"
    detail = "Too many requests; `Retry-After` says in how many seconds to try again."

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(headers={"Retry-After": str(verdict.retry_after)})


async def take(context: Context, key: str, *rules: Rule) -> Verdict:
    return Verdict(True, 1, 0, 0)


async def give_back(context: Context, key: str) -> None:
    pass


async def clear(context: Context, key: str) -> None:
    pass


async def clear_in(session: AsyncSession, context: Context, key: str) -> None:
    pass


def address_key(ip: str | None) -> str:
    return ip or ""
