"""Lists of modules and routes, and the OpenAPI document; no database, secret or setting needed."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from backend.cli.terminal import CommandError, say, shown, table
from backend.core.app import create_app
from backend.core.authorization import policies
from backend.core.context import Context
from backend.core.http.versions import versions_of
from backend.core.module import Module
from backend.core.registry import discover, routes_of
from backend.core.settings import Settings
from backend.core.stored_events import DurableSubscriber, event_name
from backend.db.base import Base
from backend.db.connections import Timeouts
from backend.db.database import Database
from backend.db.temporary import PostgresTemporary


def modules() -> None:
    found = discover()
    rows = [("MODULE", "DEPENDS ON", "ROUTES", "TABLES", "PERMISSIONS")]
    rows += [
        (
            module.name,
            ", ".join(module.depends_on) or "-",
            str(len(routes_of(module))),
            ", ".join(tables_of(module)) or "-",
            ", ".join(_permissions(module)) or "-",
        )
        for module in found
    ]
    say(table(rows))
    say("")
    say(table([("EVENT", "SUBSCRIBER", "DELIVERY"), *sorted(_subscriptions(found))]))


def _subscriptions(found: Iterable[Module]) -> Iterator[tuple[str, str, str]]:
    for module in found:
        for each in module.subscribers:
            event = event_name(each.event)
            if isinstance(each, DurableSubscriber):
                order = f", in order of {each.ordered_by}" if each.ordered_by else ""
                yield event, each.name, f"after the commit{order}"
            else:
                yield event, f"{module.name}.{each.handler.__name__}", "in the transaction"


def tables_of(module: Module) -> list[str]:
    package = f"backend.modules.{module.name}."
    return sorted(
        str(model.__tablename__)
        for model in _models(Base)
        if model.__module__.startswith(package) and hasattr(model, "__table__")
    )


def _models(base: type[Base]) -> Iterator[type[Base]]:
    for model in base.__subclasses__():
        yield model
        yield from _models(model)


def _permissions(module: Module) -> list[str]:
    """Return the permissions of each feature, such as `items:read|write`."""
    return [f"{feature.name}:{'|'.join(feature.actions)}" for feature in module.features]


def routes() -> None:
    rows: list[tuple[str, str, str, str]] = []
    for context in iter_route_contexts(blueprint().routes):
        route = context.original_route
        if isinstance(route, APIRoute):
            policy = str(next(iter(policies(route.dependant)), "-"))
            owner = route.endpoint.__module__.removeprefix("backend.").split(".")
            module = owner[1] if owner[0] == "modules" else owner[0]
            path = context.path_format or ""
            rows += [(each, path, policy, module) for each in context.methods or ()]
    rows.sort(key=lambda row: (row[1], row[0]))
    say(table([("METHOD", "PATH", "POLICY", "MODULE"), *rows]))


def openapi_texts(modules: Sequence[Module] | None = None) -> dict[int, str]:
    """Return the OpenAPI document of each version of the API, with these modules or with all.

    It is the same in every process.
    """
    found = discover() if modules is None else modules
    # FastAPI's hook, which `create_app` replaces.
    app: Any = blueprint(found)
    return {
        version: json.dumps(app.openapi(version), indent=2, ensure_ascii=False) + "\n"
        for version in versions_of(found)
    }


def openapi_file(first: Path, version: int) -> Path:
    """Return the file of this version's document beside that of version 1: `openapi.v2.json`."""
    return first if version == 1 else first.with_suffix(f".v{version}{first.suffix}")


def openapi(output: Path | None, version: int | None) -> None:
    """Print the document of a version, or write it; without a version, write those of all."""
    texts = openapi_texts()
    if version is not None and version not in texts:
        raise CommandError(f"There is no version {version} of the API: the newest is {max(texts)}.")
    if output is None:
        say(texts[version or 1].rstrip("\n"))
    elif version is not None:
        _write({output: texts[version]})
    else:
        _write({openapi_file(output, number): text for number, text in texts.items()})


def _write(texts: Mapping[Path, str]) -> None:
    for file, text in texts.items():
        try:
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            raise CommandError(
                f"{file} cannot be written ({error.strerror}): give another file with --output."
            ) from error
    say(f"Wrote {', '.join(map(shown, texts))}.")


def blueprint(modules: Sequence[Module] | None = None) -> FastAPI:
    """Return an application for inspection only, with default settings and without a database."""
    # Connections would open on first use only.
    database = Database("postgresql://", size=1, timeouts=Timeouts(pool=1, statement=1))
    context = Context(
        settings=Settings.model_construct(),
        module_settings={},
        database=database,
        temporary=PostgresTemporary(database.primary),
        secret_keys=(b"",),
    )
    return create_app(context, discover() if modules is None else modules)
