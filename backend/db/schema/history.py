"""The migration history, parsed from the files without executing them.

Alembic executes every file, which costs a server process 30 MB and half a second, and reports a
broken history with a traceback or a warning.
"""

import ast
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

# The migrations of a project that started from Trellis have larger numbers.
OWN_NUMBERS = 1000


class HistoryError(Exception):
    """The migrations do not form a linear history. `str()` is a sentence with the remedy."""


@dataclass(frozen=True)
class Migration:
    file: str
    revision: str
    parents: tuple[str, ...]


def read_history(folder: Path) -> tuple[str | None, frozenset[str]]:
    """Return the newest revision (None without migrations) and the set of all revisions.

    Raise `HistoryError` unless every file can be parsed and the history has exactly one head.
    """
    migrations: dict[str, Migration] = {}
    for file in sorted(folder.glob("*.py")):
        if file.name == "__init__.py" or file.name.startswith(".#"):  # an editor's lock file
            continue
        migration = _read(file)
        if migration.revision in migrations:
            other = migrations[migration.revision]
            raise HistoryError(_same_number(migrations, other, migration))
        migrations[migration.revision] = migration
    _require_parents(migrations)
    heads = sorted(migrations.keys() - {p for m in migrations.values() for p in m.parents})
    in_line = frozenset(name for head in heads for name in _line(migrations, head))
    if stray := sorted(migrations.keys() - in_line):
        raise HistoryError(
            f"The migrations {_listed(stray)} follow each other in a circle: correct "
            "`down_revision` in migrations/versions so that the first of them follows none of them."
        )
    if len(heads) > 1:
        raise HistoryError(_two_ends(migrations, heads))
    return next(iter(heads), None), in_line


def _read(file: Path) -> Migration:
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, OSError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise HistoryError(
            f"The migration {file.name} cannot be read ({reason}{line}): correct it."
        ) from None
    assigned = dict(_assigned(tree))
    revision = assigned.get("revision")
    if not isinstance(revision, str):
        raise HistoryError(
            f"The migration {file.name} does not say which one it is: set `revision` in it to a "
            "text such as the number at the beginning of the file's name, or remove the file."
        )
    parents = assigned.get("down_revision") or ()
    if isinstance(parents, str):
        parents = (parents,)
    if not isinstance(parents, tuple | list) or not all(isinstance(p, str) for p in parents):
        raise HistoryError(
            f"The migration {file.name} does not say which one it follows: set `down_revision` in "
            "it to the revision before it, a text."
        )
    return Migration(file.name, revision, tuple(parents))


def _assigned(tree: ast.Module) -> Iterator[tuple[str, object]]:
    """Yield the module-level names and the literals assigned to them.

    The value is `NotImplemented` if it is not a literal.
    """
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            targets: list[ast.expr] = statement.targets
        elif isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name) and statement.value is not None:
                try:
                    yield target.id, ast.literal_eval(statement.value)
                except ValueError:
                    yield target.id, NotImplemented


def _same_number(migrations: Mapping[str, Migration], one: Migration, other: Migration) -> str:
    numbers = [int(name) for name in migrations if name.isdecimal()]
    following = f"{max(numbers, default=0) + 1:04}"
    return (
        f"Two migrations have the revision {one.revision} ({one.file} and {other.file}): in the "
        f'later one set `revision` to "{following}" and `down_revision` to the newest of the '
        "others, and begin the file's name with that number."
    )


def _require_parents(migrations: Mapping[str, Migration]) -> None:
    for migration in migrations.values():
        for parent in migration.parents:
            if parent not in migrations:
                raise HistoryError(
                    f"The migration {migration.file} follows revision {parent}, which no file in "
                    "migrations/versions has: set its `down_revision` to the revision before it, "
                    "or bring the missing file back."
                )


def _line(migrations: Mapping[str, Migration], head: str) -> set[str]:
    """Return a revision and all its ancestors."""
    visited: set[str] = set()
    waiting = [head]
    while waiting:
        name = waiting.pop()
        if name not in visited:
            visited.add(name)
            waiting += migrations[name].parents
    return visited


def _two_ends(migrations: Mapping[str, Migration], heads: Collection[str]) -> str:
    # Databases have the project's own migrations before those of a later release of Trellis.
    kept, *_, moved = sorted(heads, key=lambda name: (not _is_own(name), name))
    branch = _line(migrations, moved) - _line(migrations, kept)
    first = next(
        migrations[name] for name in sorted(branch) if not branch & {*migrations[name].parents}
    )
    return (
        f"The history has {len(heads)} ends ({_listed(heads)}): set `down_revision` in "
        f'migrations/versions/{first.file} to "{kept}", so that each migration follows another.'
    )


def _is_own(revision: str) -> bool:
    return revision.isdecimal() and int(revision) > OWN_NUMBERS


def _listed(names: Collection[str]) -> str:
    return ", ".join(names)
