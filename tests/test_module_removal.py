"""`backend module remove`, and what is left after the removal of each module."""

import io
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from backend.cli import module_removal
from backend.cli.terminal import CommandError
from tests.applications import MODULES
from tests.architecture import ROOT
from tests.commands import output_of
from tools import removal_drill

GIT = ("git", "-c", "user.name=tests", "-c", "user.email=tests@example.com")
# A module with a table that nothing depends on.
NAME = "payments"


def committed(project: Path) -> None:
    for command in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "Begin")):
        subprocess.run([*GIT, *command], cwd=project, check=True)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the files of one module, which the command takes for its own."""
    folder = tmp_path / "backend" / "modules" / NAME
    shutil.copytree(ROOT / "backend" / "modules" / NAME, folder)
    committed(tmp_path)
    monkeypatch.setattr(module_removal, "ROOT", tmp_path)
    return tmp_path


def refusal(name: str) -> str:
    with pytest.raises(CommandError) as caught:
        module_removal.run(name, dry_run=False, confirmed=True)
    return str(caught.value)


def test_what_uses_a_module_is_listed_by_file_and_line() -> None:
    lines = refusal("roles").splitlines()
    assert lines[0] == "Module 'roles' is in use; first change:"
    manifest = "backend/modules/users/manifest.py"
    found = [line.split() for line in lines if line.startswith(f"  {manifest}:")]
    (declared,) = [words[0] for words in found if words[1] == "declares"]
    number = int(declared.rpartition(":")[2])
    assert '"roles"' in (ROOT / manifest).read_text().splitlines()[number - 1]
    assert (ROOT / "backend" / "modules" / "roles").exists()


def test_a_permission_that_others_require_is_a_use() -> None:
    (users,) = [module for module in MODULES if module.name == "users"]
    assert not any("permission" in line for line in module_removal.uses(users, MODULES))
    assert refusal("nothing").startswith("There is no module 'nothing'. There are: accounts, ")


def test_changes_that_are_not_committed_are_kept(project: Path) -> None:
    (project / ".gitignore").write_text("*.local\n__pycache__/\n")
    folder = project / "backend" / "modules" / NAME
    for name in ("draft.py", "keys.local", "__pycache__/kept.pyc"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("# new")
    place = folder.relative_to(project)
    assert refusal(NAME).splitlines()[1:] == [f"?? {place}/draft.py", f"!! {place}/keys.local"]
    assert (folder / "draft.py").exists()


def test_a_dry_run_changes_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file, text in (
        ("tests/test_x.py", f"from backend.modules.{NAME} import service\n"),
        ("tools/draft.py", "import os\ndef\n"),
        ("examples/web/src/pages/x.tsx", f"\nawait api.{NAME}.read();\n"),
        (
            f"examples/web/src/{NAME}.ts",
            f"api.{NAME}[action];\ntype Out = Schemas['ReceivedEvent'];\n",
        ),
        ("examples/web/node_modules/a/src/x.ts", f"api.{NAME}.read();\n"),
    ):
        (project / file).parent.mkdir(parents=True, exist_ok=True)
        (project / file).write_text(text)
    before = sorted(project.rglob("*"))
    module_removal.run(NAME, dry_run=True, confirmed=False)
    output = capsys.readouterr().out
    assert "  tables       payment_events\n" in output
    uses = [f"src/{NAME}.ts:1", f"src/{NAME}.ts:2", "src/pages/x.tsx:2"]
    lines = "".join(f"  examples/web/{place} uses it\n" for place in sorted(uses))
    assert f"Change afterwards:\n{lines}  tests/" in output
    assert "\n  tests/test_x.py:1 imports it\n  tools/draft.py:2 is" in output
    assert sorted(project.rglob("*")) == before


def test_a_removal_that_cannot_go_on_deletes_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    assert "DATABASE_URL" in refusal(NAME)
    monkeypatch.setattr(module_removal, "_require_database", lambda: None)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(CommandError, match="add --yes"):
        module_removal.run(NAME, dry_run=False, confirmed=False)
    folder = project / "backend" / "modules" / NAME
    moved = folder.rename(project / "elsewhere")
    folder.symlink_to(moved)
    with pytest.raises(CommandError, match=f"git checkout -- backend/modules/{NAME}`"):
        module_removal._delete([folder])
    assert (moved / "manifest.py").exists()


@pytest.mark.slow
def test_a_removed_module_takes_its_tables_along(own_database_url: str) -> None:
    """`articles` has permissions too, an enum type, and an index with a long definition."""
    with removal_drill.copied() as project:
        options: dict[str, Any] = {"folder": project, "project": project}
        options["DATABASE_URL"] = own_database_url
        said = output_of("module", "remove", "articles", "--yes", **options)
        assert "Removed the module 'articles'. Next:" in said
        assert not (project / "backend" / "modules" / "articles").exists()
        assert "articles[" in (ROOT / "docs" / "architecture.md").read_text()
        assert "articles[" not in (project / "docs" / "architecture.md").read_text()
        (written,) = (project / "migrations" / "versions").glob("*_remove_articles.py")
        assert 'op.drop_table("articles")' in written.read_text()
        check = [sys.executable, "-m", "ruff", "check", "--quiet", str(written)]
        assert subprocess.run(check, cwd=project, check=False).returncode == 0
        output_of("db", "upgrade", **options)
        output_of("db", "check", **options)
    with psycopg.connect(own_database_url) as connection:
        found = connection.execute(
            "SELECT to_regclass('articles'), (SELECT count(*) FROM permissions"
            " WHERE name LIKE 'articles:%'), (SELECT count(*) FROM roles"
            " WHERE array_to_string(permissions, ' ') LIKE '%articles:%')"
        ).fetchone()
    assert found == (None, 0, 0)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_drill_examines_an_application_without_the_module() -> None:
    # One module: `make removal-drill` takes minutes for all.
    assert NAME in removal_drill.removable()
    assert list(removal_drill.quick_drill([NAME])) == []
