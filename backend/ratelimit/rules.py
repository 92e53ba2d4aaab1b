"""Rules of rate limits, and the result of an attempt."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from backend.ratelimit.postgres import Count

Storage = Literal["memory", "postgres", "redis"]
SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
MAX_LIMIT = 1_000_000_000
MAX_WINDOW = 366 * SECONDS["day"]
_RULE = re.compile(
    r"(\d{1,10})\s*/\s*(?:(\d{1,9})\s*)?(second|minute|hour|day)s?", re.IGNORECASE | re.ASCII
)


@dataclass(frozen=True)
class Rule:
    """At most `limit` hits in any `window` of seconds; `subject` names them in metrics."""

    limit: int
    window: int
    subject: str = ""

    @cached_property
    def name(self) -> str:
        """The name of the rule in response headers, such as `minute` or `5-minutes`."""
        unit = next(unit for unit in reversed(SECONDS) if self.window % SECONDS[unit] == 0)
        count = self.window // SECONDS[unit]
        return unit if count == 1 else f"{count}-{unit}s"


class LimitResult(NamedTuple):
    """The result of an attempt, by the rule with the least remaining.

    remaining    number of attempts that would pass now
    reset        seconds until that number increases
    retry_after  whole seconds until a refused attempt would pass; 0 if it passed
    policy       of a refusal: all rules, in the form of `RateLimit-Policy`
    """

    allowed: bool
    remaining: int
    reset: float
    retry_after: int
    rule: Rule | None = None
    policy: str = ""


ALLOWED = LimitResult(allowed=True, remaining=MAX_LIMIT, reset=0, retry_after=0)


def parse_rules(text: str) -> tuple[Rule, ...]:
    """Parse rules such as `60/minute;1000/hour` or `10/5 minutes`; the shortest window comes first.

    Raise `ValueError` with a sentence for the author of the text.
    """
    rules = []
    for part in text.split(";"):
        found = _RULE.fullmatch(part.strip())
        if found is None:
            raise ValueError("must be rules such as 60/minute;1000/hour or 10/5 minutes")
        limit, count, unit = found.groups()
        rules.append(Rule(int(limit), int(count or 1) * SECONDS[unit.lower()], "requests"))
    if not all(1 <= rule.limit <= MAX_LIMIT and 1 <= rule.window <= MAX_WINDOW for rule in rules):
        raise ValueError(f"must have limits of 1 to {MAX_LIMIT}, and windows of at most 366 days")
    if len({rule.window for rule in rules}) < len(rules):
        raise ValueError("must not have two rules for one window")
    return tuple(sorted(rules, key=lambda rule: rule.window))


def limit_result(rules: Sequence[Rule], count: Count, position: int = 0) -> LimitResult:
    """Return the result of the attempt at `position` (from 0) among those counted together."""
    later = count.passed - 1 - position
    if later < 0:
        # Rules whose limit is reached once all attempts that passed are counted.
        full = [
            (wait, rule)
            for rule, used, wait in zip(rules, count.used, count.waits, strict=True)
            if used >= rule.limit
        ]
        wait, rule = max(full, key=lambda each: each[0])
        return refusal(rule, wait / 1_000_000, policy_of(rules))
    left = [rule.limit - used for rule, used in zip(rules, count.used, strict=True)]
    least = min(left)
    nearest = left.index(least)
    reset = count.waits[nearest] / 1_000_000
    return LimitResult(True, least + later, reset, 0, rules[nearest])


def refusal(rule: Rule, wait: float, policy: str) -> LimitResult:
    """Return the result of a refused attempt that would pass after `wait` seconds."""
    return LimitResult(False, 0, wait, max(1, math.ceil(wait)), rule, policy)


def policy_of(rules: Sequence[Rule]) -> str:
    """Return the value of `RateLimit-Policy`."""
    return ", ".join(f'"{each.name}";q={each.limit};w={each.window}' for each in rules)
