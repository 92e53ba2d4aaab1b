"""The modules `items` and `articles`, which tests of other parts use as examples.

A team may remove them. The tests that use their routes, tables or permissions are skipped then,
directly or through fixtures, constants and functions of the tests.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ("items", "articles")
MODULES = ROOT / "backend" / "modules"
MISSING = tuple(name for name in SAMPLES if not (MODULES / name / "manifest.py").exists())
_MENTION = re.compile(
    "|".join(
        rf"/{name}\b|[\"'`{{ (]{name}:|(?<!optional\()[\"']{name}[\"'.]"
        rf"|modules\.{name}\b|sample\(\"{name}\b"
        rf"|\b(?:FROM|INTO|ON|TABLE|UPDATE) {name}\b|\b(?:ck|fk|ix|uq)_{name}_"
        for name in MISSING
    )
    or "(?!)"
)


def sample(file: str, name: str | None = None) -> Any:
    """Return `name` of a file such as `items.models`.

    Without the module, skip the test that calls it, or the file that calls it at import.
    """
    if not _exists(file):
        pytest.skip(f"there is no module {file.partition('.')[0]}", allow_module_level=True)
    found = import_module(f"backend.modules.{file}")
    return found if name is None else getattr(found, name)


def optional(file: str, name: str) -> Any:
    """Return `name` of a file such as `items.queries`, or None without the module."""
    return sample(file, name) if _exists(file) else None


def _exists(file: str) -> bool:
    return (MODULES / file.partition(".")[0] / "manifest.py").exists()


def skip_users(items: Iterable[pytest.Item]) -> None:
    """Skip the tests that use a module of SAMPLES that is missing."""
    reason = f"it uses {' or '.join(MISSING)}, which the application does not have"
    for item in items if MISSING else ():
        name = getattr(item, "originalname", item.name)
        if isinstance(item, pytest.Function) and item.cls:
            name = f"{item.cls.__name__}.{name}"
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        found = _file(item.path).names.get(name)
        if _uses(item.path, name) or (
            found and _MENTION.search(found.decorators) and _MENTION.search(f'"{parameters}"')
        ):
            item.add_marker(pytest.mark.skip(reason=reason))


@dataclass(frozen=True)
class _Name:
    """A function, class or constant of a test file: its text, and the names that it uses."""

    text: str
    decorators: str = ""
    uses: frozenset[tuple[str, str]] = frozenset()  # a name, and an attribute of it


@dataclass(frozen=True)
class _File:
    names: dict[str, _Name] = field(default_factory=dict)
    # Names that are imported from other test files: the file, and the name there.
    imported: dict[str, tuple[Path, str]] = field(default_factory=dict)


@cache
def _uses(path: Path, name: str) -> bool:
    return any(_MENTION.search(each.text) for each in _reachable(path, name))


def _reachable(path: Path, name: str) -> Iterator[_Name]:
    """Yield the named object, and everything that it uses in the test files."""
    pending, seen = [(path, name)], set()
    while pending:
        place = pending.pop()
        if place in seen:
            continue
        seen.add(place)
        file = _file(place[0])
        if place[1] in file.imported:
            pending.append(file.imported[place[1]])
        elif place[1] in file.names:
            found = file.names[place[1]]
            yield found
            for used, attribute in found.uses:
                source, inner = file.imported.get(used, (place[0], used))
                pending.append((source, inner or attribute))
        else:  # a fixture
            above = [parent / "conftest.py" for parent in place[0].parents]
            pending += [(each, place[1]) for each in above if each.is_relative_to(ROOT / "tests")]


@cache
def _file(path: Path) -> _File:
    found = _File()
    if not path.exists():
        return found
    text = path.read_text("utf-8")
    for node in ast.parse(text).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "tests":
            for alias in node.names:
                folder = ROOT.joinpath(*(node.module or "").split("."))
                whole = folder / f"{alias.name}.py"
                place = (whole, "") if whole.exists() else (folder.with_suffix(".py"), alias.name)
                found.imported[alias.asname or alias.name] = place
            continue
        for name in _defined(node):
            found.names[name] = _described(node, text)
        if isinstance(node, ast.ClassDef):
            for each in node.body:
                found.names.update(
                    {f"{node.name}.{n}": _described(each, text) for n in _defined(each)}
                )
    return found


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [
        each.id
        for target in targets
        if target
        for each in ast.walk(target)
        if isinstance(each, ast.Name)
    ]


def _described(node: ast.stmt, text: str) -> _Name:
    decorators = getattr(node, "decorator_list", [])
    uses = {
        (each.value.id, each.attr)
        for each in ast.walk(node)
        if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name)
    }
    uses |= {(each.id, "") for each in ast.walk(node) if isinstance(each, ast.Name)}
    uses |= {(each.arg, "") for each in ast.walk(node) if isinstance(each, ast.arg)}
    lines = text.splitlines()
    body = "\n".join(lines[node.lineno - 1 : node.end_lineno])
    above = "\n".join(ast.unparse(each) for each in decorators)
    return _Name(body, above, frozenset(uses))
