"""`backend module remove`: deletes a module that nothing depends on, and writes the migration."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from backend.cli.listing import tables_of
from backend.cli.terminal import CommandError, say, shown
from backend.core.module import Module
from backend.core.registry import discover

ROOT = Path(__file__).resolve().parents[2]
# Folders whose files may use a module.
SEARCHED = ("backend", "bench", "drills", "tests", "tools")
# In a process of its own: this one has loaded the tables of the module.
REVISION = "import sys; from backend.cli.revision import revision; revision(*sys.argv[1:])"


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
    if dry_run:
        say("Nothing has been changed.")
        return
    if not confirmed and input(f"Remove '{name}'? [y/N] ").strip().lower() not in ("y", "yes"):
        raise CommandError("Nothing has been changed.")
    for folder in folders:
        shutil.rmtree(folder)
    if tables or permissions:
        arguments = [f"remove {name}", *_statements(permissions)]
        _run([sys.executable, "-c", REVISION, *arguments], "the migration")
    if (ROOT / "tools" / "pages.py").exists():
        _run([sys.executable, "-m", "tools.pages"], "the generated pages")
    say(f"Removed the module '{name}'. Next:")
    say("  read the migration, and apply it: backend db upgrade")
    say("  make check && make test")
    say("  commit the change; a release that runs meanwhile needs the tables until it is replaced")


def folders_of(name: str) -> tuple[Path, Path]:
    return ROOT / "backend" / "modules" / name, ROOT / "tests" / "modules" / name


def uses(module: Module, modules: Sequence[Module]) -> Iterator[str]:
    """Yield a line `file:line what` for everything outside of the module that names it."""
    own = folders_of(module.name)
    permissions = {name for each in module.features for name in each.permissions}
    dependents = {each.name for each in modules if module.name in each.depends_on}
    for file in sorted(file for folder in SEARCHED for file in (ROOT / folder).rglob("*.py")):
        if any(folder in file.parents for folder in own):
            continue
        tree = ast.parse(file.read_text("utf-8"))
        place = file.relative_to(ROOT)
        in_backend = place.parts[0] == "backend"
        for node in ast.walk(tree):
            if in_backend and any(_is_below(each, module.name) for each in _imports(node)):
                yield f"{place}:{getattr(node, 'lineno', 1)} imports it"
            for permission in sorted(permissions & _checked(node)) if in_backend else ():
                yield f"{place}:{getattr(node, 'lineno', 1)} checks its permission {permission}"
            if not isinstance(node, ast.Constant):
                continue
            is_manifest = place.parts[:2] == ("backend", "modules") and place.name == "manifest.py"
            if is_manifest and place.parts[2] in dependents and node.value == module.name:
                yield f"{place}:{node.lineno} declares that it depends on it"


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
    command = ["git", "status", "--porcelain", "--ignored=no", "--", *map(str, folders)]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise CommandError(
            f"git does not tell whether {shown(folders[0])} is committed, and a removed module "
            "could not be restored: run the command in a clone."
        ) from error
    if done.stdout.strip():
        raise CommandError(f"Commit or undo these changes first:\n{done.stdout.rstrip()}")


def _statements(permissions: Sequence[str]) -> Iterator[str]:
    """Yield the SQL that takes the permissions from all roles."""
    for name in permissions:  # the registry admits letters, digits and underscores only
        removed = f"array_remove(permissions, '{name}')"
        yield f"UPDATE roles SET permissions = {removed}"  # noqa: S608  # see above
        yield f"DELETE FROM permissions WHERE name = '{name}'"  # noqa: S608  # see above


def _run(command: Sequence[str], what: str) -> None:
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        raise CommandError(
            f"The module is removed, but {what} could not be written: solve that, then run "
            "`make migration` and `make pages`, or restore the folders with git."
        )
