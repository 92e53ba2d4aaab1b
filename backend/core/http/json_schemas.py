"""JSON Schemas of the OpenAPI document, in standard keywords instead of pydantic's."""

from collections.abc import Iterable, Iterator
from typing import Any

# The pydantic template of references to the document's schemas.
REFERENCE = "#/components/schemas/{model}"
_STANDARD = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
    "min_length": "minLength",
    "max_length": "maxLength",
}
_NAMED = ("$defs", "dependentSchemas", "patternProperties", "properties")


def standardise_schemas(document: dict[str, Any]) -> None:
    """Replace pydantic's names of limits by the standard keywords in the whole document."""
    for schema in _schemas(document):
        _standardise(schema)


def list_of_names(names: Iterable[str]) -> dict[str, Any]:
    """Return the schema of a list of some of these names, each once."""
    return {
        "type": "array",
        "items": {"type": "string", "enum": list(names)},
        "minItems": 1,
        "uniqueItems": True,
    }


def _schemas(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield all JSON Schemas of the document that are not part of another one."""
    yield from document["components"]["schemas"].values()
    pending: list[Any] = [document["paths"]]
    while pending:
        current = pending.pop()
        if isinstance(current, list):
            pending.extend(current)
        elif isinstance(current, dict):
            for name, value in current.items():
                if name == "schema":
                    yield value
                elif name not in ("example", "examples"):
                    pending.append(value)


def _standardise(schema: Any) -> None:
    """Replace pydantic's names of limits, which it keeps for limits behind a validator."""
    if not isinstance(schema, dict):
        return
    # In the order of _STANDARD, so that the document is the same in every process.
    for name in [name for name in _STANDARD if name in schema]:
        standard = _STANDARD[name]
        if schema.get("type") == "array":
            standard = standard.replace("Length", "Items")
        schema.setdefault(standard, schema.pop(name))
    for name, value in schema.items():
        if name in ("const", "default", "enum", "example", "examples"):
            continue
        parts = value if isinstance(value, list) else [value]
        if name in _NAMED:
            parts = list(value.values())
        for part in parts:
            _standardise(part)
