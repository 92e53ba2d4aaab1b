"""`backend module graph`: which modules depend on which."""

import sys
from collections.abc import Iterator, Sequence
from textwrap import wrap

from backend.cli.modules import GraphFormat
from backend.cli.terminal import say, table
from backend.core.module import Module
from backend.core.registry import discover

LABEL_WIDTH = 34


def run(form: GraphFormat) -> None:
    modules = discover()
    say("\n".join(flowchart(modules)) if form is GraphFormat.mermaid else text(modules))


def text(modules: Sequence[Module]) -> str:
    """Return a table of the modules in the order given, with the modules before and after each."""
    rows = [("MODULE", "DEPENDS ON", "USED BY")]
    for module in modules:
        users = [other.name for other in modules if module.name in other.depends_on]
        before, after = ", ".join(sorted(module.depends_on)), ", ".join(sorted(users))
        rows.append((module.name, before or "-", after or "-"))
    return table(rows)


def flowchart(modules: Sequence[Module]) -> Iterator[str]:
    """Yield a Mermaid flowchart of the modules, with arrows to the modules they depend on."""
    named = sorted(modules, key=lambda module: module.name)
    yield "flowchart LR"
    for module in named:
        label = "<br/>".join(wrap(_description(module).replace('"', "'"), LABEL_WIDTH))
        yield f'    {module.name}["<b>{module.name}</b><br/>{label}"]'
    for module in named:
        if module.depends_on:
            yield f"    {module.name} --> {' & '.join(sorted(module.depends_on))}"


def _description(module: Module) -> str:
    """Return the first paragraph of the docstring of the module's package, as one line."""
    text = sys.modules[f"backend.modules.{module.name}"].__doc__ or ""
    return " ".join(text.partition("\n\n")[0].split()).rstrip(".")
