"""The code of a field by its type: of its column, of its members, and of its values in tests."""

import builtins
from dataclasses import dataclass

from backend.cli.scaffold.fields import Field
from backend.cli.scaffold.names import imported_names

_SORTED = {"str", "int", "decimal", "date", "datetime", "email"}
_FILTERED = {"enum", "bool", "ref"}
_SEARCHED = {"str", "text", "email", "url"}
_UUIDS = "01920000-0000-7000-8000-000000000001", "01920000-0000-7000-8000-000000000002"
# Members of requests and responses, for the types that need no alias.
_TYPES = {
    "int": ("Int32", "int"),
    "bool": ("bool", "bool"),
    "date": ("Day", "Day"),
    "datetime": ("Moment", "Timestamp"),
    "uuid": ("Id", "UUID"),
    "email": ("Email", "Email"),
    "url": ("WebUrl", "WebUrl"),
    "ref": ("Id", "UUID"),
}
# Two values for tests, then values that are refused.
_SAMPLES = {
    "text": (("Some words.", "Other words."), ("", 5)),
    "int": ((1, 2), ("1", 1.5, 2**31)),
    "bool": ((False, True), ("true", 1)),
    "date": (("2026-01-31", "2026-02-28"), ("2026-02-30", 86400)),
    "datetime": (
        ("2026-01-31T12:00:00.000000Z", "2026-02-28T12:00:00.000000Z"),
        ("2026-01-31T12:00:00", 86400),
    ),
    "uuid": (_UUIDS, ("1",)),
    "email": (("ada@example.com", "grace@example.com"), ("nobody",)),
    "url": (("https://example.com/a", "https://example.com/b"), ("javascript:alert(1)",)),
    "ref": ((), ("1",)),
}


@dataclass(frozen=True)
class Code:
    """A field and its code, for the templates.

    alias    the name of its type in schemas.py, and `definition` that type; None if it needs none
    sent     its type in requests, `shown` in responses, both without `| None`
    column   its line in the model
    values   two values as Python literals; those of a reference are made by the tests
    refused  literals that are refused
    """

    field: Field
    alias: str | None
    definition: str
    sent: str
    shown: str
    column: str
    values: tuple[str, ...]
    refused: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.field.name

    @property
    def title(self) -> str:
        return self.field.noun.title().replace("_", "")

    @property
    def optional(self) -> bool:
        return self.field.optional

    @property
    def is_sorted(self) -> bool:
        return self.field.kind in _SORTED

    @property
    def is_filtered(self) -> bool:
        return self.field.kind in _FILTERED

    @property
    def is_searched(self) -> bool:
        return self.field.kind in _SEARCHED

    @property
    def filter_type(self) -> str:
        return {"bool": "Boolean", "ref": "UUID"}.get(self.field.kind, self.sent)

    @property
    def filter_text(self) -> str:
        """The description of the filter."""
        if self.field.kind == "bool":
            return f"Whether `{self.name}` is true."
        return f"{'Of' if self.field.kind == 'ref' else 'With'} this {self.field.words}."

    @property
    def maximum(self) -> str:
        """The name of the constant with the maximal length of a text."""
        return f"MAX_{self.name.upper()}"


def code_of(field: Field, model: str, table: str) -> Code:
    """Return the code of a field in the module of this model; a reference is to `table`."""
    alias = field.name.title().replace("_", "")
    classes = {f"{model}{part}" for part in ("", "Out", "Create", "Update", "Query")}
    if alias in imported_names() | classes or hasattr(builtins, alias):
        alias = f"{model}{alias}"
    definition = _definition(field)
    sent, shown = (alias, alias) if definition else _TYPES[field.kind]
    if field.kind in ("str", "text"):
        shown = "str"
    values, refused = _samples(field)
    return Code(
        field,
        alias if definition else None,
        definition,
        sent,
        shown,
        _column(field, table),
        tuple(map(_literal, values)),
        tuple(map(_literal, refused if field.optional else (*refused, None))),
    )


def _definition(field: Field) -> str:
    match field.kind:
        case "str":
            return f"Annotated[str, Trimmed({field.max_length})]"
        case "text":
            return f"Annotated[str, Trimmed(MAX_{field.name.upper()})]"
        case "decimal":
            return f"Annotated[Decimal, Exact(digits={field.digits}, places={field.places})]"
        case "enum":
            return f"Literal[{', '.join(map(_literal, field.arguments))}]"
    return ""


def _column(field: Field, table: str) -> str:
    """Return the line of the column: its type, and the options that are not the defaults."""
    kind, options = {
        "str": ("str", [f"max_length={field.max_length}"]),
        "text": ("str", ["sa_type=Text"]),
        "int": ("int", []),
        "decimal": (
            "Decimal",
            [f"max_digits={field.digits}", f"decimal_places={field.places}"],
        ),
        "bool": ("bool", []),
        "date": ("date", []),
        "datetime": ("datetime", []),
        "uuid": ("UUID", []),
        "email": ("str", ["max_length=254"]),
        "url": ("str", ["max_length=MAX_URL"]),
        "enum": ("str", [f"max_length={max(map(len, field.arguments), default=0)}"]),
        "ref": (
            "UUID",
            [
                f'foreign_key="{table}.id"',
                f'ondelete="{"SET NULL" if field.optional else "CASCADE"}"',
            ],
        ),
    }[field.kind]
    if field.optional:
        kind += " | None"
        if not options:
            return f"{field.name}: {kind} = None"
        options = ["default=None", *options]
    return f"{field.name}: {kind}" + (f" = Field({', '.join(options)})" if options else "")


def _samples(field: Field) -> tuple[tuple[object, ...], tuple[object, ...]]:
    match field.kind:
        case "str":
            values = "Alpha"[: field.max_length], "Beta"[: field.max_length]
            return values, ("", "x" * (field.max_length + 1), 5)
        case "text":
            samples, refused = _SAMPLES["text"]
            return tuple(str(each)[: field.max_length] for each in samples), refused
        case "decimal":
            fraction = f".{'5'.ljust(field.places, '0')}" if field.places else ""
            return (f"1{fraction}", f"2{fraction}"), (1.5, "x", "9" * (field.digits + 1))
        case "enum":
            first, last = field.arguments[0], field.arguments[-1]
            return (first, last), ("no such value", 5)
    return _SAMPLES[field.kind]


def _literal(value: object) -> str:
    if isinstance(value, str) and len(set(value)) == 1 < len(value):
        return f'"{value[0]}" * {len(value)}'
    return f'"{value}"' if isinstance(value, str) else repr(value)
