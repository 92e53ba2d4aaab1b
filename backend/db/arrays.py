"""Bulk parameters: many rows in one statement, each column as one array parameter."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import TableValuedAlias, bindparam, cast, column, func
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import TypeEngine


def unnested(columns: Mapping[str, type[TypeEngine[Any]]]) -> TableValuedAlias:
    """Return a table made of array parameters, one per column, bound by the column's name.

    Row n holds the n-th element of each array.
    """
    arrays = (cast(bindparam(name), ARRAY(kind)) for name, kind in columns.items())
    named = (column(name, kind) for name, kind in columns.items())
    return func.unnest(*arrays).table_valued(*named).render_derived()
