"""The path prefix below which a proxy serves the application."""

from collections.abc import Awaitable, Collection

from starlette.types import ASGIApp, Receive, Scope, Send


class RootPathMiddleware:
    """Removes the prefix from the path, unless the proxy has, and keeps it in `scope["prefix"]`.

    The prefix is `root_path`, or without one the prefix sent by a trusted proxy. `roots` are the
    first segments of the application's own paths: with the prefix `/api`, the proxy has removed
    the prefix of the path `/api/v1/notes`, but not that of `/api/api/v1/notes`.

    Starlette's `root_path` is not used, because it cannot distinguish these two cases.
    """

    def __init__(self, app: ASGIApp, root_path: str, roots: Collection[str]) -> None:
        self.app = app
        self.root_path = root_path
        self.roots = frozenset(roots)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http":
            prefix = self.root_path or scope.get("prefix", "")
            scope["prefix"] = prefix
            path: str = scope["path"]
            if prefix and f"{path}/".startswith(f"{prefix}/"):
                rest = path[len(prefix) :] or "/"
                if _root(path) not in self.roots or _root(rest) in self.roots:
                    scope["path"] = rest
        return self.app(scope, receive, send)


def _root(path: str) -> str:
    """Return the first segment of a path."""
    return path.split("/", 2)[1]
