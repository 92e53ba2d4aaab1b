"""Many rows in one statement: each column travels as one array."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import TableValuedAlias, bindparam, cast, column, func
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import TypeEngine


def unnested(columns: Mapping[str, type[TypeEngine[Any]]]) -> TableValuedAlias:
    """A table with a row for each position of the lists that are bound to the columns' names."""
    arrays = (cast(bindparam(name), ARRAY(kind)) for name, kind in columns.items())
    named = (column(name, kind) for name, kind in columns.items())
    return func.unnest(*arrays).table_valued(*named).render_derived()
