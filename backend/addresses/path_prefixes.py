"""Prefixes of paths, below which a proxy serves an application."""

import re

_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)*")
_MAX_PREFIX = 200


def parse_prefix(text: str) -> str | None:
    """A prefix of paths without the slash at its end; None for what is no plain path."""
    prefix = text.removesuffix("/")
    return prefix if len(prefix) <= _MAX_PREFIX and _PREFIX.fullmatch(prefix) else None
