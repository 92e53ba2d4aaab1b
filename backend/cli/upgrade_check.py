"""`backend upgrade-check`: the files of Trellis that a project has changed, and an upgrade."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from backend.cli.manifest import (
    FILE,
    MIGRATIONS,
    RENAMED,
    ROOT,
    Manifest,
    files_of,
    fingerprints,
    is_recorded,
    own_manifest,
    parsed,
    run_git,
)
from backend.cli.terminal import CommandError, say
from backend.db.schema.history import OWN_NUMBERS, HistoryError
from backend.db.schema.migrations import revisions
from backend.product import TITLE

SHOWN = 20  # paths of a list


@dataclass(frozen=True)
class Comparison:
    """Paths of the project, compared with a release: of Trellis, and the project's own."""

    changed: frozenset[str]
    removed: frozenset[str]
    added: frozenset[str]  # in folders of Trellis
    own: frozenset[str]  # modules, migrations, and all outside of Trellis's folders


def compare(release: Mapping[str, str], present: Mapping[str, str]) -> Comparison:
    """Compare fingerprints by path: those of a release with those of a project."""
    folders = {path.rpartition("/")[0] for path in release}
    new = {path for path in present.keys() - release.keys() if is_recorded(path)}
    own = {path for path in new if is_own(path, folders)}
    return Comparison(
        changed=frozenset(p for p in release.keys() & present.keys() if release[p] != present[p]),
        removed=frozenset(release.keys() - present.keys()),
        added=frozenset(new - own),
        own=frozenset(own),
    )


def is_own(path: str, folders: Collection[str]) -> bool:
    """Return whether a file that the release lacks is in a place for the project's own files."""
    folder = path.rpartition("/")[0]
    return path.startswith(MIGRATIONS) or folder not in folders or folder == ""


def run(against: str | None) -> int:
    """Print the comparison; return 1 if something has to be decided before an upgrade."""
    release = own_manifest(ROOT)
    present = fingerprints(ROOT, files_of(ROOT))
    found = compare(release.files, present)
    called = f", and is called {TITLE}" if RENAMED else ""
    say(f"This project contains Trellis {release.version} ({FILE}){called}.")
    for line in _own(found, release):
        say(line)
    newer = None if against is None else read_manifest(against)
    newest, problem = _history()
    say(problem or f"The migrations form one line, which ends with {newest}.")
    problems = bool(problem)
    if newer is not None:
        say()
        for is_problem, line in _upgrade(release, newer, found, present, newest):
            problems |= is_problem
            say(line)
    return 1 if problems else 0


def _own(found: Comparison, release: Manifest) -> Iterator[str]:
    yield f"Yours: {_count(found.own, 'file')}{_modules(found.own)}."
    if not (found.changed or found.removed or found.added):
        yield f"You have changed none of Trellis's {len(release.files)} files."
        return
    yield from _list(f"You have changed, of Trellis's {len(release.files)} files", found.changed)
    yield from _list("You have removed", found.removed)
    yield from _list(
        "You have added to folders of Trellis, where a release may add the same name", found.added
    )


def _modules(own: Iterable[str]) -> str:
    found = (re.match(r"backend/modules/(\w+)/", path) for path in own)
    names = sorted({each[1] for each in found if each})
    return f", with {_count(names, 'module')} ({', '.join(names)})" if names else ""


def _upgrade(
    release: Manifest,
    newer: Manifest,
    found: Comparison,
    present: Mapping[str, str],
    newest: str | None,
) -> Iterator[tuple[bool, str]]:
    """Yield lines about an upgrade, and whether each is about something to decide."""
    old, new = release.files, newer.files
    changed = {p for p in old.keys() & new.keys() if old[p] != new[p]}
    added, removed = new.keys() - old.keys(), old.keys() - new.keys()
    line = f"Trellis {newer.version} changes {_count(changed, 'file')}, adds {len(added)} and"
    yield False, f"{line} removes {len(removed)}."
    both = {p for p in found.changed & changed if present[p] != new[p]}
    conflicts = {
        "You and the release have changed; git merges them, or asks you": both,
        "You have removed, and the release changes; remove them again": found.removed & changed,
        "You have changed, and the release removes": found.changed & removed,
        "You have added, and the release adds under the same name": {
            p for p in (found.added | found.own) & added if present[p] != new[p]
        },
    }
    for title, paths in conflicts.items():
        yield from ((True, line) for line in _list(title, paths))
    if not any(conflicts.values()):
        yield False, "None of these is a file that you have changed, removed or added."
    for line in _migrations(found.own, added, newest):
        yield True, line


def _migrations(own: Collection[str], added: Collection[str], newest: str | None) -> Iterator[str]:
    """Yield what to do with the project's migrations if the release has new ones."""
    ours, theirs = _numbers(own), _numbers(added)
    for number in sorted(ours & theirs):
        yield (
            f"Your migration {number} and one of the release have the same number. Before the "
            f"upgrade, give yours a number from {OWN_NUMBERS + 1} on: in the file's name, in "
            "`revision`, in `down_revision` of the next one, and in the table alembic_version of "
            "each database that is at this migration."
        )
    if theirs and newest in ours - theirs:
        yield (
            "Databases have your migrations before those of the release. After the merge, set "
            f'`down_revision` of migration {min(theirs)} to "{newest}".'
        )


def _numbers(paths: Iterable[str]) -> set[str]:
    return {Path(path).name.partition("_")[0] for path in paths if path.startswith(MIGRATIONS)}


def _history() -> tuple[str | None, str]:
    """Return the newest revision, or None and what is wrong with the migrations."""
    try:
        return revisions()[0], ""
    except HistoryError as error:
        return None, str(error)


def read_manifest(place: str) -> Manifest:
    """Read the manifest of a folder, of a file, or of a revision of this git repository."""
    path = Path(place)
    if path.is_dir():
        path = path / FILE
    if path.exists():
        return parsed(path.read_text("utf-8"), str(path))
    try:
        text = run_git(ROOT, "show", f"{place}:{FILE}")
    except CommandError:
        raise CommandError(
            f"{place} is no folder with {FILE}, no such file, and no revision of this git "
            "repository that contains one: fetch the release first, or name its folder."
        ) from None
    return parsed(text, place)


def _count(things: Collection[object], noun: str) -> str:
    return f"{len(things)} {noun}" + ("" if len(things) == 1 else "s")


def _list(title: str, paths: Collection[str]) -> Iterator[str]:
    if paths:
        yield f"{title}: {_count(paths, 'file')}"
        yield from (f"  {path}" for path in sorted(paths)[:SHOWN])
        if len(paths) > SHOWN:
            yield f"  and {len(paths) - SHOWN} more"
