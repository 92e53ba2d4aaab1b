"""Routes and fields of the API whose announced removal is due."""

from collections.abc import Iterator, Sequence
from datetime import date

from backend.cli.findings import Finding, advice
from backend.core.http.routing import Route
from backend.core.http.versions import versions_of
from backend.core.module import Module
from backend.core.registry import prefix_of, routes_of


def due(modules: Sequence[Module], today: date) -> Iterator[Finding]:
    """Yield advice for each route with a sunset that has passed. It still works."""
    for version in versions_of(modules):
        for module in modules:
            for context in routes_of(module, version):
                route = context.original_route
                found = route.deprecations if isinstance(route, Route) else []
                sunsets = [each.sunset for each in found if each.sunset and each.sunset <= today]
                if sunsets:
                    methods = "/".join(sorted(context.methods or ()))
                    yield advice(
                        f"{methods} {prefix_of(module, version)}{context.path_format}: it, or a "
                        f"member of its bodies, was to be removed from {min(sunsets)} on, "
                        f"and is still served. Module '{module.name}' can remove it, or announce a "
                        "later day."
                    )
