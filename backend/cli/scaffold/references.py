"""The rows of other modules that fields of a new module can refer to."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from inspect import signature
from typing import Any

import sqlalchemy as sa
from sqlmodel import SQLModel

from backend.cli.terminal import CommandError
from backend.core.module import Module
from backend.core.registry import prefix_of, routes_of
from backend.db.base import Base

# The accounts. Everybody may see a part of each, which is how a service finds whether it exists.
USERS = "users"


@dataclass(frozen=True)
class Target:
    """The rows that a reference leads to.

    getter   the service function that returns a row which the caller sees; empty for users
    missing  the error that it raises otherwise
    address  where tests create a row, with `body`, an expression; they do not create users
    needs    the targets of references in this body
    """

    module: str
    table: str
    noun: str
    getter: str = ""
    missing: str = ""
    address: str = ""
    body: str = ""
    is_private: bool = False
    needs: tuple["Target", ...] = ()

    @property
    def words(self) -> str:
        return self.noun.replace("_", " ")

    @property
    def value(self) -> str:
        """The expression for the id of a row of `actor` in tests."""
        return f"await {self.noun}_of(actor)" if self.getter else "str(actor.id)"


def target_of(name: str, modules: Sequence[Module]) -> Target:
    """Return the rows of this module; raise `CommandError` if there are none to refer to."""
    known = {module.name: module for module in modules}
    found = _target(name, known) if name in known else None
    if found is None:
        usable = ", ".join(each for each in sorted(known) if _target(each, known))
        raise CommandError(
            f"ref({name}) is not possible: rows can refer to {usable}. Others need a table with a "
            "uuid `id`, a service function get_<noun>(reader, by, id), and a route that creates a "
            "row."
        )
    return found


def flat(targets: Sequence[Target]) -> Iterator[Target]:
    """Yield the targets and what they need, each once, and after what it needs."""
    seen: dict[str, Target] = {}

    def visit(target: Target) -> None:
        for each in target.needs:
            visit(each)
        seen.setdefault(target.noun, target)

    for target in targets:
        visit(target)
    return iter(seen.values())


def _target(name: str, known: Mapping[str, Module]) -> Target | None:
    if name == USERS:
        return Target(USERS, "users", "user")
    for model in _models(name):
        noun = re.sub(r"(?<!^)(?=[A-Z])", "_", model.__name__).lower()
        service, schemas = _part(name, "service"), _part(name, "schemas")
        getter = getattr(service, f"get_{noun}", None)
        create = getattr(schemas, f"{model.__name__}Create", None)
        missing = f"{model.__name__}NotFoundError"
        address = _address(known[name])
        if (
            getter is not None
            and list(signature(getter).parameters)[:2] == ["reader", "by"]
            and create is not None
            and address
            and hasattr(_part(name, "exceptions"), missing)
        ):
            body, needs = _body(create, _table(model), known)
            actions = {action for feature in known[name].features for action in feature.actions}
            return Target(
                name,
                str(model.__tablename__),
                noun,
                f"get_{noun}",
                missing,
                address,
                body,
                "admin" in actions,
                needs,
            )
    return None


def _models(name: str) -> Iterator[type[SQLModel]]:
    """Yield the module's tables with a UUID `id`."""
    for mapper in Base._sa_registry.mappers:  # noqa: SLF001  # SQLModel has no public name for it
        model = mapper.class_
        if model.__module__ == f"backend.modules.{name}.models":
            key = list(_table(model).primary_key)
            if [column.name for column in key] == ["id"] and isinstance(key[0].type, sa.Uuid):
                yield model


def _table(model: type[SQLModel]) -> sa.Table:
    table = sa.inspect(model).local_table
    assert isinstance(table, sa.Table)
    return table


def _part(module: str, file: str) -> Any:
    try:
        return import_module(f"backend.modules.{module}.{file}")
    except ModuleNotFoundError:
        return None


def _address(module: Module) -> str:
    """Return the address at which one row is created."""
    for route in routes_of(module):
        path = route.path or ""
        is_creating = getattr(route.original_route, "location", None) and "{" not in path
        if "POST" in (route.methods or ()) and is_creating:
            return f"{prefix_of(module)}{path}"
    return ""


def _body(
    create: Any, table: sa.Table, known: Mapping[str, Module]
) -> tuple[str, tuple[Target, ...]]:
    """Return the expression for a body with what is required, and the targets that it needs."""
    described = create.model_json_schema()
    members, needs = [], []
    unique = {
        column.name
        for each in (*table.constraints, *table.indexes)
        if isinstance(each, sa.UniqueConstraint) or (isinstance(each, sa.Index) and each.unique)
        for column in each.columns
    }
    for name in described.get("required", ()):
        column = table.columns.get(name)
        key = next(iter(column.foreign_keys), None) if column is not None else None
        if key is None:
            schema = described["properties"][name]
            value = _distinct(schema) if name in unique else None
            members.append(f'"{name}": {value or repr(_example(schema))}')
            continue
        owner = key.target_fullname.partition(".")[0]
        target = _target(owner, known) if owner in known else None
        if target is not None:
            members.append(f'"{name}": {target.value}')
            needs.append(target)
    return f"{{{', '.join(members)}}}", tuple(needs)


def _distinct(schema: Mapping[str, Any]) -> str | None:
    """Return an expression with another value each time; None if the type has too few."""
    number = "next(NUMBERS)"
    if schema.get("type") == "integer":
        return number
    if schema.get("type") != "string" or "enum" in schema:
        return None
    whole = str(_example(schema)).partition(".")[0]
    if (whole.isdecimal() and len(whole) < 2) or schema.get("maxLength", 9) < 4:
        # Distinct enough for one test.
        return f"str({number} % 10)"
    return {
        "date": f'f"{{{number} + 1000}}-01-31"',
        "date-time": f'f"{{{number} + 1000}}-01-31T12:00:00Z"',
        "email": f'f"{{{number}}}@example.com"',
        "uuid": "str(uuid4())",
    }.get(schema.get("format", ""), f"str({number})")


def _example(schema: Mapping[str, Any]) -> Any:
    if examples := schema.get("examples") or schema.get("enum"):
        return examples[0]
    kinds: dict[str, Any] = {"integer": 1, "boolean": False, "string": "x"}
    formats = {
        "date-time": "2026-01-31T12:00:00Z",
        "date": "2026-01-31",
        "email": "ada@example.com",
        "uri": "https://example.com/",
        "uuid": "01920000-0000-7000-8000-000000000001",
    }
    return formats.get(schema.get("format", ""), kinds.get(schema.get("type", "")))
