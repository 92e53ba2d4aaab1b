"""The README and the generated pages are correct; modules of the pages can be dropped in."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import backend.modules
from tests.applications import MODULES
from tests.commands import output_of
from tests.documents import adds, files_of_page
from tools import contract, layout, pages, removal_drill

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
MODULE = files_of_page("tutorial.md")
# Tests that examine all modules and their pages.
RULES = [
    f"tests/test_{name}.py"
    for name in ("architecture", "docs", "ownership", "readme", "service_rights")
]


def test_the_generated_pages_are_up_to_date() -> None:
    found = list(pages.problems(pages.covered_modules()))
    assert not found, "\n".join([*found, f"Run: {pages.COMMAND}"])


def test_a_new_setting_and_a_new_route_are_named() -> None:
    others = [module for module in pages.covered_modules() if module.name != "health"]
    changed = [replace(m, settings=None) if m.name == "users" else m for m in others]
    found = list(pages.problems(changed))
    assert any(line.startswith("docs/configuration.md has an obsolete line: ") for line in found)
    assert found[-1] == "docs/permissions.md is out of date."


def test_a_module_and_an_arrow_that_the_layout_lacks_are_named() -> None:
    """The layout lacks a new module, and a dependency added to an existing module."""
    auth = next(module for module in MODULES if module.name == "auth")
    others = [module for module in MODULES if module.name not in ("auth", "health")]
    page = layout.replaced(
        layout.PAGE.read_text(), layout.render([*others, replace(auth, depends_on=("users",))])
    )
    lacks = "docs/architecture.md lacks: "
    assert layout.differences(page, layout.render(MODULES)) == [
        f'{lacks}    health["<b>health</b><br/>Liveness and readiness of a<br/>process"]',
        f"{lacks}    auth --> audit & users",
        "docs/architecture.md has an obsolete line:     auth --> users",
    ]


def test_the_files_it_names_exist() -> None:
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / link).exists(), link


@pytest.mark.parametrize("command", [pages, contract])
def test_a_module_that_cannot_be_loaded_is_one_sentence(
    command: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "made_halves").mkdir()
    (tmp_path / "made_halves" / "__init__.py").touch()
    monkeypatch.setattr(backend.modules, "__path__", [*backend.modules.__path__, str(tmp_path)])
    monkeypatch.setattr(sys, "argv", ["command"])
    with pytest.raises(SystemExit) as stopped:
        command.main()
    assert stopped.value.code == (
        "Module 'made_halves' has no manifest.py: add one that sets `module = Module(...)`."
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
@adds("notes", "bookmarks")
def test_modules_are_dropped_in_by_the_commands_the_pages_name(own_database_url: str) -> None:
    """The modules of the tutorial and of docs/modules.md, at once, without any other change."""
    with removal_drill.copied() as project:
        for path, text in {**MODULE, **files_of_page("modules.md")}.items():
            (project / path).parent.mkdir(parents=True, exist_ok=True)
            (project / path).write_text(text)
        (project / "tests" / "modules" / "bookmarks" / "__init__.py").touch()
        options: dict[str, Any] = {"folder": project, "project": project}
        options["DATABASE_URL"] = own_database_url
        output_of("db", "revision", "add notes and bookmarks", **options)
        output_of("db", "upgrade", **options)
        output_of("db", "check", **options)
        assert "notes:read|write" in output_of("module", "list", **options)
        assert "/api/v1/notes" in output_of("routes", **options)
        quick = ["-m", "pytest", "-q", "-m", "not slow", "tests/modules/bookmarks", *RULES]
        for command in (["-m", "tools.pages", "--check"], ["-m", "tools.contract"], quick):
            done = subprocess.run(
                [sys.executable, *command],
                cwd=project,
                env=removal_drill.environment(project),
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
