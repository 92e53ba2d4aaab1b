"""The objects of a schema, as PostgreSQL describes them.

PostgreSQL stores expressions parsed and prints them in one form, so two schemas on one server can
be compared by these texts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, text
from sqlalchemy.dialects.postgresql.psycopg import dialect

# Of tables, functions and types that a library or the core declares to PostgreSQL without a model.
UNDESCRIBED = ("alembic_version", "procrastinate_", "rate_limit_")
# SQLAlchemy describes these only in part, so they are compared where a model declares them.
OPTIONAL_KINDS = ("view", "function", "trigger")

_EVERYTHING = text(Path(__file__).with_suffix(".sql").read_text("utf-8"))
_PREPARER = dialect().identifier_preparer  # type: ignore[no-untyped-call]  # it has no annotations


@dataclass(frozen=True, order=True)
class Key:
    """An object of a schema. `owner` is its table; empty for what belongs to none."""

    kind: str
    owner: str
    name: str


Attributes = Mapping[str, str]
Catalog = Mapping[Key, Attributes]


def is_described(name: str) -> bool:
    """Whether a table, function or type of this name has to have a model."""
    return not name.startswith(UNDESCRIBED)


def quoted(name: str) -> str:
    """An identifier as PostgreSQL prints it: in quotes only if it needs them."""
    return str(_PREPARER.quote(name))


def read_catalog(connection: Connection, schema: str) -> Catalog:
    """What `schema` holds, without what no model describes. It must be first on the search path."""
    found: dict[Key, Attributes] = {}
    for kind, owner, name, attributes in connection.execute(_EVERYTHING, {"schema": schema}):
        if is_described(owner or name):
            described = {
                attribute: word for attribute, word in attributes.items() if word is not None
            }
            found[Key(kind, owner, name)] = described
    return found
