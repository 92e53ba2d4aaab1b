"""Alembic's entry. Run it through `backend db ...` or `make migration m="..."`."""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlmodel import AutoString
from sqlmodel.sql.sqltypes import UTCDateTime

from backend.core.registry import discover
from backend.db.base import Base

# Importing the modules fills the metadata with their tables.
discover()


def render_item(kind: str, item: Any, _: AutogenContext) -> str | Literal[False]:
    """Plain SQLAlchemy types, so that the history does not depend on SQLModel."""
    if kind == "type" and isinstance(item, UTCDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(item, AutoString):
        length = getattr(item.impl_instance, "length", None)
        return f"sa.String({length})" if length else "sa.String()"
    return False


def include_name(name: str | None, kind: str, _: object) -> bool:
    """Leaves alone what libraries made, or what no model describes."""
    return not (kind == "table" and (name or "").startswith(("procrastinate_", "rate_limit")))


connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit('Run migrations with `backend db ...` or `make migration m="..."`.')
# A command that only looked has left its transaction open. Alembic would take it for somebody
# else's, who commits all that follows; nobody would.
connection.rollback()
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    compare_server_default=True,
    transaction_per_migration=True,
    render_item=render_item,
    include_name=include_name,
)
with context.begin_transaction():
    context.run_migrations()
