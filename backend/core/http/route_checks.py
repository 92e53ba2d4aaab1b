"""Checks of all routes before the application starts."""

import re
from collections.abc import Collection, Iterable, Iterator

from fastapi.routing import APIRoute, RouteContext

from backend.core.authorization import policies
from backend.core.http.caching import declaration_of
from backend.core.http.routing import Route


def route_problems(
    routes: Iterable[tuple[str, str, RouteContext]], permissions: Collection[str]
) -> Iterator[str]:
    """Yield a sentence with the remedy for each invalid route.

    `routes` are the name of the module, the prefix of its routes, and the route. `permissions` are
    those that modules declare.
    """
    owners: dict[tuple[str, str], str] = {}
    for module, prefix, route in routes:
        where = f"Module '{module}', {_methods(route)}{route.path}:"
        if problem := _problem(route, permissions):
            yield f"{where} {problem}"
            continue
        path = re.sub(r"{[^}]*}", "{}", f"{prefix}{route.path}")
        if path.endswith("/") and path != "/":
            yield f"{where} leave out the slash at the end; requests may have one anyway."
        for method in route.methods or ():
            if (method, path) in owners:
                yield f"{where} module '{owners[method, path]}' has that route already."
            # Routes of one module have the order of definition; routes of two modules have none.
            for (other_method, other), owner in owners.items():
                if method == other_method and owner != module and _overlap(path, other):
                    yield (
                        f"{where} a request could also mean {other} of module '{owner}': put both "
                        "routes into one router, the one without a parameter first, or choose "
                        "another path."
                    )
            owners[method, path] = module


def _problem(route: RouteContext, permissions: Collection[str]) -> str | None:
    """Return the problem of a single route, or None."""
    original = route.original_route
    if not isinstance(original, APIRoute):
        return (
            f"a {type(original).__name__} takes no access policy; "
            "declare routes with the router's get, post, put, patch and delete."
        )
    if not isinstance(original, Route):
        return (
            "make the router with backend.core.http.routing.Router instead of "
            "APIRouter, so that it follows the HTTP contract."
        )
    declared = policies(original.dependant)
    # `Route` does not apply a policy that is added where its router is nested.
    if len(declared) != 1 or policies(route.dependant) != declared:
        problem = "has no access policy" if not declared else "has more than one access policy"
        return f"it {problem}; take exactly one of backend.core.authorization's."
    permission = declared[0].permission
    if permission is not None and permission not in permissions:
        return f"no module declares the permission '{permission}'."
    is_public = declared[0].kind == "public" and original.methods == {"GET"}
    if declaration_of(original.dependant) is not None and not is_public:
        return (
            "its responses cannot be cached; `cached` is for GET routes that take an "
            "OptionalPrincipal, or are `public`."
        )
    return None


def _overlap(path: str, other: str) -> bool:
    """Return whether some path matches both templates."""
    pairs = zip(path.split("/"), other.split("/"), strict=False)
    same_length = path.count("/") == other.count("/")
    return same_length and all(a == b or "{}" in a or "{}" in b for a, b in pairs)


def _methods(route: RouteContext) -> str:
    return "/".join(sorted(route.methods)) + " " if route.methods else ""
