"""`backend module new`: check the names, render the files, try them, and write them."""

import importlib
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import backend.modules
from backend.cli.scaffold.fields import Field, parse_fields
from backend.cli.scaffold.formatting import formatted
from backend.cli.scaffold.names import Names, check_collisions, parse_name
from backend.cli.scaffold.references import target_of
from backend.cli.scaffold.rendering import render
from backend.cli.terminal import CommandError, say
from backend.core.registry import RegistryError, discover
from backend.db.base import Base
from backend.db.schema.migrations import FOLDER

ROOT = FOLDER.parent
NEXT = """
Next:
  1. Read the files. Each sort and filter costs two indexes: delete those that nobody needs from
     models.py, queries.py and {migration}.
  2. make check
  3. make test args="tests/modules/{plural}"
  4. make dev migrates, and shows {path} in /docs. Editors, members and viewers have the
     permissions that manifest.py grants.
  5. make pages openapi client adds it to the documents and the TypeScript client."""


def run(name: str, fields: str, singular: str | None, *, dry_run: bool) -> None:
    names = parse_name(name, singular)
    wanted = parse_fields(fields)
    modules = discover()
    check_collisions(names, wanted, ROOT)
    targets = [target_of(field.arguments[0], modules) for field in wanted if field.kind == "ref"]
    files = formatted(render(names, wanted, targets))
    files |= formatted(_migration(names, files))
    if not dry_run:
        _write(files)
    _report(names, wanted, files, dry_run=dry_run)


def _migration(names: Names, files: Mapping[str, str]) -> dict[str, str]:
    """Return the migration. The module is loaded for it, as at a start, in a temporary folder.

    Raise `CommandError` if the registry refuses the module, before anything is written.
    """
    from backend.cli.scaffold.migration import migration_of

    with tempfile.TemporaryDirectory() as folder:
        _write(files, Path(folder))
        backend.modules.__path__.append(str(Path(folder) / "backend" / "modules"))
        importlib.invalidate_caches()
        sys.dont_write_bytecode = True
        try:
            discover()
        except RegistryError as error:
            raise CommandError(f"The module would not load: {error}") from error
        finally:
            backend.modules.__path__.pop()
    path, text = migration_of(Base.metadata.tables[names.plural])
    return {path: text}


def _write(files: Mapping[str, str], root: Path = ROOT) -> None:
    written: list[Path] = []
    folders: list[Path] = []  # that are new, outer ones first
    try:
        for path, text in files.items():
            file = root / path
            folders += [each for each in reversed(file.parents) if not each.exists()]
            file.parent.mkdir(parents=True, exist_ok=True)
            # Never over an existing file.
            with file.open("x", encoding="utf-8") as opened:
                written.append(file)
                opened.write(text)
    except OSError as error:
        for file in written:
            file.unlink(missing_ok=True)
        for folder in reversed(folders):
            if folder.exists():
                folder.rmdir()
        raise CommandError(
            f"Nothing was written, because {error.filename} cannot be ({error.strerror}): make the "
            "folder yours, or remove what is there."
        ) from error


def _report(
    names: Names, fields: Sequence[Field], files: Mapping[str, str], *, dry_run: bool
) -> None:
    say("It would write:" if dry_run else "Wrote:")
    for path, text in files.items():
        say(f"  {path:<48}{len(text.splitlines()):>4} lines")
    if not dry_run:
        migration = next(path for path in files if path.startswith("migrations/"))
        say(NEXT.format(plural=names.plural, path=names.path, migration=migration))
        for field in fields:
            if field.kind == "ref" and not field.optional:
                say(_of_deletions(names, field))


def _of_deletions(names: Names, field: Field) -> str:
    """Return what happens to the rows when the row that they refer to is deleted."""
    module = field.arguments[0]
    return (
        f"Deleting a row of {module} deletes the {names.words} that refer to it as {field.words}, "
        f"whoever owns them.\n{field.noun}:ref({module})? keeps them, without the reference."
    )
