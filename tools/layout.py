"""The generated part of docs/architecture.md: packages, modules and their imports.

Descriptions are the first lines of the packages' docstrings, arrows between modules come from their
manifests, and the order of packages is that of tests/architecture.py.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from backend.cli.module_graph import flowchart
from backend.core.module import Module
from tests.architecture import LAYERS

ROOT = Path(__file__).parents[1]
NAME = "docs/architecture.md"
PAGE = ROOT / NAME
COMMAND = "make pages"
BEGIN, END = f"<!-- Written by `{COMMAND}`. -->", "<!-- End of the generated part. -->"
# Packages inside packages that have rows of their own.
NESTED = {"db": ("lists", "schema"), "core": ("hash_scheduling", "http", "http/middleware")}


def description(folder: Path) -> str:
    """Return the first paragraph of the docstring of a package or a file, as one line."""
    file = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    text = ast.get_docstring(ast.parse(file.read_text("utf-8")))
    if not text:
        raise SystemExit(
            f"{file.relative_to(ROOT)} has no docstring: describe its contents in one."
        )
    return text.partition("\n\n")[0].replace("\n", " ")


def packages(layers: Iterable[str]) -> Iterator[str]:
    yield "| in `backend/` | what it contains |"
    yield "|---|---|"
    for layer in layers:
        path = ROOT / "backend" / layer
        name = f"{layer}/" if path.is_dir() else f"{layer}.py"
        yield f"| `{name}` | {description(path)} |"
        for nested in NESTED.get(layer, ()):
            yield f"| `{layer}/{nested}/` | {description(path / nested)} |"


def render(modules: Sequence[Module]) -> str:
    highest_first = list(reversed(LAYERS))
    return "\n".join(
        [
            BEGIN,
            *packages(highest_first),
            "",
            f"Each imports only what follows it: {' → '.join(highest_first)}.",
            "",
            "```mermaid",
            *flowchart(modules),
            "```",
            END,
        ]
    )


def covered(page: str) -> set[str]:
    """Return the names of the modules that the page shows."""
    return set(re.findall(r'^    (\w+)\["<b>', page, re.MULTILINE))


def replaced(page: str, part: str) -> str:
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    if len(pattern.findall(page)) != 1:
        raise SystemExit(f"{NAME} must have one part between {BEGIN} and {END}.")
    return pattern.sub(lambda _: part, page)


def differences(page: str, part: str) -> list[str]:
    """Return a sentence for each missing line of the page, and for each obsolete one."""
    (present,) = re.findall(f"{re.escape(BEGIN)}.*?{re.escape(END)}", page, re.DOTALL) or [""]
    before, after = present.splitlines(), part.splitlines()
    return [
        *(f"{NAME} lacks: {line}" for line in after if line not in before),
        *(f"{NAME} has an obsolete line: {line}" for line in before if line not in after),
    ]
