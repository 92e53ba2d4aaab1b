"""Sentences about migrations that block an application in use, with the safe form."""

from collections.abc import Mapping

_BLOCK = "with op.get_context().autocommit_block():"
_LONGEST = 90
_STRONGEST = "AccessExclusiveLock"

# The name of the breach in `unsafe`, the work that takes long under the lock, and the safe form.
_WORK = {
    "index": (
        "index on {0}",
        "builds an index of {0}",
        f"`{_BLOCK} op.create_index(..., postgresql_concurrently=True)` does not lock",
    ),
    "constraint": (
        "unique constraint on {0}",
        "builds the index of a constraint of {0}",
        (
            f"build it before, with `{_BLOCK} op.create_index(..., unique=True, "
            'postgresql_concurrently=True)`, and add it with `op.execute("ALTER TABLE {0} ADD '
            'CONSTRAINT ... UNIQUE USING INDEX ...")` (or PRIMARY KEY)'
        ),
    ),
    "exclusion": (
        "exclusion constraint on {0}",
        "builds the index of an exclusion constraint of {0}",
        (
            "PostgreSQL has no form that does not lock, so create a table with the constraint "
            "and move the rows in batches"
        ),
    ),
    "scan": (
        "scan of {0}",
        "scans {0} to verify a constraint",
        (
            "add a CHECK (for NOT NULL: that the column IS NOT NULL) with "
            f"`op.create_check_constraint(..., postgresql_not_valid=True)`, then `{_BLOCK} "
            'op.execute("ALTER TABLE {0} VALIDATE CONSTRAINT ...")`; after that SET NOT NULL needs '
            "no scan"
        ),
    ),
    "foreign key": (
        "foreign key of {0}",
        "verifies a foreign key of all rows of {0}",
        (
            f"`{_BLOCK} op.create_foreign_key(..., postgresql_not_valid=True)`, and in the same "
            'block `op.execute("ALTER TABLE {0} VALIDATE CONSTRAINT ...")`, do not lock for long'
        ),
    ),
    "rewrite": (
        "rewrite of {0}",
        "rewrites {0}",
        (
            "`op.add_column` with a nullable column, or a constant as `server_default`, does "
            f"not rewrite: fill it in batches (`{_BLOCK}`), let a release write both columns, and "
            "drop the old one in a later release"
        ),
    ),
    "rows": (
        "rows under a lock on {0}",
        "reads or changes rows",
        f"change rows after the lock is released, in batches: `{_BLOCK} op.execute(...)`",
    ),
    "dropped index": (
        "index dropped from {0}",
        "drops an index of {0}, for which it waits until all transactions on {0} have ended,",
        f"`{_BLOCK} op.drop_index(..., postgresql_concurrently=True)` does not lock",
    ),
}
# The name of the breach in `unsafe`, the effect on the former release, and the safe sequence.
_FORMER = {
    "changed rows": (
        "rows changed in {0}",
        (
            "changes rows of {0} in the migration's transaction, which locks them until it ends, "
            "so that the former release cannot change them"
        ),
        (
            f"change them in batches, each committed by itself: `{_BLOCK}`, and in it a loop that "
            "changes 1000 rows of {0} at a time (`... WHERE id IN (SELECT id ... LIMIT 1000)`) "
            "until none is left"
        ),
    ),
    "dropped column": (
        "{0} is dropped",
        "drops {0}, which the former release still reads and writes",
        "release code that does not use the column, and drop it in the release after that",
    ),
    "renamed column": (
        "{0} is renamed",
        "renames {0}, which the former release still uses by this name",
        (
            "add a second column with `op.add_column`, release code that writes both and fill the "
            "new one, then release code that reads the new one, and drop the old one after that"
        ),
    ),
    "required column": (
        "{0} is required",
        "adds {0}, without which the former release still inserts rows",
        (
            "add it with a constant as `server_default`, or with `nullable=True`, and set NOT NULL "
            "in the release after the one that fills it"
        ),
    ),
    "dropped table": (
        "{0} is dropped",
        "drops {0}, which the former release still uses",
        "release code that does not use the table, and drop it in the release after that",
    ),
    "renamed table": (
        "{0} is renamed",
        "renames {0}, which the former release still uses by this name",
        (
            "keep the name in PostgreSQL and set `__tablename__`, or create a second table, "
            "release code that writes both, and drop the old one in a later release"
        ),
    ),
}


def sentence(
    kind: str, subject: str, held: Mapping[str, str], place: str, statement: str
) -> tuple[str, str]:
    """Return the name of a breach and its sentence.

    subject  the table, or table.column
    held     the strongest of the migration's locks, by table
    place    the file and line of the statement
    """
    name, does, safe = (form.format(subject) for form in (_WORK | _FORMER)[kind])
    shown = statement if len(statement) <= _LONGEST else f"{statement[:_LONGEST]}..."
    if kind in _WORK:
        strong = sorted(table for table, mode in held.items() if mode == _STRONGEST)
        blocked = " and ".join(strong or sorted(held)) or subject
        what = "reads and writes" if strong or not held else "writes"
        lock = _STRONGEST if strong or not held else next(iter(held.values()))
        does = f"{does} under a lock ({lock}) that blocks all {what} of {blocked}"
    override = f'or give the reason why it may: `unsafe = {{"{name}": "..."}}`'
    return name, f"{place}: `{shown}` {does}: {safe}, {override}."
