"""Paths as clients have to request them, with the prefix of a proxy."""

from backend.core.client_info import current_scope


def public_path(path: str) -> str:
    """Return `path` with the prefix of the proxy, if any.

    For paths in bodies, pages and cookies; `RequestContextMiddleware` adds the prefix to
    `Location` and `Link`.
    """
    scope = current_scope.get()
    prefix: str = scope.get("prefix", "") if scope else ""
    return prefix + path
