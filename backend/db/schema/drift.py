"""How a schema differs from the models: both are read from PostgreSQL's catalogs.

The tables of the models are created in a schema of their own, in a transaction that is rolled
back: nobody else sees them, no lock of another table is taken, and nothing is left behind. This
needs the right to create a schema in that database, but none to create a database.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy import ARRAY, Connection, Enum, MetaData, text
from sqlalchemy.exc import DBAPIError

from backend.db.schema.catalogs import (
    OPTIONAL_KINDS,
    Attributes,
    Catalog,
    Key,
    quoted,
    read_catalog,
)
from backend.db.schema.drift_words import sentences


class ModelsError(Exception):
    """The models cannot be compared. `str()` is a sentence with the remedy."""


@dataclass(frozen=True)
class Difference:
    """An object that is not the same on both sides; None where it is missing."""

    key: Key
    found: Attributes | None
    wanted: Attributes | None

    @property
    def changed(self) -> list[str]:
        """The attributes in which both sides differ."""
        found, wanted = self.found or {}, self.wanted or {}
        names = dict.fromkeys([*found, *wanted])
        return [name for name in names if found.get(name) != wanted.get(name)]

    def described(self, place: str) -> list[str]:
        """Sentences, in which `place` ("the database", "the migrations") is the other side."""
        return list(sentences(self.key, self.found, self.wanted, self.changed, place))


@dataclass(frozen=True)
class Drift:
    """Both catalogs, and what is not the same in them."""

    found: Catalog
    wanted: Catalog
    differences: list[Difference]

    def described(self, place: str) -> str:
        """A line for each difference."""
        return "\n".join(line for each in self.differences for line in each.described(place))


def compare(connection: Connection, metadata: MetaData) -> Drift:
    """How the connection's current schema differs from what `metadata` declares.

    Ends the transaction of the connection. `ModelsError` if the models cannot be created.
    """
    _require_distinct_enums(metadata)
    schema = connection.scalar(text("SELECT current_schema()"))
    found = read_catalog(connection, str(schema))
    with _created(connection, metadata) as scratch:
        wanted = read_catalog(connection, scratch)
        return Drift(found, wanted, list(_compared(connection, scratch, found, wanted)))


def _require_distinct_enums(metadata: MetaData) -> None:
    seen: dict[str, tuple[str, list[str]]] = {}
    for table in metadata.sorted_tables:
        for column in table.columns:
            kind = column.type.item_type if isinstance(column.type, ARRAY) else column.type
            if not isinstance(kind, Enum) or not kind.native_enum or kind.name is None:
                continue
            place, members = seen.setdefault(kind.name, (str(column), kind.enums))
            if members != kind.enums:
                raise ModelsError(
                    f"The models declare two different enum types named {kind.name} ({place} and "
                    f'{column}): give one of them another name, as in sa.Enum(..., name="...").'
                )


@contextmanager
def _created(connection: Connection, metadata: MetaData) -> Iterator[str]:
    """The name of a schema that holds what the models declare, inside the block only."""
    scratch = f"trellis_models_{uuid4().hex[:12]}"
    concurrent = [
        index.dialect_options["postgresql"]
        for table in metadata.tables.values()
        for index in table.indexes
        if index.dialect_options["postgresql"]["concurrently"]
    ]
    connection.rollback()
    try:
        path = connection.scalar(text("SHOW search_path"))
        connection.execute(text(f"CREATE SCHEMA {scratch}"))
        connection.execute(text(f"SET LOCAL search_path = {scratch}, {path}"))
        for options in concurrent:  # not possible in a transaction, and of no use here
            options["concurrently"] = False
        try:
            metadata.create_all(connection, checkfirst=False)
        except DBAPIError as error:
            reason = str(error.orig).strip().partition("\n")[0].replace(f"{scratch}.", "")
            raise ModelsError(
                f"The tables of the models cannot be created ({reason}): correct the models."
            ) from error
        finally:
            for options in concurrent:
                options["concurrently"] = True
        yield scratch
    finally:
        connection.rollback()


def _compared(
    connection: Connection, scratch: str, found: Catalog, wanted: Catalog
) -> Iterator[Difference]:
    for key in sorted(found.keys() | wanted.keys()):
        there, here = found.get(key), wanted.get(key)
        table = Key("table", "", key.owner)
        if key.owner and (table in found) != (table in wanted):
            continue  # the table as a whole is a difference
        if here is None and key.kind in OPTIONAL_KINDS:
            continue
        difference = Difference(key, there, here)
        if there is not None and here is not None:
            same = {
                name: here[name]
                for name in difference.changed
                if name in there
                and name in here
                and _settled(connection, scratch, key, name, there)
                == _settled(connection, scratch, key, name, here)
            }
            difference = Difference(key, {**there, **same}, here)
        if difference.found != difference.wanted:
            yield difference


def _settled(
    connection: Connection, scratch: str, key: Key, attribute: str, attributes: Attributes
) -> str:
    """An expression as PostgreSQL prints it once it has read what it printed.

    The second text may differ from the first, which matters for what was read from a dump, or
    belongs to a column whose type was changed: `IN (...)` on a varchar is such an expression.
    """
    statement = _replacing(key, attribute, attributes)
    word = attributes[attribute]
    if statement is None:
        return word
    savepoint = connection.begin_nested()
    try:
        connection.exec_driver_sql(statement.replace("%", "%%"))
        return read_catalog(connection, scratch)[key][attribute]
    except DBAPIError:
        # It needs a column or a function that the models do not have, so it differs anyway.
        return word
    finally:
        savepoint.rollback()


def _replacing(key: Key, attribute: str, attributes: Attributes) -> str | None:
    """The statements that put an expression in the place of the one of the models."""
    word = attributes[attribute]
    name = quoted(key.name)
    alter = f"ALTER TABLE {quoted(key.owner)}"
    match key.kind, attribute:
        case (("CHECK constraint" | "exclusion constraint"), "definition"):
            return f"{alter} DROP CONSTRAINT {name}; {alter} ADD CONSTRAINT {name} {word}"
        case "index", "definition":
            return f"DROP INDEX {name}; {word}"
        case "column", "default":
            return f"{alter} ALTER {name} SET DEFAULT {word}"
        case "column", "generated expression":
            generated = (
                f"{attributes['type']} GENERATED ALWAYS AS ({word}) {attributes['generation']}"
            )
            return f"{alter} DROP {name} CASCADE; {alter} ADD {name} {generated}"
    return None
