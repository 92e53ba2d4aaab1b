"""`backend rename`: gives the project the name of the product that it becomes.

Renamed is what people read, and what installations are called: the package, containers, services,
users of the system. Not renamed is what the data of a running installation depends on (labels of
keys, digests, names in Redis, roles of PostgreSQL), and the names of metrics, which dashboards and
alerts use.
"""

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions

from backend.cli.manifest import (
    ROOT,
    UPSTREAM_NAME,
    UPSTREAM_TITLE,
    files_of,
    is_named,
    is_recorded,
    renamed_path,
    run_git,
)
from backend.cli.terminal import CommandError, say
from backend.product import NAME, TITLE

# Lines about names that stay.
_KEPT = re.compile(
    r"postgresql://|POSTGRES_USER|PGUSER|--username=|createuser|createdb|\bROLE\b|grafana|JWT_|"
    r"STORAGE_URL"
)
# The name of the Compose project is a part of the names of its volumes.
_VOLUME = re.compile(r"docker volume")
_TITLE = re.compile(rf"\b{UPSTREAM_TITLE}\b")
_NAME = re.compile(rf"(?<![A-Za-z0-9]){UPSTREAM_NAME}(?![A-Za-z0-9]|_[a-z]|\.[a-z]+[._][a-z])")
_VOLUME_NAME = re.compile(rf"\b{UPSTREAM_NAME}(?=_|\b)")
FORM = re.compile(r"[A-Za-z][A-Za-z0-9']*(?:(?:[ -]| ?& ?)[A-Za-z0-9][A-Za-z0-9']*)*")
MAX_LENGTH = 30  # of names of system users
# The services run as users of the system with the name of the product.
SYSTEM_USERS = ("root", "daemon", "nobody", "postgres", "pgbouncer", "nginx", "redis", "prometheus")


@dataclass(frozen=True)
class Names:
    title: str
    name: str


def run(title: str, *, dry_run: bool) -> None:
    names = _checked(title)
    if not dry_run and run_git(ROOT, "status", "--porcelain").strip():
        raise CommandError(
            "There are changes that are not committed: commit or stash them first, so that "
            "`git diff` shows what was renamed."
        )
    paths = list(filter(is_named, files_of(ROOT)))
    ambiguous = list(_ambiguous(names, paths)) if NAME == UPSTREAM_NAME else []
    changed = {path: text for path in paths if (text := _renamed(path, names)) is not None}
    targets = {path: renamed_path(path, UPSTREAM_NAME, names.name) for path in paths}
    moved = {path: target for path, target in targets.items() if path != target}
    if dry_run:
        for path in sorted({*changed, *moved}):
            say(f"{path} -> {moved[path]}" if path in moved else path)
        say(f"Files that would change: {len({*changed, *moved})}. Nothing was written.")
        _warn(names, ambiguous)
        return
    for path, text in changed.items():
        (ROOT / path).write_text(text, encoding="utf-8", newline="")
    for path, target in moved.items():
        run_git(ROOT, "mv", path, target)
    if not changed and not moved:
        say(f"The project is called {names.title} already; nothing was left to rename.")
        return
    _install()
    say(
        f"The project is called {names.title} now, and its package {names.name}: "
        f"changed files: {len({*changed, *moved})}. Look at them with `git diff HEAD`, run "
        "`make check` and `make test`, and commit."
    )
    say(
        "Unchanged: roles and databases of PostgreSQL, metrics, and JWT_ISSUER and JWT_AUDIENCE, "
        "which are settings. An installation of compose.yaml that has data keeps it with "
        f"COMPOSE_PROJECT_NAME={UPSTREAM_NAME} in its .env."
    )
    _warn(names, ambiguous)


def _checked(title: str) -> Names:
    names = Names(title, _name_of(title))
    if not FORM.fullmatch(title) or max(len(title), len(names.name)) > MAX_LENGTH:
        raise CommandError(
            "The name must begin with a letter A to Z, and have such letters, digits, hyphens, "
            f"single spaces, ' and &, at most {MAX_LENGTH} characters: backend rename "
            "'Your Product'. PRODUCT_NAME sets another one for mails and documentation."
        )
    if UPSTREAM_NAME in names.name.split("-"):
        raise CommandError(
            f"{UPSTREAM_TITLE} is the name that the command replaces: choose one without this word."
        )
    if names.name in SYSTEM_USERS:
        raise CommandError(f"{names.name} is a user of many systems: choose another name.")
    if UPSTREAM_NAME not in (NAME, names.name) and names != Names(TITLE, NAME):
        raise CommandError(
            f"The project is called {TITLE} already, and installations have that name: their "
            "services, containers and volumes. To change the name that people read, set "
            "PRODUCT_NAME; to begin anew, undo the first renaming with git."
        )
    installed = {each.metadata["Name"].lower().replace("_", "-") for each in distributions()}
    if names.name in installed - {NAME}:
        raise CommandError(f"{names.name} is a package in use: choose another name.")
    return names


def _name_of(title: str) -> str:
    """Return the name of the package: `oneil-and-sons` of "O'Neil & Sons"."""
    text = title.lower().replace("'", "").replace("&", " and ")
    return re.sub(r"[^a-z0-9]+", "-", text).strip("-")


def _ambiguous(names: Names, paths: Iterable[str]) -> Iterator[str]:
    """Yield the recorded files in which the name is a word already."""
    options = "|".join(map(re.escape, {names.title, names.name}))
    word = re.compile(rf"(?<![A-Za-z0-9])(?:{options})(?![A-Za-z0-9])".encode())
    for path in filter(is_recorded, paths):
        if word.search((ROOT / path).read_bytes()):
            yield path


def _warn(names: Names, ambiguous: Sequence[str]) -> None:
    if ambiguous:
        number = f"{len(ambiguous)} file" + ("" if len(ambiguous) == 1 else "s")
        say(
            f"'{names.title}' is a word in {number}, such as {ambiguous[0]}: `backend "
            "upgrade-check` cannot tell it from the name there, and counts them as changed by you."
        )


def _renamed(path: str, names: Names) -> str | None:
    """Return the new text of a file; None if nothing in it has to be renamed."""
    content = (ROOT / path).read_bytes()
    if b"\0" in content:  # an image
        return None
    text = content.decode()
    new = "".join(_lines(text, names))
    return None if new == text else new


def _lines(text: str, names: Names) -> Iterator[str]:
    for line in text.splitlines(keepends=True):
        if "authors =" in line:
            yield line
            continue
        line = _TITLE.sub(names.title, line)  # noqa: PLW2901
        if _VOLUME.search(line):
            yield _VOLUME_NAME.sub(names.name, line)
        else:
            yield line if _KEPT.search(line) else _NAME.sub(names.name, line)


def _install() -> None:
    """Install the package under its new name, if the project has an environment of its own."""
    if sys.prefix == str(ROOT / ".venv"):
        done = subprocess.run([sys.executable, "tools/bootstrap.py"], cwd=ROOT, check=False)
        if done.returncode:
            say("Run `make setup` before you go on.")
