"""The form of generated operations that does not lock tables in use.

Operations on tables that exist before the migration are replaced: indexes are built and dropped
concurrently, constraints are added NOT VALID and validated afterwards. PostgreSQL commits these
steps one by one, so a migration that contains any can run again after an interruption: it drops an
invalid index of the earlier attempt, and skips what exists.

This module imports Alembic, so only the code that writes migrations imports it.
"""

from collections.abc import Collection, Iterator, Sequence
from copy import copy
from typing import Any

import sqlalchemy as sa
from alembic.operations import ops

from backend.db.schema.catalogs import quoted
from backend.db.schema.steps import (
    AutocommitOp,
    CommentOp,
    execute,
    rename_index,
    temporary,
    validate,
)

_CONCURRENTLY: dict[str, Any] = {"postgresql_concurrently": True}
_FORMER = "The former release still uses it: drop it in the release after the one that stops."
_REWRITES = "This may rewrite the table under a lock: `backend db check` tells, and the safe form."
_REQUIRED = "The former release inserts rows without it: give it a constant `server_default`."
_NULLS = "Rows in which it is NULL make VALIDATE fail: fill them before, in batches."


def safe(
    operations: Sequence[ops.MigrateOperation], existing: Collection[str], *, forward: bool
) -> list[ops.MigrateOperation]:
    """Return operations that do not lock the `existing` tables for long.

    The upgrade (`forward`) has comments where that is not possible. Alters the operations.
    """
    flat = [each for op in operations for each in _unpacked(op)]
    gone = {op.table_name for op in flat if isinstance(op, ops.DropTableOp)}
    flat = [op for op in flat if not (isinstance(op, ops.DropIndexOp) and op.table_name in gone)]
    created = {_name(op) for op in flat if isinstance(op, ops.AddConstraintOp | ops.CreateIndexOp)}
    dropped = {_name(op) for op in flat if isinstance(op, ops.DropConstraintOp | ops.DropIndexOp)}
    replaced = (created & dropped) - {None}
    result: list[ops.MigrateOperation] = []
    for op in flat:
        if getattr(op, "table_name", getattr(op, "source_table", None)) not in existing:
            result.append(op)
            continue
        if forward and (comment := _comment(op)):
            result.append(CommentOp(comment))
        result += _safe(op, replaced)
    if any(isinstance(op, AutocommitOp) for op in result):
        for op in result:
            _allow_repetition(op)
    return list(_joined(result))


def _unpacked(op: ops.MigrateOperation) -> Iterator[ops.MigrateOperation]:
    if isinstance(op, ops.ModifyTableOps):
        for each in op.ops:
            yield from _unpacked(each)
    else:
        yield op


def _name(op: ops.MigrateOperation) -> str | None:
    return getattr(op, "index_name", None) or getattr(op, "constraint_name", None)


def _safe(op: ops.MigrateOperation, replaced: Collection[str | None]) -> list[ops.MigrateOperation]:
    match op:
        case ops.CreateIndexOp():
            return [_concurrent_index(op, replaces=op.index_name in replaced)]
        case ops.DropIndexOp():
            if op.index_name in replaced:
                return []
            op.kw.update(_CONCURRENTLY)
            op.if_exists = True
            return [AutocommitOp(op)]
        case ops.CreateUniqueConstraintOp():
            return [_concurrent_unique(op)]
        case ops.CreateForeignKeyOp():
            op.kw["postgresql_not_valid"] = True
            drop = ops.DropConstraintOp(
                op.constraint_name, op.source_table, "foreignkey", if_exists=True
            )
            return [drop, op, AutocommitOp(validate(op.source_table, quoted(_text(op))))]
        case ops.DropConstraintOp() if op.constraint_name in replaced:
            return []
        case ops.AlterColumnOp() if op.modify_nullable is False:
            return list(_not_null(op))
        case ops.AddColumnOp():
            kind = op.column.type
            if isinstance(kind, sa.Enum) and kind.create_constraint:
                # The constraint is one of the differences, and is added in its own steps.
                plain = copy(kind)
                plain.create_constraint = False
                op.column.type = plain
    return [op]


def _text(op: Any) -> str:
    return str(op.constraint_name)


def _concurrent_index(op: ops.CreateIndexOp, *, replaces: bool) -> AutocommitOp:
    name, table = str(op.index_name), op.table_name
    op.kw.update(_CONCURRENTLY)
    if replaces:
        op.index_name = temporary(name)
    drop = ops.DropIndexOp(str(op.index_name), table, if_exists=True, **_CONCURRENTLY)
    if not replaces:
        return AutocommitOp(drop, op)
    former = ops.DropIndexOp(name, table, if_exists=True, **_CONCURRENTLY)
    return AutocommitOp(drop, op, former, rename_index(str(op.index_name), name))


def _concurrent_unique(op: ops.CreateUniqueConstraintOp) -> AutocommitOp:
    name, table, built = quoted(_text(op)), op.table_name, temporary(_text(op))
    kept = {key: value for key, value in op.kw.items() if key.startswith("postgresql_")}
    index = ops.CreateIndexOp(built, table, op.columns, unique=True, **kept, **_CONCURRENTLY)
    add = (
        f"ALTER TABLE {quoted(table)} DROP CONSTRAINT IF EXISTS {name}, "
        f"ADD CONSTRAINT {name} UNIQUE USING INDEX {quoted(built)}"
    )
    if op.kw.get("deferrable"):
        add += f" DEFERRABLE INITIALLY {op.kw.get('initially') or 'IMMEDIATE'}"
    drop = ops.DropIndexOp(built, table, if_exists=True, **_CONCURRENTLY)
    return AutocommitOp(drop, index, execute(add))


def _not_null(op: ops.AlterColumnOp) -> Iterator[ops.MigrateOperation]:
    """Set NOT NULL by means of a validated CHECK, so PostgreSQL need not scan under its lock."""
    table, column = quoted(op.table_name), quoted(op.column_name)
    name = quoted(f"ck_{op.table_name}_{op.column_name}"[:54] + "_not_null")
    drop = f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}"
    alter = ops.AlterColumnOp(
        op.table_name, op.column_name, existing_type=op.existing_type, modify_nullable=False
    )
    op.modify_nullable = None
    if op.has_changes():
        alter.existing_type = op.modify_type if op.modify_type is not None else op.existing_type
        yield op
    yield CommentOp(_NULLS)
    yield execute(f"{drop}, ADD CONSTRAINT {name} CHECK ({column} IS NOT NULL) NOT VALID")
    yield AutocommitOp(validate(op.table_name, name))
    yield alter
    yield execute(drop)


def _comment(op: ops.MigrateOperation) -> str | None:
    """Return what a person has to decide, if there is no safe form."""
    match op:
        case ops.DropColumnOp() | ops.DropTableOp():
            return _FORMER
        case ops.AlterColumnOp() if op.modify_type is not None:
            return None if _is_longer_text(op.existing_type, op.modify_type) else _REWRITES
        case ops.AddColumnOp():
            default = op.column.server_default
            if default is None:
                return None if op.column.nullable else _REQUIRED
            text = str(getattr(default, "arg", ""))
            is_constant = isinstance(default, sa.DefaultClause) and "(" not in text
            return None if is_constant else _REWRITES
    return None


def _is_longer_text(former: Any, new: Any) -> bool:
    if not isinstance(former, sa.String) or not isinstance(new, sa.String):
        return False
    return new.length is None or (former.length is not None and former.length <= new.length)


def _allow_repetition(op: ops.MigrateOperation) -> None:
    """Let an operation succeed that an interrupted attempt has committed already."""
    match op:
        case ops.CreateTableOp() | ops.CreateIndexOp() | ops.AddColumnOp():
            op.if_not_exists = True
        case ops.DropTableOp() | ops.DropIndexOp() | ops.DropColumnOp() | ops.DropConstraintOp():
            op.if_exists = True
        case ops.ExecuteSQLOp() if str(op.sqltext).startswith("CREATE TYPE"):
            op.sqltext = (
                f"DO $$ BEGIN {op.sqltext}; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
            )


def _joined(operations: Sequence[ops.MigrateOperation]) -> Iterator[ops.MigrateOperation]:
    """Join neighbouring autocommit blocks."""
    block: AutocommitOp | None = None
    for op in operations:
        if isinstance(op, AutocommitOp) and block is not None:
            block.ops += op.ops
            continue
        block = op if isinstance(op, AutocommitOp) else None
        yield op
