"""Catalogs: the objects of a schema, read from PostgreSQL.

PostgreSQL stores expressions parsed and prints them in a normal form, so the texts of two schemas
on the same server are comparable.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, text
from sqlalchemy.dialects.postgresql.psycopg import dialect

# Name prefixes of tables, functions and types that migrations create and no model declares.
UNDESCRIBED = ("alembic_version", "procrastinate_", "rate_limit_", "temporary_values")
# SQLAlchemy supports these only partly, so they are compared only if a model declares them.
OPTIONAL_KINDS = ("view", "function", "trigger")

_EVERYTHING = text(Path(__file__).with_suffix(".sql").read_text("utf-8"))
_PREPARER = dialect().identifier_preparer  # type: ignore[no-untyped-call]  # it has no annotations


@dataclass(frozen=True, order=True)
class Key:
    """The identity of a schema object. `owner` is its table, empty for objects without one."""

    kind: str
    owner: str
    name: str


Attributes = Mapping[str, str]
Catalog = Mapping[Key, Attributes]


def is_described(name: str) -> bool:
    """Return whether a model has to declare the table, function or type of this name."""
    return not name.startswith(UNDESCRIBED)


def quoted(name: str) -> str:
    """Return an identifier as PostgreSQL prints it: quoted only if necessary."""
    return str(_PREPARER.quote(name))


def read_catalog(connection: Connection, schema: str) -> Catalog:
    """Return the objects of `schema` that models declare.

    `schema` has to be the first one on the search path.
    """
    catalog: dict[Key, Attributes] = {}
    for kind, owner, name, attributes in connection.execute(_EVERYTHING, {"schema": schema}):
        if is_described(owner or name):
            described = {
                attribute: word for attribute, word in attributes.items() if word is not None
            }
            catalog[Key(kind, owner, name)] = described
    return catalog
