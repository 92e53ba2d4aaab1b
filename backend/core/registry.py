"""Discovery of the modules: load, check and sort them.

A module that does not load stops the start; it is never skipped.
"""

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from itertools import chain
from types import ModuleType

from fastapi.routing import RouteContext, iter_route_contexts

from backend.core.events import publisher_of
from backend.core.features import Feature
from backend.core.http.declaration_checks import declaration_problems
from backend.core.http.inclusions import inclusion_problems
from backend.core.http.route_checks import route_problems
from backend.core.http.versions import router_of, version_problems, versions_of
from backend.core.manifest_checks import manifest_problems
from backend.core.module import Module
from backend.core.personal_data import personal_data_problems
from backend.core.settings import SettingsBase
from backend.core.stored_events import DurableSubscriber
from backend.core.telemetry_settings import TelemetrySettings

API_PREFIX = "/api/v1"
_PREFIX = "/api/v{}"
# Fields of the manifest that at most one module may set, and their purpose for the error message.
SINGLE = {
    "authenticate": "authenticate",
    "on_refusal": "observe refusals",
    "response_store": "store responses",
    "security": "describe credentials",
    "built_in_roles": "declare built-in roles",
    "users_table": "own the table of users",
}


class RegistryError(Exception):
    """An error that prevents the start: sentences that name the module and the remedy."""


def discover(package: str = "backend.modules") -> tuple[Module, ...]:
    """Load the module of each folder in `package`; return them with dependencies first."""
    modules = ordered([_load(package, name) for name in _folders(package)])
    problems = list(manifest_problems(modules))
    for version in versions_of(modules):
        routes = ((each.name, route) for each in modules for route in routes_of(each, version))
        problems += [each for each in declaration_problems(routes) if each not in problems]
    if problems:
        raise RegistryError("\n".join(problems))
    return modules


def setting_kinds(modules: Iterable[Module]) -> list[type[SettingsBase]]:
    """Return the classes of settings beside `Settings`."""
    return [TelemetrySettings, *(module.settings for module in modules if module.settings)]


def _folders(package: str) -> Iterator[str]:
    for entry in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if not entry.ispkg:
            raise RegistryError(
                f"{package}.{entry.name} is a file: a module is a folder with a manifest.py."
            )
        yield entry.name


def _load(package: str, name: str) -> Module:
    path = f"{package}.{name}.manifest"
    try:
        manifest = importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name != path:
            raise RegistryError(f"Module '{name}' does not load: {error}.") from error
        raise RegistryError(
            f"Module '{name}' has no manifest.py: add one that sets `module = Module(...)`."
        ) from None
    except Exception as error:
        raise RegistryError(
            f"Module '{name}' does not load: {type(error).__name__}: {error}"
        ) from error
    return _checked_manifest(manifest, name)


def _checked_manifest(manifest: ModuleType, name: str) -> Module:
    module = getattr(manifest, "module", None)
    if not isinstance(module, Module):
        raise RegistryError(f"Module '{name}': manifest.py must set `module = Module(...)`.")
    if module.name not in ("", name):
        raise RegistryError(
            f"Module '{name}' has the name '{module.name}': leave `name` out of its manifest."
        )
    return replace(module, name=name)


def ordered(modules: Iterable[Module]) -> tuple[Module, ...]:
    """Return the modules, dependencies first; raise `RegistryError` on conflicts."""
    by_name = {module.name: module for module in sorted(modules, key=lambda module: module.name)}
    for module in by_name.values():
        for dependency in module.depends_on:
            if dependency not in by_name:
                raise RegistryError(
                    f"Module '{module.name}' depends on '{dependency}', which does not exist."
                )
    try:
        order = TopologicalSorter(
            {name: sorted(module.depends_on) for name, module in by_name.items()}
        ).static_order()
        result = tuple(by_name[name] for name in order)
    except CycleError as error:
        raise RegistryError(
            f"Modules depend on each other in a circle: {' -> '.join(error.args[1])}."
        ) from None
    for field, action in SINGLE.items():
        _check_single(field, action, result)
    _check_subscribers(result)
    _check_jobs(result)
    _check_features(result)
    for problem in version_problems(result):
        raise RegistryError(problem)
    _check_routes(result)
    routes = (route for _, _, route in _all_routes(result))
    for problem in chain(inclusion_problems(result, routes), personal_data_problems(result)):
        raise RegistryError(problem)
    return result


def prefix_of(module: Module, version: int = 1) -> str:
    return _PREFIX.format(version) if module.versioned else ""


def probe_paths(modules: Iterable[Module]) -> tuple[str, ...]:
    """Return the first path segments of the routes that monitor the server: `/segment/`."""
    paths = {
        f"{prefix_of(module)}{route.path}"
        for module in modules
        if module.probes
        for route in routes_of(module)
    }
    return tuple(sorted({f"/{path.split('/')[1]}/" for path in paths}))


def literal_paths(modules: Iterable[Module]) -> frozenset[str]:
    """Return the paths of routes without parameters, such as `/notes/export`."""
    paths = (f"{prefix}{route.path}" for _, prefix, route in _all_routes(list(modules)))
    return frozenset(path for path in paths if "{" not in path)


def routes_of(module: Module, version: int = 1) -> list[RouteContext]:
    """Return the module's routes, including those of nested routers, without the API's prefix."""
    router = router_of(module, version)
    return list(iter_route_contexts(router.routes)) if router else []


def _all_routes(modules: Sequence[Module]) -> Iterator[tuple[str, str, RouteContext]]:
    """Yield the name of the module, the prefix, and the route, for all versions of the API."""
    for version in versions_of(modules):
        for module in modules:
            for route in routes_of(module, version):
                yield module.name, prefix_of(module, version), route


def _check_single(field: str, action: str, modules: tuple[Module, ...]) -> None:
    names = [module.name for module in modules if getattr(module, field)]
    if len(names) > 1:
        raise RegistryError(f"Only one module can {action}: {' and '.join(names)} both do.")


def _check_subscribers(modules: tuple[Module, ...]) -> None:
    for module in modules:
        for subscriber in module.subscribers:
            event = subscriber.event
            name, publisher = event.__name__, publisher_of(event)
            if publisher is None:
                raise RegistryError(
                    f"Module '{module.name}' subscribes to {name} of {event.__module__}: "
                    "define events in the events.py of the module that publishes them."
                )
            if publisher not in module.depends_on:
                raise RegistryError(
                    f"Module '{module.name}' subscribes to {name} of '{publisher}': add "
                    f"'{publisher}' to its depends_on."
                )
            problem = subscriber.problem() if isinstance(subscriber, DurableSubscriber) else None
            if problem is not None:
                raise RegistryError(
                    f"Module '{module.name}' subscribes to {name} of '{publisher}' by a durable "
                    f"subscriber: {name} {problem}"
                )


def _check_jobs(modules: tuple[Module, ...]) -> None:
    owners: dict[str, str] = {}
    for module in modules:
        for job in module.all_jobs:
            if not job.name.startswith(f"{module.name}."):
                raise RegistryError(
                    f"Module '{module.name}' calls a job or subscriber '{job.name}': begin its "
                    f"name with '{module.name}.', so that no two modules share one."
                )
            if job.name in owners:
                raise RegistryError(
                    f"Module '{module.name}' declares the job or subscriber '{job.name}' twice."
                )
            owners[job.name] = module.name


def _check_features(modules: tuple[Module, ...]) -> None:
    owners: dict[str, str] = {}
    roles = [role for module in modules for role in module.built_in_roles]
    for module in modules:
        for feature in module.features:
            for permission in feature.permissions:
                if permission in owners:
                    raise RegistryError(
                        f"Permission '{permission}' is declared by both "
                        f"'{owners[permission]}' and '{module.name}'."
                    )
                owners[permission] = module.name
            _check_grants(module, feature, roles)


def _check_grants(module: Module, feature: Feature, roles: list[str]) -> None:
    for role, actions in feature.granted_to.items():
        if role not in roles:
            raise RegistryError(
                f"Module '{module.name}' grants '{feature.name}' to the role '{role}', which is "
                f"not one of the built-in roles: {', '.join(roles) or 'there are none'}."
            )
        for action in actions:
            if action not in feature.actions:
                raise RegistryError(
                    f"Module '{module.name}' grants '{feature.name}:{action}' to the role "
                    f"'{role}' but does not declare that action."
                )


def _check_routes(modules: tuple[Module, ...]) -> None:
    permissions = {
        permission
        for module in modules
        for feature in module.features
        for permission in feature.permissions
    }
    for problem in route_problems(_all_routes(modules), permissions):
        raise RegistryError(problem)
