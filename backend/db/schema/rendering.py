"""How types and conditions of the models are written in a migration.

Only `migrations/env.py` and what writes migrations import this module, because it imports Alembic.
"""

import re
from typing import Any, Literal

from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import _repr_type  # which has no public name
from sqlalchemy import CheckConstraint, Enum, TypeDecorator
from sqlalchemy.sql.type_api import TypeEngine
from sqlmodel import AutoString
from sqlmodel.sql.sqltypes import UTCDateTime

# A word after a colon would be a parameter in a statement of `op.execute`.
_PARAMETER = re.compile(r"(?<![:\w\\]):(?=\w)")


def escaped(statement: str) -> str:
    """SQL as `sqlalchemy.text` takes it."""
    return _PARAMETER.sub(r"\\:", statement)


def render_item(kind: str, item: Any, context: AutogenContext) -> str | Literal[False]:
    """Plain types of SQLAlchemy, so that the history depends on no module and not on SQLModel.

    A type that is not made of another (a `UserDefinedType`) is imported from where it is defined.
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
        # Migrations create and drop the type by statements of their own.
        members = ", ".join(map(repr, item.enums))
        return f"sa.Enum({members}, name={str(item.name)!r}, create_type=False)"
    module = type(item).__module__
    if isinstance(item, TypeEngine) and not module.startswith("sqlalchemy."):
        context.imports.add(f"import {module}")
    return False


def _rendered_check(constraint: CheckConstraint, context: AutogenContext) -> str | Literal[False]:
    """Alembic writes a word after a colon as a parameter, and per cent signs twice."""
    condition = context.migration_context.impl.render_ddl_sql_expr(constraint.sqltext)
    if "%" not in condition and not _PARAMETER.search(condition):
        return False
    condition = condition.replace("%%", "%")
    return f"sa.CheckConstraint({escaped(condition)!r}, name=op.f({str(constraint.name)!r}))"
