"""Rendering of the models' types and conditions in migration files.

This module imports Alembic, so only `migrations/env.py` and the code that writes migrations import
it.
"""

import re
from typing import Any, Literal

from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import _repr_type  # which has no public name
from sqlalchemy import CheckConstraint, Enum, TypeDecorator
from sqlalchemy.sql.type_api import TypeEngine
from sqlmodel import AutoString
from sqlmodel.sql.sqltypes import UTCDateTime

# `op.execute` treats a word after a colon as a parameter.
_PARAMETER = re.compile(r"(?<![:\w\\]):(?=\w)")


def escaped(statement: str) -> str:
    """Escape colons that `sqlalchemy.text` would treat as parameters."""
    return _PARAMETER.sub(r"\\:", statement)


def render_item(kind: str, item: Any, context: AutogenContext) -> str | Literal[False]:
    """Render types as plain SQLAlchemy types, so migrations import no module and no SQLModel.

    A type without an SQLAlchemy equivalent (a `UserDefinedType`) is imported from its own module.
    Return False to leave the rendering to Alembic.
    """
    if kind == "check":
        return _rendered_check(item, context)
    if kind != "type":
        return False
    if isinstance(item, UTCDateTime):
        return "sa.DateTime(timezone=True)"
    if isinstance(item, AutoString):
        length = getattr(item.impl_instance, "length", None)
        return f"sa.String({length})" if length else "sa.String()"
    if isinstance(item, TypeDecorator):
        assert context.dialect is not None
        return _repr_type(item.load_dialect_impl(context.dialect), context)
    if isinstance(item, Enum) and item.native_enum:
        # Separate statements of the migration create and drop the type.
        members = ", ".join(map(repr, item.enums))
        return f"sa.Enum({members}, name={str(item.name)!r}, create_type=False)"
    module = type(item).__module__
    if isinstance(item, TypeEngine) and not module.startswith("sqlalchemy."):
        context.imports.add(f"import {module}")
    return False


def _rendered_check(constraint: CheckConstraint, context: AutogenContext) -> str | Literal[False]:
    """Render a CHECK constraint with colons escaped and per cent signs not doubled.

    Alembic does neither. Return False if the condition contains no such characters.
    """
    condition = context.migration_context.impl.render_ddl_sql_expr(constraint.sqltext)
    if "%" not in condition and not _PARAMETER.search(condition):
        return False
    condition = condition.replace("%%", "%")
    return f"sa.CheckConstraint({escaped(condition)!r}, name=op.f({str(constraint.name)!r}))"
