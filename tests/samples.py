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
from typing import Any, TypeVar

import pytest

Case = TypeVar("Case")
ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ("items", "articles")
MODULES = ROOT / "backend" / "modules"
MISSING = tuple(name for name in SAMPLES if not (MODULES / name / "manifest.py").exists())
_MENTION = re.compile(
    "|".join(
        rf"/{name}\b|[\"'`{{ (]{name}:"
        # `schema["items"]` and `"items" in schema` are words of JSON Schema.
        rf"|(?<![\w\])]\[)[\"']{name}(?:[\"'](?! in\b)|\.)"
        rf"|modules\.{name}\b|sample\(\"{name}\b"
        rf"|\b(?:FROM|INTO|ON|TABLE|UPDATE) {name}\b|\b(?:ck|fk|ix|uq)_{name}_"
        for name in MISSING
    )
    or "(?!)"
)
# In a constant that leaves out what is missing.
_LEFT_OUT = re.compile(r"\b(?:optional|present)\(")


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


def present(cases: Iterable[Case]) -> list[Case]:
    """Return the cases that name no missing module."""
    return [case for case in cases if not _MENTION.search(f'"{case}"')]


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
        if _uses(item.path, name) or (
            _uses(item.path, f"{name}@") and _MENTION.search(f'"{parameters}"')
        ):
            item.add_marker(pytest.mark.skip(reason=reason))


@dataclass(frozen=True)
class _Name:
    """A function, class or constant of a test file: its text, and the names that it uses.

    The decorators of a test are a name of their own, with an `@` at the end.
    """

    text: str
    uses: frozenset[tuple[str, str]]  # a name, and an attribute of it


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
            if _LEFT_OUT.search(found.text):
                continue
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
        _describe(found, node, text)
        for each in node.body if isinstance(node, ast.ClassDef) else ():
            _describe(found, each, text, inside=f"{getattr(node, 'name', '')}.")
    return found


def _describe(found: _File, node: ast.stmt, text: str, inside: str = "") -> None:
    """Add the names that a statement defines."""
    lines = text.splitlines()
    body = "\n".join(lines[node.lineno - 1 : node.end_lineno])
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    for name in _defined(node):
        # A fixture is used with all its parameters.
        apart = decorators if name.startswith("test") else []
        inner = [each for each in ast.iter_child_nodes(node) if each not in apart]
        found.names[inside + name] = _Name(body, _uses_in(inner))
        above = "\n".join(ast.unparse(each) for each in apart)
        found.names[f"{inside}{name}@"] = _Name(above, _uses_in(apart))


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


def _uses_in(nodes: Iterable[ast.AST]) -> frozenset[tuple[str, str]]:
    uses = set()
    for each in (inner for node in nodes for inner in ast.walk(node)):
        match each:
            case ast.Attribute(value=ast.Name(id=name), attr=attribute):
                uses.add((name, attribute))
            case ast.Name(id=name) | ast.arg(arg=name):
                uses.add((name, ""))
    return frozenset(uses)
