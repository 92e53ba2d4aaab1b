"""The prefix below which a proxy serves the application."""

from collections.abc import Collection

from starlette.types import ASGIApp, Receive, Scope, Send


class RootPathMiddleware:
    """Takes the prefix off the path where the proxy has left it on, and notes it for the answer.

    `root_path` counts for every request; without one, the prefix that a trusted proxy has named.
    `roots` are the first segments of the application's own paths: with the prefix `/api`, the path
    `/api/v1/notes` lost its prefix on the way, and `/api/api/v1/notes` did not.

    Starlette's `root_path` is not used: it cannot tell these two apart.
    """

    def __init__(self, app: ASGIApp, root_path: str, roots: Collection[str]) -> None:
        self.app = app
        self.root_path = root_path
        self.roots = frozenset(roots)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            prefix = self.root_path or scope.get("prefix", "")
            scope["prefix"] = prefix
            path: str = scope["path"]
            if prefix and f"{path}/".startswith(f"{prefix}/"):
                rest = path[len(prefix) :] or "/"
                if _root(path) not in self.roots or _root(rest) in self.roots:
                    scope["path"] = rest
        await self.app(scope, receive, send)


def _root(path: str) -> str:
    """The first segment of a path."""
    return path.split("/", 2)[1]
