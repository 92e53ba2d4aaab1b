"""Write the generated pages: docs/architecture.md, docs/configuration.md and docs/permissions.md.

With --check, fail if they are out of date. They are checked for the modules that the flowchart of
docs/architecture.md shows; a new module is not in them until they are written again.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from backend.core.module import Module
from backend.core.registry import RegistryError, discover, setting_kinds
from backend.core.settings import Settings, SettingsBase
from tools import layout, permissions

COMMAND = "make pages"
SETTINGS = "docs/configuration.md"
SETTINGS_PAGE = Path(__file__).parents[1] / SETTINGS
PAGES = f"{layout.NAME}, {SETTINGS} and docs/permissions.md"
_TABLE = re.compile(r"^\| variable \| default \| meaning \|$.*?(?=^$|\Z)", re.DOTALL | re.MULTILINE)


def settings_table(modules: Sequence[Module]) -> str:
    """Return the table of settings, as lines that end with a newline."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    kinds: list[type[SettingsBase]] = [Settings, *setting_kinds(modules)]
    for kind in kinds:
        for name, field in kind.model_fields.items():
            default = field.get_default()
            shown = f"`{default}`" if default not in (None, (), "") else ""
            lines.append(f"| `{name.upper()}` | {shown} | {field.description} |")
    return "".join(f"{line}\n" for line in lines)


def covered_modules() -> list[Module]:
    """Return the modules that the pages show, in the order of the registry."""
    names = layout.covered(layout.PAGE.read_text("utf-8"))
    return [module for module in discover() if module.name in names]


def problems(modules: Sequence[Module]) -> Iterator[str]:
    """Yield a sentence for each difference of the pages from these modules."""
    yield from layout.differences(layout.PAGE.read_text("utf-8"), layout.render(modules))
    table = _TABLE.search(SETTINGS_PAGE.read_text("utf-8"))
    present, wanted = (table or [""])[0], settings_table(modules)
    for line in sorted({*wanted.splitlines()} ^ {*present.splitlines()}):
        verb = "lacks" if line in wanted.splitlines() else "has an obsolete line"
        yield f"{SETTINGS} {verb}: {line}"
    if present != wanted and {*present.splitlines()} == {*wanted.splitlines()}:
        yield f"{SETTINGS} has the settings in another order."
    if permissions.PAGE.read_text("utf-8") != permissions.render(modules):
        yield "docs/permissions.md is out of date."


def write(modules: Sequence[Module]) -> None:
    page = layout.replaced(layout.PAGE.read_text("utf-8"), layout.render(modules))
    layout.PAGE.write_text(page, encoding="utf-8")
    page = _TABLE.sub(lambda _: settings_table(modules), SETTINGS_PAGE.read_text("utf-8"))
    SETTINGS_PAGE.write_text(page, encoding="utf-8")
    permissions.PAGE.write_text(permissions.render(modules), encoding="utf-8")


def main() -> None:
    try:
        modules = discover()
    except RegistryError as error:
        sys.exit(str(error))
    if sys.argv[1:] != ["--check"]:
        write(modules)
        print(f"Wrote {PAGES}.")
        return
    covered = covered_modules()
    if found := [*problems(covered)]:
        sys.exit("\n".join([*found, f"Run: {COMMAND}"]))
    if new := [module.name for module in modules if module not in covered]:
        print(f"{PAGES} do not show {', '.join(new)}; {COMMAND} adds them.")


if __name__ == "__main__":
    main()
