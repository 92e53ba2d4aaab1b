"""Path prefixes below which a proxy serves an application."""

import re

_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)*")
_MAX_PREFIX = 200


def parse_prefix(text: str) -> str | None:
    """Return a path prefix without a slash at the end, or None if it is invalid."""
    prefix = text.removesuffix("/")
    return prefix if len(prefix) <= _MAX_PREFIX and _PREFIX.fullmatch(prefix) else None
