"""Versions of the API beside the first one: routers that contain only what differs.

    v2 = LaterVersion(router, 2)

    @v2.get("/{id}")
    async def read_note(id: Id, by: MayRead, reader: Reader) -> NoteOut: ...

The manifest lists it: `versions=(v2,)`. Then `/api/v2` has this route and, of all modules, every
other route of `/api/v1`.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy
from typing import Any

from fastapi import APIRouter
from starlette.routing import BaseRoute

from backend.core.http.resources import parts_of, resource_of
from backend.core.http.routing import Route, Router
from backend.core.module import Module
from backend.core.preconditions import Represent

# Methods, and the path with anonymous parameters; of a nested router its id.
Identity = tuple[frozenset[str], str] | int


class LaterVersion(Router):
    """The router of a later version of the API; `base` is that of the version before.

    It serves all routes of `base`. Its own routes replace those of the same method and path, and
    `remove` leaves some out. `represents` maps the schema of a resource that it represents
    differently to the function that converts one: services compare the entity tags of changes with
    the resource they know, and the clients of this version have the tag of its representation.
    """

    def __init__(
        self,
        base: Router,
        number: int,
        *,
        represents: Mapping[type, Represent] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**{**base.arguments, **options})
        self.base, self.number = base, number
        earlier = base.represents if isinstance(base, LaterVersion) else {}
        self.represents: Mapping[type, Represent] = {**earlier, **(represents or {})}
        self._removed: set[Identity] = set()

    def remove(self, method: str, path: str) -> None:
        """Leave out a route of the version before; `path` is that of its declaration."""
        removed = _key(self.prefix + path, [method])
        if removed not in map(identity, self.base.all_routes):
            raise ValueError(f"the version before {self.number} has no {method} {path} to remove")
        self._removed.add(removed)

    @property
    def all_routes(self) -> Sequence[BaseRoute]:
        own = {identity(route): route for route in self.routes}
        kept = [
            own.pop(identity(route), route)
            for route in self.base.all_routes
            if identity(route) not in self._removed
        ]
        # A path without parameters must come before one that matches it too.
        new = sorted(own.values(), key=lambda route: "{" in getattr(route, "path", ""))
        literals = [route for route in new if "{" not in getattr(route, "path", "")]
        return [*literals, *kept, *new[len(literals) :]]


def identity(route: BaseRoute) -> Identity:
    """Return what a route has in common with one that replaces it."""
    return _key(route.path, route.methods or ()) if isinstance(route, Route) else id(route)


def _key(path: str, methods: Collection[str]) -> Identity:
    return frozenset(methods), re.sub(r"{[^}]*}", "{}", path)


def versions_of(modules: Iterable[Module]) -> range:
    """Return the versions of the API: the first one, and those that some module declares."""
    return range(1, max((each.number for m in modules for each in later_of(m)), default=1) + 1)


def later_of(module: Module) -> list[LaterVersion]:
    return [each for each in module.versions if isinstance(each, LaterVersion)]


def router_of(module: Module, version: int = 1) -> APIRouter | None:
    """Return the router with all routes that the module has in this version of the API.

    Routes outside of the API's versions belong to the first one.
    """
    first, later = module.router, later_of(module)
    if version > 1 and not module.versioned:
        return None
    if not later or not isinstance(first, Router):
        return first
    current: Router = next((each for each in reversed(later) if each.number <= version), first)
    following = [each for each in later if each.number > version]
    whole = Router(**first.arguments)
    for route in current.all_routes:
        placed = copy(route)
        if isinstance(placed, Route):
            successors = (each.number for each in following if _declares(each, route))
            placed.replaced_in = next(successors, None)
            placed.represents = current.represents if isinstance(current, LaterVersion) else {}
        whole.routes.append(placed)
    return whole


def _number(router: Router) -> int:
    return router.number if isinstance(router, LaterVersion) else 1


def _declares(router: Router, route: BaseRoute) -> bool:
    return identity(route) in map(identity, router.routes)


def version_problems(modules: Sequence[Module]) -> Iterator[str]:
    """Yield a sentence with the remedy for each mistake in the versions of modules."""
    declared = {each.number for module in modules for each in later_of(module)}
    for module in modules:
        yield from (f"Module '{module.name}': {problem}" for problem in _problems(module, declared))


def _problems(module: Module, declared: Collection[int]) -> Iterator[str]:
    if not module.versions:
        return
    later, before = later_of(module), module.router
    if not (module.versioned and isinstance(before, Router) and len(later) == len(module.versions)):
        yield "`versions` are made with LaterVersion(router, number), for a router below /api/v1."
        return
    for each in later:
        if each.base is not before or each.number <= _number(before):
            yield (
                f"make version {each.number} with LaterVersion(router of the version before, "
                f"{each.number}), and list all of them in `versions`, in their order."
            )
            return
        if missing := set(range(2, each.number)).difference(declared):
            yield f"no module has version {min(missing)} of the API, so none can have a later one."
            return
        yield from _representation_problems(each)
        before = each


def _representation_problems(later: LaterVersion) -> Iterator[str]:
    """Yield routes that would return a resource as the version before represents it.

    Entity tags of changes could not agree either.
    """
    replaced = {identity(route): route for route in later.base.all_routes}
    for route in later.routes:
        former = replaced.get(identity(route))
        if not isinstance(route, Route) or not isinstance(former, Route):
            continue
        old, new = resource_of(former), resource_of(route)
        if old is not None and new is not old and old not in later.represents:
            yield (
                f"version {later.number} represents {old.__name__} differently: give LaterVersion "
                f"`represents={{{old.__name__}: function that converts one}}`, with which entity "
                "tags of changes are compared."
            )
    for route in later.all_routes:
        if not isinstance(route, Route):
            continue
        parts = parts_of(route.response_model)
        old = next((part for part in parts if part in later.represents), None)
        if old is not None:
            yield (
                f"{'/'.join(sorted(route.methods or ()))} {route.path} in version {later.number} "
                f"still returns {old.__name__}: replace or remove it, as the version represents "
                "that resource differently."
            )
