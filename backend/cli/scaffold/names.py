"""The name of a new module, what is derived from it, and what it collides with."""

import builtins
import keyword
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from backend.cli.scaffold.fields import Field
from backend.cli.scaffold.words import is_uncountable, plural_of, singular_of, with_article
from backend.cli.terminal import CommandError
from backend.db.base import Base

# Parameters and modules in a generated service, which a row of this name would hide.
_SERVICE_NAMES = {
    *("audit", "before", "after", "by", "changes", "lock", "new", "page", "queries", "query"),
    *("reader", "router", "schema", "service", "session", "target", "user"),
}
# Constants of a generated module beside that with its name.
_CONSTANTS = {"BODY", "NUMBERS", "OTHER", "REFUSALS"}
TEMPLATES = Path(__file__).parent / "templates"
MAX_NAME = 24
# The names of constraints; PostgreSQL cuts off what is longer.
MAX_IDENTIFIER = 63
# A constraint and its error are one line of a service.
MAX_ENTRY = 90
# Packages below the modules, which name none of them but the example of the documentation.
LOWER = ("telemetry", "db", "addresses", "ratelimit", "integrations", "core", "worker", "server")


@dataclass(frozen=True)
class Names:
    """The forms of a module's name: `purchase_orders` and `purchase_order`."""

    plural: str
    singular: str

    @property
    def model(self) -> str:
        """The class of a row: `PurchaseOrder`."""
        return self.singular.title().replace("_", "")

    @property
    def path(self) -> str:
        return f"/{self.plural.replace('_', '-')}"

    @property
    def words(self) -> str:
        return self.plural.replace("_", " ")

    @property
    def word(self) -> str:
        """One row: `purchase order`, or `record of news`."""
        word = self.singular.replace("_", " ")
        return f"record of {word}" if is_uncountable(self.singular) else word

    @property
    def a_word(self) -> str:
        return with_article(self.word)


def parse_name(name: str, singular: str | None) -> Names:
    """Return the forms of the name; raise `CommandError` if it is not usable."""
    for word in (name, *([singular] if singular else [])):
        if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", word) or len(word) > MAX_NAME:
            raise CommandError(
                f"'{word}' is not a usable name: up to {MAX_NAME} lower-case letters and digits, "
                "with single underscores between words, such as purchase_orders."
            )
    if singular is None and (singular := singular_of(name)) is None:
        raise CommandError(
            f"Modules are named in the plural: backend module new {plural_of(name)}. If '{name}' "
            f"is a plural, give its singular: backend module new {name} --singular NAME"
        )
    names = Names(name, singular)
    taken = imported_names() | _SERVICE_NAMES | _CONSTANTS | {*keyword.kwlist, *dir(builtins)}
    if taken & {singular, names.model, name.upper()}:
        raise CommandError(
            f"A row cannot be called '{singular}', which means something else in Python or in a "
            f"service: choose a longer name, such as customer_{name}."
        )
    return names


@cache
def imported_names() -> set[str]:
    """Return the names that generated files import, which nothing in them can have beside."""
    found: set[str] = set()
    for file in TEMPLATES.glob("*.jinja"):
        code = re.sub(r"\{[{%].*?[%}]\}", "", file.read_text("utf-8"))
        imports = re.findall(r"^from [\w.]+ import (\([^)]+\)|.+)", code, re.MULTILINE)
        found.update(*(re.findall(r"\w+", each) for each in imports))
    return found


def check_collisions(names: Names, fields: Sequence[Field], root: Path) -> None:
    """Raise `CommandError` if a folder, a table or a word of the framework has this name.

    The registry finds collisions of routes, permissions and parts of the export.
    """
    for problem in _collisions(names, root):
        raise CommandError(f"{problem}: choose another name.")
    for field in fields:
        constraint = f"uq_{names.plural}_owner_id_{field.name}"
        if field.kind == "ref":
            constraint = f"fk_{names.plural}_{field.name}_{field.arguments[0]}"
        error = f"{names.model}{field.noun.replace('_', '')}UnknownError"
        too_long = len(constraint) > MAX_IDENTIFIER or len(constraint + error) > MAX_ENTRY
        if too_long and (field.unique or field.kind == "ref"):
            raise CommandError(
                f"The constraint of '{field.name}' would be called {constraint}, which is too "
                "long: choose a shorter name for the field or the module."
            )


def _collisions(names: Names, root: Path) -> Iterator[str]:
    for folder in ("backend/modules", "tests/modules"):
        if (root / folder / names.plural).exists():
            yield f"{folder}/{names.plural} exists already"
    if names.plural in Base.metadata.tables:
        yield f"A table '{names.plural}' exists already"
    yield from _mentions(names.plural, root)


def _mentions(name: str, root: Path) -> Iterator[str]:
    """Yield the places of the framework that use the word, for the test that it names no module."""
    if name == "notes":
        return
    pattern = re.compile(rf"""/{name}\b|["']{name}["'.:]|\b{name}:[a-z]""")
    for package in LOWER:
        for file in sorted((root / "backend" / package).rglob("*.py")):
            for number, line in enumerate(file.read_text("utf-8").splitlines(), start=1):
                if pattern.search(line):
                    place = file.relative_to(root).as_posix()
                    yield f"{place}:{number} has the word '{name}' in another meaning"
