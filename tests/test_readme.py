"""The README, the generated pages and the module of the tutorial are correct."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests import architecture
from tests.applications import MODULES
from tests.documents import files_of_page
from tools import layout, pages

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
MODULE = files_of_page("tutorial.md")


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


def test_its_module_follows_the_rules_of_the_house() -> None:
    sources = [
        architecture.Source(path.removesuffix(".py").replace("/", "."), text)
        for path, text in MODULE.items()
    ]
    assert len(sources) == 7
    assert list(architecture.layer_violations(sources)) == []
    assert list(architecture.module_violations(sources, {"notes": ["users"]})) == []
    assert list(architecture.direction_violations(sources)) == []


@pytest.mark.slow
def test_its_module_works_by_the_commands_it_names(tmp_path: Path, own_database_url: str) -> None:
    for folder in ("backend", "migrations"):
        shutil.copytree(ROOT / folder, tmp_path / folder)  # with bytecode, for a quick start
    notes = tmp_path / "backend" / "modules" / "notes"
    notes.mkdir()
    for path, text in MODULE.items():
        (tmp_path / path).write_text(text)
    environment = {
        **os.environ,
        "PYTHONPATH": str(tmp_path),
        "DATA_DIR": str(tmp_path / "data"),
        "DATABASE_URL": own_database_url,
    }

    def backend(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", "from backend.cli import main; main()", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    backend("db", "revision", "add notes")
    backend("db", "upgrade")
    backend("db", "check")
    assert "notes:read|write" in backend("module", "list")
    assert "/api/v1/notes" in backend("routes")
