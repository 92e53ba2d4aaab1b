"""The migration that creates the table of a new module.

It is the one that `backend db revision` would write, made without a database. This module imports
Alembic.
"""

import sqlalchemy as sa
from alembic.autogenerate.api import render_python_code
from alembic.config import Config
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from mako.template import Template  # type: ignore[import-untyped]  # it has no stubs

from backend.db.schema.migrations import FOLDER, newest_revision, next_revision
from backend.db.schema.rendering import render_item


def migration_of(table: sa.Table) -> tuple[str, str]:
    """Return the path and the text of the migration, to be formatted; it follows the newest one.

    The downgrade needs no more than to drop the table: its indexes belong to it.
    """
    number = next_revision()
    indexes = sorted(table.indexes, key=lambda index: str(index.name))
    created = [
        ops.CreateTableOp.from_table(table),
        *(ops.CreateIndexOp.from_index(index) for index in indexes),
    ]
    message = f"add {table.name.replace('_', ' ')}"
    template = Template(filename=str(FOLDER / "script.py.mako"))  # noqa: S702  # Python, not HTML
    text = template.render(
        config=Config(),
        message=message,
        imports="",
        up_revision=number,
        down_revision=newest_revision(),
        branch_labels=None,
        depends_on=None,
        upgrades=_rendered(ops.UpgradeOps(ops=created)),
        downgrades=_rendered(ops.DowngradeOps(ops=[ops.DropTableOp(table.name)])),
    )
    path = f"migrations/versions/{number}_{message.replace(' ', '_')}.py"
    return path, text


def _rendered(container: ops.UpgradeOps | ops.DowngradeOps) -> str:
    """Return the body of a function, without the indentation of its first line."""
    context = MigrationContext.configure(
        dialect_name="postgresql",
        opts={"render_item": render_item, "sqlalchemy_module_prefix": "sa."},
    )
    text = render_python_code(container, render_item=render_item, migration_context=context)
    # Without the comments of Alembic, which ask to adjust what it has generated.
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return "\n    ".join(lines)
