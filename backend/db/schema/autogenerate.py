"""Operations that Alembic's autogenerate leaves out, derived from the catalogs.

Alembic neither creates, alters nor drops enum types, and does not see changed CHECK and exclusion
constraints or the predicate of an index. Only `migrations/env.py` and the command that writes a
migration import this module, because it imports Alembic.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import (
    renderers,
)
from alembic.operations import ops

from backend.db.schema.catalogs import OPTIONAL_KINDS, Attributes, Catalog, Key, quoted
from backend.db.schema.drift import Difference, Drift
from backend.db.schema.rendering import escaped

_REPLACEABLE = ("CHECK constraint", "exclusion constraint", "foreign key", "unique constraint")


class AddMembersOp(ops.MigrateOperation):
    """`ALTER TYPE ... ADD VALUE`, committed at once.

    Otherwise nothing else in the migration could use the new members. It may be repeated.
    """

    def __init__(self, statements: Sequence[str]) -> None:
        self.statements = statements


@renderers.dispatch_for(AddMembersOp)
def _render_add_members(_: AutogenContext, op: AddMembersOp) -> list[str]:
    # An empty line ends the block for the printer of Alembic.
    return [
        "with op.get_context().autocommit_block():",
        *(f"op.execute({statement!r})" for statement in op.statements),
        None,  # type: ignore[list-item]  # ends the block
    ]


def complete(script: ops.MigrationScript, drift: Drift) -> None:
    """Add what is missing in both directions."""
    assert script.upgrade_ops is not None
    assert script.downgrade_ops is not None
    for found, wanted, container in (
        (drift.found, drift.wanted, script.upgrade_ops),
        (drift.wanted, drift.found, script.downgrade_ops),
    ):
        keys = [each.key for each in drift.differences]
        steps = _Steps(found, wanted, container, keys)
        container.ops[:] = [*steps.first(), *container.ops, *steps.last()]


def is_written(difference: Difference) -> bool:
    """Whether the generated migration mends this difference."""
    key, changed = difference.key, set(difference.changed)
    if difference.found is None or difference.wanted is None:
        return key.kind not in ("sequence", "domain", *OPTIONAL_KINDS)
    if key.kind == "column":
        return not changed & {"generated expression", "generation", "sequence", "collation"}
    return changed <= {"comment"} or key.kind in (*_REPLACEABLE, "index", "enum type")


@dataclass
class _Steps:
    """The statements around Alembic's own operations, from one catalog to another."""

    found: Catalog
    wanted: Catalog
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
            if key.kind == "enum type" and key not in self.found:
                yield _execute(_create_type(key.name, self.wanted[key]))
        for key in self.keys:
            if key in self.found and self._is_ours(key):
                yield _execute(_drop(key))
        for key in self.keys:
            if self._is_recreated(key):
                yield from map(_execute, self._recreate(key))

    def last(self) -> Iterator[ops.MigrateOperation]:
        for key in self.keys:
            if key in self._typed:
                yield from map(_execute, _retype(key, self.found[key], self.wanted[key]))
        for key in self.keys:
            if key in self.wanted and self._is_ours(key):
                yield _execute(_create(key, self.wanted[key]["definition"]))
        for key in self.keys:
            if key.kind == "enum type" and key not in self.wanted:
                yield _execute(f"DROP TYPE {quoted(key.name)}")

    def _is_ours(self, key: Key) -> bool:
        return key.kind in (*_REPLACEABLE, "index") and key.name not in self._named

    def _is_recreated(self, key: Key) -> bool:
        if key.kind != "enum type" or key not in self.found or key not in self.wanted:
            return False
        return _added(_members(self.found[key]), _members(self.wanted[key])) is None

    def _add_members(self) -> Iterator[ops.MigrateOperation]:
        for key in self.keys:
            if key.kind == "enum type" and key in self.found and key in self.wanted:
                added = _added(_members(self.found[key]), _members(self.wanted[key]))
                if added:
                    alter = f"ALTER TYPE {quoted(key.name)} ADD VALUE IF NOT EXISTS"
                    yield AddMembersOp([escaped(f"{alter} {each}") for each in added])

    def _recreate(self, enum: Key) -> Iterator[str]:
        """Members can be added in place, but not removed or moved."""
        name, former = quoted(enum.name), quoted(f"{enum.name}_former")
        bound = [
            (key, attributes["definition"])
            for key, attributes in self.found.items()
            if key.kind in ("CHECK constraint", "index")
            and key not in self.keys
            and _mentions(attributes, enum)
        ]
        yield from (_drop(key) for key, _ in bound)
        yield f"ALTER TYPE {name} RENAME TO {former}"
        yield _create_type(enum.name, self.wanted[enum])
        for key, attributes in self.found.items():
            if key.kind == "column" and attributes["type"].removesuffix("[]") == name:
                # The default of before may be a member that is gone.
                later = self.wanted.get(key, {})
                kept = later if later.get("type") == attributes["type"] else {}
                yield from _retype(key, attributes, {**kept, "type": attributes["type"]})
        yield from (_create(key, definition) for key, definition in bound)
        yield f"DROP TYPE {former}"

    def _take_over_conditions(self) -> None:
        """Drop everything that names members of a type before the type is replaced."""
        enums = [key for key in self.keys if self._is_recreated(key)]
        taken = {
            key.name
            for key in self.keys
            for side in (self.found, self.wanted)
            if any(_mentions(side.get(key, {}), enum) for enum in enums)
        }
        for group in self.container.ops:
            if isinstance(group, ops.ModifyTableOps):
                group.ops[:] = [op for op in group.ops if _name(op) not in taken]

    def _take_over_enum_columns(self) -> None:
        """Alembic changes the type without `USING`, which no enum type allows."""
        enums = {quoted(key.name) for key in (*self.found, *self.wanted) if key.kind == "enum type"}
        for group in self.container.ops:
            if not isinstance(group, ops.ModifyTableOps):
                continue
            for op in list(group.ops):
                if not isinstance(op, ops.AlterColumnOp) or op.modify_type is None:
                    continue
                key = Key("column", op.table_name, op.column_name)
                types = {side[key]["type"].removesuffix("[]") for side in (self.found, self.wanted)}
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
    """Of the index or constraint that an operation of Alembic makes or drops."""
    return getattr(op, "index_name", None) or getattr(op, "constraint_name", None)


def _mentions(attributes: Attributes, enum: Key) -> bool:
    literal = rf"::{re.escape(quoted(enum.name))}(?!\w)"
    return re.search(literal, attributes.get("definition", "")) is not None


def _execute(statement: str) -> ops.MigrateOperation:
    return ops.ExecuteSQLOp(escaped(statement))


def _members(attributes: Attributes) -> list[str]:
    """As literals of SQL."""
    return re.findall(r"'(?:[^']|'')*'", attributes["members"])


def _added(found: Sequence[str], wanted: Sequence[str]) -> list[str] | None:
    """Each new member with its place; None if members are removed or change places."""
    if [member for member in wanted if member in found] != list(found):
        return None
    places = []
    for position, member in enumerate(wanted):
        if member not in found:
            place = f"AFTER {wanted[position - 1]}" if position else f"BEFORE {found[0]}"
            places.append(f"{member} {place}")
    return places


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
    # A new column of a type such as sa.Enum(create_constraint=True) has brought it already.
    name = quoted(key.name)
    replaced = f"DROP CONSTRAINT IF EXISTS {name}, ADD CONSTRAINT {name} {definition}"
    return f"ALTER TABLE {quoted(key.owner)} {replaced}"


def _retype(key: Key, found: Attributes, wanted: Attributes) -> Iterator[str]:
    name = quoted(key.name)
    alter = f"ALTER TABLE {quoted(key.owner)} ALTER COLUMN {name}"
    kind = wanted["type"]
    text = "text[]" if kind.endswith("[]") else "text"
    if "default" in found:
        yield f"{alter} DROP DEFAULT"
    yield f"{alter} TYPE {kind} USING {name}::{text}::{kind}"
    if "default" in wanted:
        yield f"{alter} SET DEFAULT {wanted['default']}"
