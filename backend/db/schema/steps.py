"""Operations of generated migrations that Alembic lacks: autocommit blocks, comments, statements.

This module imports Alembic, so only the code that writes migrations imports it.
"""

import re
import textwrap

from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import render_op, renderers
from alembic.operations import ops

from backend.db.schema.catalogs import Key, quoted
from backend.db.schema.rendering import escaped

_LONGEST_NAME = 63
_UNIQUE = re.compile(
    r"UNIQUE(?P<nulls> NULLS NOT DISTINCT)? (?P<columns>\(.+?\)(?: INCLUDE \(.+?\))?)"
    r"(?P<deferrable> DEFERRABLE.*)?"
)


class AutocommitOp(ops.MigrateOperation):
    """Operations in an autocommit block, outside of the migration's transaction."""

    def __init__(self, *operations: ops.MigrateOperation) -> None:
        self.ops = list(operations)


class CommentOp(ops.MigrateOperation):
    """A comment in the migration."""

    def __init__(self, text: str) -> None:
        self.text = text


@renderers.dispatch_for(AutocommitOp)
def _render_block(context: AutogenContext, op: AutocommitOp) -> list[str]:
    return [
        "with op.get_context().autocommit_block():",
        *(line for each in op.ops for line in render_op(context, each)),
        None,  # type: ignore[list-item]  # Alembic's printer ends the block at an empty line
    ]


@renderers.dispatch_for(CommentOp)
def _render_comment(_: AutogenContext, op: CommentOp) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(op.text, 90)]


def execute(statement: str) -> ops.MigrateOperation:
    return ops.ExecuteSQLOp(escaped(statement))


def create_index(name: str, definition: str, *, replaces: bool) -> AutocommitOp:
    """Build an index from the text of `pg_get_indexdef`, beside the one that it replaces."""
    built = temporary(name) if replaces else name
    head = f"INDEX {quoted(name)} ON"
    definition = definition.replace(head, f"INDEX CONCURRENTLY {quoted(built)} ON", 1)
    steps = [drop_index(built), execute(definition)]
    if replaces:
        steps += [drop_index(name), rename_index(built, name)]
    return AutocommitOp(*steps)


def drop_index(name: str) -> ops.MigrateOperation:
    return execute(f"DROP INDEX CONCURRENTLY IF EXISTS {quoted(name)}")


def create_constraint(key: Key, definition: str) -> list[ops.MigrateOperation]:
    """Create or replace a constraint from the text of `pg_get_constraintdef`."""
    table, name = quoted(key.owner), quoted(key.name)
    add = f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}, ADD CONSTRAINT {name}"
    if key.kind in ("CHECK constraint", "foreign key"):
        return [execute(f"{add} {definition} NOT VALID"), AutocommitOp(validate(key.owner, name))]
    unique = _UNIQUE.fullmatch(definition) if key.kind == "unique constraint" else None
    if unique is None:
        return [
            CommentOp("This builds an index under a lock; PostgreSQL has no other form."),
            execute(f"{add} {definition}"),
        ]
    built = quoted(temporary(key.name))
    index = f"UNIQUE INDEX CONCURRENTLY {built} ON {table} {unique['columns']}"
    return [
        AutocommitOp(
            drop_index(temporary(key.name)),
            execute(f"CREATE {index}{unique['nulls'] or ''}"),
            # The index gets the name of the constraint.
            execute(f"{add} UNIQUE USING INDEX {built}{unique['deferrable'] or ''}"),
        )
    ]


def temporary(name: str) -> str:
    """Return the name of an index that gets another one when it is complete."""
    return f"{name[: _LONGEST_NAME - 4]}_new"


def rename_index(name: str, new: str) -> ops.MigrateOperation:
    return execute(f"ALTER INDEX {quoted(name)} RENAME TO {quoted(new)}")


def validate(table: str, constraint: str) -> ops.MigrateOperation:
    return execute(f"ALTER TABLE {quoted(table)} VALIDATE CONSTRAINT {constraint}")
