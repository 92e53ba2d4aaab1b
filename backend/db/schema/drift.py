"""Drift: the differences between a schema and the models, both read from PostgreSQL's catalogs.

The models' tables are created in a scratch schema, in a transaction that is rolled back: other
sessions do not see them, and no existing table is locked. The role needs the privilege to create
schemas in the database, but not to create databases.
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
    """The models' tables cannot be created. `str()` is a sentence with the remedy."""


@dataclass(frozen=True)
class Difference:
    """An object that differs. `actual` or `declared` is None on the side that lacks it."""

    key: Key
    actual: Attributes | None
    declared: Attributes | None

    @property
    def changed(self) -> list[str]:
        """The names of the attributes that differ."""
        actual, declared = self.actual or {}, self.declared or {}
        names = dict.fromkeys([*actual, *declared])
        return [name for name in names if actual.get(name) != declared.get(name)]

    def described(self, place: str) -> list[str]:
        """Return sentences that call the actual side `place`, such as "the database"."""
        return list(sentences(self.key, self.actual, self.declared, self.changed, place))


@dataclass(frozen=True)
class Drift:
    """The actual catalog, the one the models declare, and their differences."""

    actual: Catalog
    declared: Catalog
    differences: list[Difference]

    def described(self, place: str) -> str:
        """Return one line per sentence of all differences."""
        return "\n".join(line for each in self.differences for line in each.described(place))


def compare(connection: Connection, metadata: MetaData) -> Drift:
    """Compare the connection's current schema with the tables of `metadata`.

    Rolls back the connection's transaction. Raise `ModelsError` if the tables cannot be created.
    """
    _require_distinct_enums(metadata)
    schema = connection.scalar(text("SELECT current_schema()"))
    actual = read_catalog(connection, str(schema))
    with _created(connection, metadata) as scratch:
        declared = read_catalog(connection, scratch)
        return Drift(actual, declared, list(_compared(connection, scratch, actual, declared)))


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
    """Create the models' tables in a scratch schema for the block; yield the schema's name."""
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
        for options in concurrent:  # not possible in a transaction
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
    connection: Connection, scratch: str, actual: Catalog, declared: Catalog
) -> Iterator[Difference]:
    for key in sorted(actual.keys() | declared.keys()):
        actual_object, declared_object = actual.get(key), declared.get(key)
        table = Key("table", "", key.owner)
        if key.owner and (table in actual) != (table in declared):
            continue  # the missing table is reported as one difference
        if declared_object is None and key.kind in OPTIONAL_KINDS:
            continue
        difference = Difference(key, actual_object, declared_object)
        if actual_object is not None and declared_object is not None:
            same = {
                name: declared_object[name]
                for name in difference.changed
                if name in actual_object
                and name in declared_object
                and _normalized(connection, scratch, key, name, actual_object)
                == _normalized(connection, scratch, key, name, declared_object)
            }
            difference = Difference(key, {**actual_object, **same}, declared_object)
        if difference.actual != difference.declared:
            yield difference


def _normalized(
    connection: Connection, scratch: str, key: Key, attribute: str, attributes: Attributes
) -> str:
    """Return an expression as PostgreSQL prints it after parsing its own output.

    The second output may differ from the first, for example for `IN (...)` on a varchar. A schema
    restored from a dump, or a column whose type was changed, has the second form.
    """
    statement = _replacing(key, attribute, attributes)
    expression = attributes[attribute]
    if statement is None:
        return expression
    savepoint = connection.begin_nested()
    try:
        connection.exec_driver_sql(statement.replace("%", "%%"))
        return read_catalog(connection, scratch)[key][attribute]
    except DBAPIError:
        # It refers to a column or function that the models lack, so it differs anyway.
        return expression
    finally:
        savepoint.rollback()


def _replacing(key: Key, attribute: str, attributes: Attributes) -> str | None:
    """Return the statements that replace the scratch schema's expression with this one."""
    expression = attributes[attribute]
    name = quoted(key.name)
    alter = f"ALTER TABLE {quoted(key.owner)}"
    match key.kind, attribute:
        case (("CHECK constraint" | "exclusion constraint"), "definition"):
            return f"{alter} DROP CONSTRAINT {name}; {alter} ADD CONSTRAINT {name} {expression}"
        case "index", "definition":
            return f"DROP INDEX {name}; {expression}"
        case "column", "default":
            return f"{alter} ALTER {name} SET DEFAULT {expression}"
        case "column", "generated expression":
            kind, generation = attributes["type"], attributes["generation"]
            generated = f"{kind} GENERATED ALWAYS AS ({expression}) {generation}"
            return f"{alter} DROP {name} CASCADE; {alter} ADD {name} {generated}"
    return None
