"""The files of a new module, from templates."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from backend.cli.scaffold.fields import Field
from backend.cli.scaffold.kinds import Code, code_of
from backend.cli.scaffold.names import Names
from backend.cli.scaffold.references import USERS, Target, flat

TEMPLATES = Path(__file__).parent / "templates"
FILES = (
    *("__init__", "manifest", "router", "service", "queries", "models", "schemas"),
    "exceptions",
)


@dataclass(frozen=True)
class Reference:
    """A field that refers to a row, and the error for a row that is not there."""

    field: Field
    target: Target
    error: str


def render(names: Names, fields: Sequence[Field], targets: Sequence[Target]) -> dict[str, str]:
    """Return the files by path, not yet formatted. `targets` are those of the references."""
    values = _values(names, fields, targets)

    def filled(template: str) -> str:
        return _templates().get_template(f"{template}.py.jinja").render(values)

    module, tests = f"backend/modules/{names.plural}", f"tests/modules/{names.plural}"
    files = {f"{module}/{name}.py": filled(name) for name in FILES}
    files[f"{tests}/__init__.py"] = ""
    files[f"{tests}/test_{names.plural}.py"] = filled("test")
    return files


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701  # Python, not HTML
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"quoted": '"{}"'.format, "sql": "'{}'".format, "tuple": tuple}
    return environment


def _values(names: Names, fields: Sequence[Field], targets: Sequence[Target]) -> dict[str, Any]:
    """Return what the templates use."""
    by_field = dict(zip([f for f in fields if f.kind == "ref"], targets, strict=True))
    codes = [
        code_of(field, names.model, by_field[field].table if field in by_field else "")
        for field in fields
    ]
    references = [
        Reference(field, target, f"{names.model}{_title(field)}UnknownError")
        for field, target in by_field.items()
    ]
    unique = [code for code in codes if code.field.unique]
    return {
        "names": names,
        "model": names.model,
        "code": names.singular.upper(),
        "constant": names.plural.upper(),
        "fields": codes,
        "sorts": ["created_at", "updated_at", *(code.name for code in codes if code.is_sorted)],
        "filters": [code for code in codes if code.is_filtered],
        "searched": [code for code in codes if code.is_searched],
        "large": [code for code in codes if code.field.kind == "text"],
        "unique": unique,
        "has_other": any(code.values for code in codes),
        "references": references,
        "errors": [
            *(f"{names.model}{code.title}TakenError" for code in unique),
            *(reference.error for reference in references),
        ],
        "depends_on": sorted({"audit", USERS, *(target.module for target in targets)}),
        "body": _body(codes, by_field),
        "made_targets": [target for target in flat(targets) if target.getter],
    }


def _body(codes: Sequence[Code], targets: dict[Field, Target]) -> str:
    """Return the expression for a request with all members."""
    values = (
        targets[code.field].value if code.field in targets else code.values[0] for code in codes
    )
    members = (f'"{code.name}": {value}' for code, value in zip(codes, values, strict=True))
    return f"{{{', '.join(members)}}}"


def _title(field: Field) -> str:
    return field.noun.title().replace("_", "")
