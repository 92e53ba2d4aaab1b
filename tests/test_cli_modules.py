"""`backend module graph`."""

import re

from backend.cli import module_graph
from backend.core.registry import ordered
from tests.applications import MODULES
from tools.layout import PAGE
from tools.pages import covered_modules


def test_the_graph_lists_dependencies_first_and_who_uses_each() -> None:
    lines = module_graph.text(ordered(MODULES)).splitlines()
    assert lines[0].split("  ")[0] == "MODULE"
    rows = [re.split(r"  +", line) for line in lines[1:]]
    seen: set[str] = set()
    for name, before, _ in rows:
        assert seen.issuperset(before.replace("-", "").replace(",", "").split())
        seen.add(name)
    used_by = {name: after.split(", ") for name, _, after in rows}
    assert used_by["users"] == [
        m.name for m in sorted(MODULES, key=lambda m: m.name) if "users" in m.depends_on
    ]
    assert used_by["health"] == ["-"]


def test_the_page_of_the_architecture_shows_the_flowchart() -> None:
    chart = "\n".join(module_graph.flowchart(covered_modules()))
    assert f"```mermaid\n{chart}\n```" in PAGE.read_text()
