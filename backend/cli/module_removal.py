"""`backend module remove`: deletes a module that nothing depends on, and writes the migration."""

import ast
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from backend.cli.databases import reachable_database
from backend.cli.listing import tables_of
from backend.cli.schema import core_settings
from backend.cli.terminal import CommandError, say, shown
from backend.core.module import Module
from backend.core.registry import discover

ROOT = Path(__file__).resolve().parents[2]
# Folders whose files are changed after the removal, because the application does not load them.
OTHERS = ("bench", "drills", "tests", "tools")
# In a process of its own: this one has loaded the tables of the module.
REVISION = """
import json, sys
from backend.cli.revision import revision
revision(**json.loads(sys.argv[1]))
"""


def run(name: str, *, dry_run: bool, confirmed: bool) -> None:
    modules = discover()
    module = next((module for module in modules if module.name == name), None)
    if module is None:
        names = ", ".join(sorted(module.name for module in modules))
        raise CommandError(f"There is no module '{name}'. There are: {names}.")
    if found := sorted({*uses(module, modules)}):
        lines = "\n".join(f"  {line}" for line in found)
        raise CommandError(f"Module '{name}' is in use; first change:\n{lines}")
    folders = [folder for folder in folders_of(name) if folder.exists()]
    tables = tables_of(module)
    permissions = sorted(name for each in module.features for name in each.permissions)
    _require_committed(folders)
    say(f"This removes {' and '.join(shown(folder) for folder in folders)}, and by a migration:")
    say(f"  tables       {', '.join(tables) or '-'}")
    say(f"  permissions  {', '.join(permissions) or '-'}")
    if jobs := ", ".join(job.name for job in module.all_jobs):
        say(f"Jobs that are still queued fail three days later, and are then listed: {jobs}")
    if later := sorted({*uses_elsewhere(name)}):
        say("Change afterwards:\n" + "\n".join(f"  {place}" for place in later))
    if dry_run:
        say("Nothing has been changed.")
        return
    if tables or permissions:
        _require_database()
    if not confirmed and not _agreed(name):
        raise CommandError("Nothing has been changed.")
    _delete(folders)
    if tables or permissions:
        written = {
            "message": f"remove {name}",
            "statements": [*_statements(permissions)],
            "unsafe": dict(_reasons(name, tables, permissions)),
        }
        command = [sys.executable, "-c", REVISION, json.dumps(written)]
        _run(command, "the migration", _restored(folders))
    for tool in ("pages", "errors"):
        if (ROOT / "tools" / f"{tool}.py").exists():
            remedy = f"run `python -m tools.{tool}`."
            _run([sys.executable, "-m", f"tools.{tool}"], "a generated page", remedy)
    say(f"Removed the module '{name}'. Next:")
    say("  read the migration, and apply it: backend db upgrade")
    for place in later:
        say(f"  change {place}")
    say("  make openapi client")
    say('  make contract args="--release", if the loss of its routes is intended')
    say("  make check && make test")
    say("  commit the change; a release that runs meanwhile needs the tables until it is replaced")


def folders_of(name: str) -> tuple[Path, Path]:
    return ROOT / "backend" / "modules" / name, ROOT / "tests" / "modules" / name


def uses(module: Module, modules: Sequence[Module]) -> Iterator[str]:
    """Yield a line `file:line what` for everything in `backend` that names the module."""
    permissions = {name for each in module.features for name in each.permissions}
    dependents = {each.name for each in modules if module.name in each.depends_on}
    for place, tree in _parsed(("backend",), module.name):
        if isinstance(tree, str):
            yield f"{place}:{tree}"
            continue
        for node in ast.walk(tree):
            if any(_is_below(each, module.name) for each in _imports(node)):
                yield f"{place}:{getattr(node, 'lineno', 1)} imports it"
            for permission in sorted(permissions & _checked(node)):
                yield f"{place}:{getattr(node, 'lineno', 1)} checks its permission {permission}"
            if not isinstance(node, ast.Constant):
                continue
            is_manifest = place.parts[:2] == ("backend", "modules") and place.name == "manifest.py"
            if is_manifest and place.parts[2] in dependents and node.value == module.name:
                yield f"{place}:{node.lineno} declares that it depends on it"


def uses_elsewhere(name: str) -> Iterator[str]:
    """Yield a line `file:line what` for each use of the module by tests, programs and examples."""
    for place, tree in _parsed(OTHERS, name):
        if isinstance(tree, str):
            yield f"{place}:{tree}"
            continue
        for node in ast.walk(tree):
            if any(_is_below(each, name) for each in _imports(node)):
                yield f"{place}:{getattr(node, 'lineno', 1)} imports it"
    schemas = "|".join(sorted(_classes(name))) or "$^"
    used = re.compile(rf"\bapi\.{name}(\.|\[)|Schemas\[[\"']({schemas})[\"']\]")
    for file in sorted((ROOT / "examples").glob("*/src/**/*.ts*")):
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
            if used.search(line):
                yield f"{file.relative_to(ROOT)}:{number} uses it"


def _classes(name: str) -> Iterator[str]:
    """Yield the names of the module's classes, among them its schemas."""
    for file in folders_of(name)[0].rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                yield node.name


def _parsed(folders: Sequence[str], name: str) -> Iterator[tuple[Path, ast.Module | str]]:
    """Yield each file outside of the module with its tree, or with its line that is no Python."""
    own = folders_of(name)
    for file in sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py")):
        if any(folder in file.parents for folder in own):
            continue
        place = file.relative_to(ROOT)
        try:
            yield place, ast.parse(file.read_text("utf-8"))
        except SyntaxError as error:
            yield place, f"{error.lineno or 1} is not valid Python, so its imports are not known"


def _checked(node: ast.AST) -> set[str]:
    """Return the permission that a call of `require`, `may` or `must` checks."""
    if not isinstance(node, ast.Call):
        return set()
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    values = (each.value for each in node.args if isinstance(each, ast.Constant))
    return {str(each) for each in values} if name in ("require", "may", "must") else set()


def _imports(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and not node.level:
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def _is_below(imported: str, module: str) -> bool:
    return re.match(rf"(backend|tests)\.modules\.{module}(\.|$)", imported) is not None


def _require_committed(folders: Sequence[Path]) -> None:
    """Raise `CommandError` unless git has the folders as they are, so that they can come back."""
    command = ["git", "status", "--porcelain", "--untracked-files=all", "--ignored=matching"]
    command += ["--", *map(str, folders)]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise CommandError(
            f"git does not tell whether {shown(folders[0])} is committed, and a removed module "
            "could not be restored: run the command in a clone."
        ) from error
    changed = [line for line in done.stdout.splitlines() if "__pycache__/" not in line]
    if changed:
        lines = "\n".join(changed)
        raise CommandError(f"Commit, undo or move these changes first (!! is ignored):\n{lines}")


def _require_database() -> None:
    """Raise `CommandError` unless a migration can be written."""
    settings = core_settings()
    if not settings.is_local:
        raise CommandError("Migrations are written in development: set ENVIRONMENT=development.")
    with reachable_database(settings):
        pass


def _agreed(name: str) -> bool:
    try:
        return input(f"Remove '{name}'? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        raise CommandError(
            "Nothing has been changed: there is no terminal to confirm the removal; add --yes."
        ) from None


def _delete(folders: Sequence[Path]) -> None:
    for folder in folders:
        try:
            shutil.rmtree(folder)
        except OSError as error:
            raise CommandError(
                f"{error.filename or folder} cannot be deleted ({error.strerror or error}): "
                f"solve that, {_restored(folders)}"
            ) from error


def _restored(folders: Sequence[Path]) -> str:
    """Return the commands that undo the deletion and begin again."""
    places = " ".join(shlex.quote(str(folder.relative_to(ROOT))) for folder in folders)
    return f"restore the module with `git checkout -- {places}`, and remove it again."


def _statements(permissions: Sequence[str]) -> Iterator[str]:
    """Yield the SQL that takes the permissions from all roles."""
    for name in permissions:  # the registry admits letters, digits and underscores only
        removed = f"array_remove(permissions, '{name}')"
        yield f"UPDATE roles SET permissions = {removed}"  # noqa: S608  # see above
        yield f"DELETE FROM permissions WHERE name = '{name}'"  # noqa: S608  # see above


def _reasons(
    name: str, tables: Sequence[str], permissions: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Yield what `backend db check` refuses in the migration, with the reason why it may be."""
    for table in tables:
        reason = f"The module is removed: until it is replaced, the former release fails in {name}."
        yield f"{table} is dropped", reason
    for table in ("roles", "permissions") if permissions else ():
        yield f"rows changed in {table}", "There are few rows, and they change rarely."


def _run(command: Sequence[str], what: str, remedy: str) -> None:
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        raise CommandError(f"{what.capitalize()} could not be written: solve that, then {remedy}")
