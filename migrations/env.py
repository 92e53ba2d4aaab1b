"""Alembic's environment. Run it through `backend db ...` or `make migration m="..."`."""

from alembic import context

from backend.core.registry import discover
from backend.db.base import Base
from backend.db.schema.catalogs import is_described
from backend.db.schema.rendering import render_item

# Importing the modules registers their tables in the metadata.
discover()


def include_name(name: str | None, kind: str, _: object) -> bool:
    """Exclude tables that no model declares, such as those of libraries."""
    return kind != "table" or is_described(name or "")


connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit('Run migrations with `backend db ...` or `make migration m="..."`.')
# A preceding read may have left a transaction open. Alembic would regard it as the caller's and
# leave the commit to the caller, so the migrations would be lost.
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
