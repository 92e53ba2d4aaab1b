"""Paths of this application as clients have to write them."""

from backend.core.client_info import current_scope


def public_path(path: str) -> str:
    """The address of a path of this application as the client has to write it.

    Below a proxy's prefix it begins with that. For addresses in bodies, pages and cookies;
    `Location` and `Link` get the prefix on their way out.
    """
    scope = current_scope.get()
    prefix: str = scope.get("prefix", "") if scope else ""
    return prefix + path
