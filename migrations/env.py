"""Alembic's entry. Run it through `backend db ...` or `make migration m="..."`."""

from alembic import context

from backend.core.registry import discover
from backend.db.base import Base
from backend.db.schema.catalogs import is_described
from backend.db.schema.rendering import render_item

# Importing the modules fills the metadata with their tables.
discover()


def include_name(name: str | None, kind: str, _: object) -> bool:
    """Leaves alone what libraries made, or what no model describes."""
    return kind != "table" or is_described(name or "")


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
