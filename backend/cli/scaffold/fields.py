"""The fields of a new module: `number:str:unique, status:enum(draft,sent), due_on:date?`."""

import keyword
import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from sqlalchemy.dialects.postgresql.base import RESERVED_WORDS
from sqlmodel import SQLModel

from backend.cli.terminal import CommandError
from backend.core.schemas import Schema

MAX_NAME = 30
# An entry of a B-tree index has at most 2704 bytes, and a character up to four.
MAX_STR, MAX_TEXT = 500, 500_000
MAX_DIGITS = 30
MAX_OPTIONS, MAX_OPTION = 50, 50
TYPES = {
    "str": "a line of at most 255 characters, or :max=N",
    "text": "a text of at most 10000 characters, or :max=N",
    "int": "an integer of 32 bits",
    "decimal": "an exact number, decimal(12,2) unless given",
    "bool": "true or false",
    "date": "a day",
    "datetime": "a moment, in UTC",
    "uuid": "an id of something outside",
    "email": "an e-mail address",
    "url": "an http or https address",
    "enum": "one of enum(draft,sent,paid)",
    "ref": "a row of another module, ref(users)",
}
_NOT_UNIQUE = {"text": "long texts", "url": "URLs", "bool": "booleans", "enum": "enumerations"}
_FIELD = re.compile(
    r"(?P<name>\w+)\s*:\s*(?P<kind>\w+)\s*(?:\((?P<arguments>[^()]*)\))?\s*(?P<optional>\?)?"
    r"(?P<flags>(?:\s*:\s*[\w=]+)*)\s*(?P<late>\?)?"
)
_COLUMNS = {"id", "owner", "owner_id", "created_at", "updated_at"}
_PARAMETERS = {
    *("cursor", "offset", "limit", "sort", "total", "q", "fields", "include"),
    *("created_after", "created_before"),
}
# Inside of a class, a field of such a name would hide the type.
_TYPE_NAMES = {"str", "int", "bool", "date", "datetime", "bytes", "float", "list", "dict", "object"}
EXAMPLE = '--fields "number:str:unique, amount:decimal, status:enum(draft,sent), due_on:date?"'


@dataclass(frozen=True)
class Field:
    """A field as it was asked for. `name` is that of the column and of the member.

    arguments   the options of an enum, or the module of a ref
    """

    name: str
    kind: str
    optional: bool = False
    unique: bool = False
    max_length: int = 0
    arguments: tuple[str, ...] = ()
    digits: int = 12
    places: int = 2

    @property
    def words(self) -> str:
        """The name in a text, such as `due on`; of a reference without `id`."""
        return self.noun.replace("_", " ")

    @property
    def noun(self) -> str:
        return self.name.removesuffix("_id") if self.kind == "ref" else self.name


def parse_fields(text: str) -> list[Field]:
    """Return the fields; raise `CommandError` for the first that is not usable."""
    parts = [part.strip() for part in re.split(r",(?![^()]*\))", text) if part.strip()]
    if not parts:
        raise CommandError(f"A module needs at least one field: {EXAMPLE}")
    fields = [_parsed(part) for part in parts]
    names = [field.name for field in fields]
    for name in names:
        if names.count(name) > 1:
            raise CommandError(f"There are two fields '{name}': leave one out, or rename it.")
    return fields


def _parsed(part: str) -> Field:
    match = _FIELD.fullmatch(part)
    if match is None:
        raise CommandError(
            f"'{part}' is not a field: write name:type, such as due_on:date? or number:str:unique."
        )
    kind = match["kind"]
    if kind not in TYPES:
        near = get_close_matches(kind, TYPES, n=1)
        meant = f"did you mean {near[0]}?" if near else f"use one of {', '.join(TYPES)}."
        raise CommandError(f"'{part}' has the type '{kind}', which does not exist: {meant}")
    name = match["name"]
    if kind == "ref":
        name = f"{name.removesuffix('_id')}_id"
    _check_name(name)
    flags = [flag.strip() for flag in match["flags"].split(":") if flag.strip()]
    arguments = tuple(
        each.strip() for each in (match["arguments"] or "").split(",") if each.strip()
    )
    optional = bool(match["optional"] or match["late"])
    field = Field(name, kind, optional, "unique" in flags, _max_of(name, kind, flags))
    return _with_arguments(field, arguments)


def _check_name(name: str) -> None:
    for problem in _name_problems(name):
        raise CommandError(f"A field cannot be called '{name}': {problem}.")


def _name_problems(name: str) -> Iterator[str]:
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        yield "use lower-case letters and digits, with single underscores between words"
    if len(name) > MAX_NAME:
        yield f"it is longer than {MAX_NAME} characters"
    if name in _TYPE_NAMES:
        yield "that is the name of a type; say what it is, such as due_on or item_count"
    if keyword.iskeyword(name):
        yield "that is a keyword of Python; use another word"
    if name in _COLUMNS:
        yield "every row has this member, or one so called, already; leave it out"
    if name in _PARAMETERS:
        yield "that is a parameter of all lists; use another word"
    if name in RESERVED_WORDS:
        yield "that is a reserved word of SQL; use another word"
    if name.startswith("model_") or name in {*dir(SQLModel), *dir(Schema), "registry"}:
        yield "that is an attribute of all models; use another word"


def _max_of(name: str, kind: str, flags: list[str]) -> int:
    """Return the maximal number of characters: the default of the type, or that of `max=N`."""
    found = {"str": 255, "text": 10_000}.get(kind, 0)
    largest = {"str": MAX_STR, "text": MAX_TEXT}.get(kind, 0)
    for flag in flags:
        key, _, value = flag.partition("=")
        problem = None
        if flag == "unique":
            if kind in _NOT_UNIQUE:
                problem = f"{_NOT_UNIQUE[kind]} cannot be unique; leave out :unique"
        elif key != "max":
            problem = f"':{flag}' is unknown; there are :unique and :max=N"
        elif not largest:
            problem = f"only str and text have a maximum; leave out :{flag}"
        elif not value.isdecimal() or not 1 <= int(value) <= largest:
            problem = f"the maximum of {kind} is a number from 1 to {largest}"
        else:
            found = int(value)
        if problem:
            raise CommandError(f"Field '{name}': {problem}.")
    return found


def _with_arguments(field: Field, arguments: tuple[str, ...]) -> Field:
    name, values = field.name, {**vars(field), "arguments": arguments}
    if field.kind == "enum":
        usable = [each for each in arguments if re.fullmatch(r"[A-Za-z0-9_-]+", each)]
        if not 2 <= len(set(usable)) == len(arguments) <= MAX_OPTIONS or (
            max(map(len, usable)) > MAX_OPTION
        ):
            raise CommandError(
                f"Field '{name}': write two or more values in parentheses, each once, such as "
                "enum(draft,sent,paid); letters, digits, '_' and '-' are possible."
            )
    elif field.kind == "ref":
        if len(arguments) != 1:
            raise CommandError(f"Field '{name}': name one module, such as ref(users).")
        if field.unique and arguments == ("users",):
            raise CommandError(
                f"Field '{name}': a reference to users cannot be unique; leave out :unique."
            )
    elif field.kind == "decimal" and arguments:
        numbers = [int(each) for each in arguments if each.isdecimal()]
        if len(numbers) != 2 or not 0 <= numbers[1] < numbers[0] <= MAX_DIGITS:
            raise CommandError(
                f"Field '{name}': write decimal(12,2): up to {MAX_DIGITS} digits, and fewer of "
                "them behind the point."
            )
        values |= {"digits": numbers[0], "places": numbers[1], "arguments": ()}
    elif arguments:
        raise CommandError(f"Field '{name}': {field.kind} takes nothing in parentheses.")
    return Field(**values)
