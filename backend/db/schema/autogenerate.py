"""Migration operations that Alembic's autogenerate lacks, derived from the catalogs.

Alembic does not create, alter or drop enum types, and does not detect changes of CHECK and
exclusion constraints and of index predicates. This module imports Alembic, so only
`migrations/env.py` and the command that writes migrations import it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from alembic.operations import ops

from backend.db.schema.catalogs import OPTIONAL_KINDS, Attributes, Catalog, Key, quoted
from backend.db.schema.drift import Difference, Drift
from backend.db.schema.safe_operations import safe
from backend.db.schema.steps import (
    AutocommitOp,
    CommentOp,
    create_constraint,
    create_index,
    drop_index,
    execute,
)

_REPLACEABLE = ("CHECK constraint", "exclusion constraint", "foreign key", "unique constraint")

_RECREATED = "This rewrites tables under a lock: `backend db check` tells the safe sequence."


def complete(script: ops.MigrationScript, drift: Drift) -> None:
    """Add the missing operations to the upgrade and the downgrade."""
    assert script.upgrade_ops is not None
    assert script.downgrade_ops is not None
    for source, target, container in (
        (drift.actual, drift.declared, script.upgrade_ops),
        (drift.declared, drift.actual, script.downgrade_ops),
    ):
        keys = [each.key for each in drift.differences]
        steps = _Steps(source, target, container, keys)
        operations = [*steps.first(), *container.ops, *steps.last()]
        existing = {key.name for key in source if key.kind == "table" and key in target}
        forward = container is script.upgrade_ops
        container.ops[:] = safe(operations, existing, forward=forward)


def is_written(difference: Difference) -> bool:
    """Return whether the generated migration resolves this difference."""
    key, changed = difference.key, set(difference.changed)
    if difference.actual is None or difference.declared is None:
        return key.kind not in ("sequence", "domain", *OPTIONAL_KINDS)
    if key.kind == "column":
        return not changed & {"generated expression", "generation", "sequence", "collation"}
    return changed <= {"comment"} or key.kind in (*_REPLACEABLE, "index", "enum type")


@dataclass
class _Steps:
    """The operations before and after Alembic's own, from the source to the target catalog."""

    source: Catalog
    target: Catalog
    container: ops.OpContainer
    keys: Sequence[Key]
    _named: set[str | None] = field(default_factory=set)
    _typed: set[Key] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._take_over_enum_columns()
        self._take_over_conditions()
        self._named = {_name(op) for op in _flat(self.container.ops)}

    def first(self) -> Iterator[ops.MigrateOperation]:
        yield from self._add_members()
        for key in self.keys:
            if key.kind == "enum type" and key not in self.source:
                yield execute(_create_type(key.name, self.target[key]))
        for key in self.keys:
            if key in self.source and self._is_ours(key) and not self._is_replaced(key):
                is_index = key.kind == "index"
                yield AutocommitOp(drop_index(key.name)) if is_index else execute(_drop(key))
        for key in self.keys:
            if self._is_recreated(key):
                yield CommentOp(_RECREATED)
                yield from map(execute, self._recreate(key))

    def last(self) -> Iterator[ops.MigrateOperation]:
        for key in self.keys:
            if key in self._typed:
                yield CommentOp(_RECREATED)
                yield from map(execute, _retype(key, self.source[key], self.target[key]))
        for key in self.keys:
            if key in self.target and self._is_ours(key):
                definition = self.target[key]["definition"]
                if key.kind == "index":
                    yield create_index(key.name, definition, replaces=self._is_replaced(key))
                else:
                    yield from create_constraint(key, definition)
        for key in self.keys:
            if key.kind == "enum type" and key not in self.target:
                yield execute(f"DROP TYPE IF EXISTS {quoted(key.name)}")

    def _is_ours(self, key: Key) -> bool:
        return key.kind in (*_REPLACEABLE, "index") and key.name not in self._named

    def _is_replaced(self, key: Key) -> bool:
        """Return whether the former object can stay until its replacement is complete."""
        if key not in self.source or key not in self.target:
            return False
        return not any(
            (each.kind == "column" and each.owner == key.owner) or self._is_recreated(each)
            for each in self.keys
        )

    def _is_recreated(self, key: Key) -> bool:
        if key.kind != "enum type" or key not in self.source or key not in self.target:
            return False
        return _added(_members(self.source[key]), _members(self.target[key])) is None

    def _add_members(self) -> Iterator[ops.MigrateOperation]:
        for key in self.keys:
            if key.kind == "enum type" and key in self.source and key in self.target:
                added = _added(_members(self.source[key]), _members(self.target[key]))
                if added:
                    alter = f"ALTER TYPE {quoted(key.name)} ADD VALUE IF NOT EXISTS"
                    # Until they are committed, nothing else in the migration can use them.
                    yield AutocommitOp(*(execute(f"{alter} {each}") for each in added))

    def _recreate(self, enum: Key) -> Iterator[str]:
        """Replace an enum type, because members cannot be removed or reordered in place."""
        name, former = quoted(enum.name), quoted(f"{enum.name}_former")
        bound = [
            (key, attributes["definition"])
            for key, attributes in self.source.items()
            if key.kind in ("CHECK constraint", "index")
            and key not in self.keys
            and _mentions(attributes, enum)
        ]
        yield from (_drop(key) for key, _ in bound)
        yield f"ALTER TYPE {name} RENAME TO {former}"
        yield _create_type(enum.name, self.target[enum])
        for key, attributes in self.source.items():
            if key.kind == "column" and attributes["type"].removesuffix("[]") == name:
                # The old default may be a removed member, so the target's default is used.
                later = self.target.get(key, {})
                kept = later if later.get("type") == attributes["type"] else {}
                yield from _retype(key, attributes, {**kept, "type": attributes["type"]})
        yield from (_create(key, definition) for key, definition in bound)
        yield f"DROP TYPE {former}"

    def _take_over_conditions(self) -> None:
        """Remove Alembic's operations on constraints and indexes that use a replaced enum type.

        They have to be dropped before the type is replaced, and created after it.
        """
        enums = [key for key in self.keys if self._is_recreated(key)]
        taken = {
            key.name
            for key in self.keys
            for side in (self.source, self.target)
            if any(_mentions(side.get(key, {}), enum) for enum in enums)
        }
        for group in self.container.ops:
            if isinstance(group, ops.ModifyTableOps):
                group.ops[:] = [op for op in group.ops if _name(op) not in taken]

    def _take_over_enum_columns(self) -> None:
        """Remove Alembic's type changes of enum columns, which lack the required `USING`."""
        enums = {
            quoted(key.name) for key in (*self.source, *self.target) if key.kind == "enum type"
        }
        for group in self.container.ops:
            if not isinstance(group, ops.ModifyTableOps):
                continue
            for op in list(group.ops):
                if not isinstance(op, ops.AlterColumnOp) or op.modify_type is None:
                    continue
                key = Key("column", op.table_name, op.column_name)
                types = {
                    side[key]["type"].removesuffix("[]") for side in (self.source, self.target)
                }
                if types & enums:
                    self._typed.add(key)
                    op.modify_type, op.modify_server_default = None, False
                    if not op.has_changes():
                        group.ops.remove(op)


def _flat(operations: Sequence[ops.MigrateOperation]) -> Iterator[ops.MigrateOperation]:
    for op in operations:
        yield op
        if isinstance(op, ops.OpContainer):
            yield from _flat(op.ops)


def _name(op: ops.MigrateOperation) -> str | None:
    """Return the name of the index or constraint that an operation creates or drops."""
    return getattr(op, "index_name", None) or getattr(op, "constraint_name", None)


def _mentions(attributes: Attributes, enum: Key) -> bool:
    literal = rf"::{re.escape(quoted(enum.name))}(?!\w)"
    return re.search(literal, attributes.get("definition", "")) is not None


def _members(attributes: Attributes) -> list[str]:
    """Return an enum type's members as SQL literals."""
    return re.findall(r"'(?:[^']|'')*'", attributes["members"])


def _added(source: Sequence[str], target: Sequence[str]) -> list[str] | None:
    """Return each new member with its position; None if members are removed or reordered."""
    if [member for member in target if member in source] != list(source):
        return None
    added = []
    for index, member in enumerate(target):
        if member not in source:
            position = f"AFTER {target[index - 1]}" if index else f"BEFORE {source[0]}"
            added.append(f"{member} {position}")
    return added


def _create_type(name: str, attributes: Attributes) -> str:
    return f"CREATE TYPE {quoted(name)} AS ENUM ({attributes['members']})"


def _drop(key: Key) -> str:
    name = quoted(key.name)
    if key.kind == "index":
        return f"DROP INDEX IF EXISTS {name}"
    return f"ALTER TABLE {quoted(key.owner)} DROP CONSTRAINT IF EXISTS {name}"


def _create(key: Key, definition: str) -> str:
    if key.kind == "index":
        return definition
    # A new column of a type such as sa.Enum(create_constraint=True) has already created it.
    name = quoted(key.name)
    replaced = f"DROP CONSTRAINT IF EXISTS {name}, ADD CONSTRAINT {name} {definition}"
    return f"ALTER TABLE {quoted(key.owner)} {replaced}"


def _retype(key: Key, source: Attributes, target: Attributes) -> Iterator[str]:
    name = quoted(key.name)
    alter = f"ALTER TABLE {quoted(key.owner)} ALTER COLUMN {name}"
    kind = target["type"]
    text = "text[]" if kind.endswith("[]") else "text"
    if "default" in source:
        yield f"{alter} DROP DEFAULT"
    yield f"{alter} TYPE {kind} USING {name}::{text}::{kind}"
    if "default" in target:
        yield f"{alter} SET DEFAULT {target['default']}"
