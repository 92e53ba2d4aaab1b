"""A project that started from Trellis has a name of its own, and takes later releases."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from backend.cli import manifest, rename
from backend.cli.terminal import CommandError
from backend.cli.upgrade_check import compare, read_manifest
from backend.product import NAME, TITLE, VERSION
from tests.commands import BACKEND, environment
from tests.documents import files_of_page

ROOT = manifest.ROOT
IDENTITY = {
    f"GIT_{role}_{part}": value
    for role in ("AUTHOR", "COMMITTER")
    for part, value in (("NAME", "Ada"), ("EMAIL", "ada@example.com"))
}
OURS, SLUG = "O'Neil & Sons 2", "oneil-and-sons-2"
LATER = "99.0.0"
RELEASE = [sys.executable, "-m", "tools.release"]
METADATA = "from setuptools import build_meta; build_meta.prepare_metadata_for_build_wheel('.')"


class TestManifest:
    def test_line_endings_and_the_name_make_no_difference(self) -> None:
        def fingerprint(text: str, path: str = "compose.yaml") -> str:
            return manifest.fingerprint(text.encode(), path)

        plain = fingerprint("Trellis,\ntrellis-api, trellis_pool\n")
        assert fingerprint(f"{TITLE},\r\n{NAME}-api, trellis_pool\r\n") == plain
        assert fingerprint("Trellises,\ntrellis-api, trellis_pool\n") != plain
        # Another file than a text.
        assert manifest.fingerprint(b"\0\r\n", "a.png") != manifest.fingerprint(b"\0\n", "a.png")

    def test_the_migration_that_one_follows_makes_no_difference(self) -> None:
        texts = [b'revision = "0021"\ndown_revision = "%s"\n' % each for each in (b"0020", b"1001")]
        for path, count in (("migrations/versions/0021_a.py", 1), ("backend/a.py", 2)):
            assert len({manifest.fingerprint(text, path) for text in texts}) == count

    def test_it_is_read_as_it_is_written(self) -> None:
        files = {"b.py": "0" * 64, "a b.py": "1" * 64}
        read = manifest.parsed(manifest.rendered("0.1.0", files), "it")
        assert (read.version, read.files) == ("0.1.0", files)

    @pytest.mark.parametrize("text", ["", "# Another file\n", "# Files of Trellis 1, x.\nx  a\n"])
    def test_another_file_is_refused(self, text: str) -> None:
        with pytest.raises(CommandError, match="it is not a manifest of Trellis"):
            manifest.parsed(text, "it")

    def test_changelog_has_an_entry_for_this_release(self) -> None:
        release = manifest.own_manifest(ROOT).version
        assert re.search(
            rf"^## {re.escape(release)}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
        )


def test_a_release_is_a_folder_or_a_file(tmp_path: Path) -> None:
    text = manifest.rendered(LATER, {"a.py": "0" * 64})
    (tmp_path / manifest.FILE).write_text(text)
    for place in (tmp_path, tmp_path / manifest.FILE):
        assert read_manifest(str(place)).version == LATER
    with pytest.raises(CommandError, match="fetch the release first, or name its folder"):
        read_manifest("v99")


def test_own_modules_and_migrations_are_told_from_changes() -> None:
    release = {
        "backend/core/a.py": "1",
        "backend/core/b.py": "2",
        "migrations/versions/0001.py": "3",
    }
    present = {
        "backend/core/a.py": "changed",
        "backend/core/own.py": "4",
        "backend/modules/shop/manifest.py": "5",
        "migrations/versions/0001.py": "3",
        "migrations/versions/1001_shop.py": "6",
        "frontend/app.ts": "7",
        "README.md": "8",
    }
    found = compare(release, present)
    assert found.changed == {"backend/core/a.py"}
    assert found.removed == {"backend/core/b.py"}
    assert found.added == {"backend/core/own.py"}
    assert found.own == {
        "backend/modules/shop/manifest.py",
        "migrations/versions/1001_shop.py",
        "frontend/app.ts",
    }


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("2nd", "must begin with a letter"),
        ("a_b", "must begin with a letter"),
        ("x" * 31, "at most 30 characters"),
        ("x&y" * 7, "at most 30 characters"),
        ("Acme & ", "must begin with a letter"),
        ("Trellis", "without this word"),
        ("Trellis Shop", "without this word"),
        ("FastAPI", "fastapi is a package in use"),
        ("Root", "root is a user of many systems"),
        ("../up", "must begin with a letter"),
    ],
)
def test_unusable_names_are_refused(name: str, reason: str) -> None:
    if manifest.RENAMED:
        reason = "is called|must begin|at most|without this|is a package|is a user"
    with pytest.raises(CommandError, match=reason):
        rename.run(name, dry_run=True)


@pytest.mark.skipif(manifest.RENAMED, reason="this project has its name")
def test_a_name_that_is_a_word_of_the_code_is_possible(capsys: pytest.CaptureFixture[str]) -> None:
    rename.run("Items", dry_run=True)
    said = capsys.readouterr().out
    assert "deploy/trellis.service -> deploy/items.service\n" in said
    # Only files that contain the product's name are read without it.
    assert re.search(r"'Items' is a word in \d+ files, such as AGENTS.md: ", said)


class Project:
    """A checkout in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def git(self, *arguments: str) -> str:
        return self.run("git", *arguments)

    def run(self, *command: str, code: int = 0, **settings: str) -> str:
        """Run a command; return its output, errors included."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**environment(self.folder, **settings), **IDENTITY},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout
        return done.stdout

    def backend(self, *arguments: str, code: int = 0, **settings: str) -> str:
        return self.run(*BACKEND, *arguments, code=code, **settings)

    def describe(self) -> None:
        """Make the package's metadata, as an installation does."""
        for old in self.folder.glob("*-info"):
            shutil.rmtree(old)
        self.run(sys.executable, "-c", METADATA)
        exclude = self.folder / ".git/info/exclude"
        exclude.write_text("*-info\n")

    def release(self, version: str) -> None:
        self.commit(f"Prepare {version}")
        assert f"Released {version}:" in self.run(*RELEASE)
        # Its record is true of the commit that it has tagged.
        assert self.git("describe") == f"v{version}\n"
        assert self.git("status", "--porcelain") == ""
        assert "You have changed none of" in self.backend("upgrade-check")

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def replace(self, path: str, old: str, new: str) -> None:
        text = (self.folder / path).read_text()
        assert text.count(old) >= 1, (path, old)
        (self.folder / path).write_text(text.replace(old, new, 1))

    def write(self, path: str, text: str) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text)


@pytest.fixture
def trellis(tmp_path: Path) -> Project:
    """Trellis in a git repository, with a release of this code."""
    if manifest.RENAMED:
        pytest.skip("this project is no longer Trellis")
    folder = tmp_path / "trellis"
    for path in manifest.files_of(ROOT):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, folder / path)
    made = Project(folder)
    made.git("init", "--quiet", "--initial-branch", "main")
    made.describe()
    made.release(VERSION)
    return made


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_renamed_project_takes_a_later_release(
    trellis: Project, tmp_path: Path, own_database_url: str
) -> None:
    trellis.git("clone", "--quiet", ".", str(tmp_path / "shop"))
    shop = Project(tmp_path / "shop")
    shop.describe()
    _rename(shop)
    _build(shop, own_database_url)
    report = shop.backend("upgrade-check")
    assert f"contains Trellis {VERSION} (trellis.manifest), and is called {OURS}.\n" in report
    assert "with 1 module (notes).\n" in report
    assert re.search(r"files: 2 files\n  backend/core/cache.py\n  compose.yaml\n", report)
    assert "one line, which ends with 1001.\n" in report
    first = _second_release(trellis)
    shop.git("fetch", "--quiet", "--tags", "origin")
    report = shop.backend("upgrade-check", "--against", f"v{LATER}", code=1)
    assert f"Trellis {LATER} changes 5 files, adds 2 and removes 0.\n" in report
    assert "asks you: 1 file\n  backend/core/cache.py\n" in report
    assert f'set `down_revision` of migration {first} to "1001".\n' in report
    shop.git("merge", "--quiet", "--no-edit", f"v{LATER}")
    shop.describe()
    two_ends = shop.backend("upgrade-check", code=1)
    (file,) = (shop.folder / "migrations/versions").glob(f"{first}_*")
    assert f'set `down_revision` in migrations/versions/{file.name} to "1001"' in two_ends
    text = re.sub(
        r"^down_revision = .*$", 'down_revision = "1001"', file.read_text(), flags=re.MULTILINE
    )
    file.write_text(text)
    shop.commit("Follow the project's own migrations")
    assert "changed files: 1." in shop.backend("rename", OURS)
    assert f"run {SLUG}-extra" in (shop.folder / "docs/deployment.md").read_text()
    shop.commit("Rename what is new")
    report = shop.backend("upgrade-check")
    assert f"contains Trellis {LATER}" in report
    assert re.search(r"files: 2 files\n  backend/core/cache.py\n  compose.yaml\n", report)
    shop.backend("db", "upgrade", DATABASE_URL=own_database_url)
    with psycopg.connect(own_database_url) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (first,)


def _rename(shop: Project) -> None:
    shop.write("compose.yaml", f"{(shop.folder / 'compose.yaml').read_text()}# Ours\n")
    dry = shop.backend("rename", OURS, "--dry-run")
    assert f"deploy/trellis.service -> deploy/{SLUG}.service\n" in dry
    assert "not committed" in shop.backend("rename", OURS, code=1)
    shop.commit("Ours")
    assert f"is called {OURS} now" in shop.backend("rename", OURS)
    assert "run `make setup`" in shop.backend("version", code=1)
    shop.describe()
    assert shop.backend("version") == f"{OURS} {VERSION}\n"
    shop.commit("Rename")
    assert "nothing was left" in shop.backend("rename", OURS)
    assert f"is called {OURS} already" in shop.backend("rename", "Other", code=1)
    document = shop.backend("openapi")
    assert json.loads(document)["info"]["title"] == OURS
    assert document == (shop.folder / "openapi.json").read_text()
    report = shop.backend("upgrade-check")
    assert re.search(r"files: 1 file\n  compose.yaml\nThe migrations", report)
    assert f"is {OURS}" in shop.run(*RELEASE, code=1)


def _build(shop: Project, url: str) -> None:
    """Add a module with a migration, and change a file of Trellis."""
    for path, text in files_of_page("tutorial.md").items():
        if path.startswith("backend/"):
            shop.write(path, text)
    assert "1001_add_notes.py" in shop.backend("db", "revision", "add notes", DATABASE_URL=url)
    shop.backend("db", "upgrade", DATABASE_URL=url)
    cache = (shop.folder / "backend/core/cache.py").read_text()
    shop.write("backend/core/cache.py", f"{cache}\n# Ours\n")
    shop.commit("Add notes")


def _second_release(trellis: Project) -> str:
    """Make a later release, with a new file, changed files and a migration; return its number."""
    head = max(path.name[:4] for path in (trellis.folder / "migrations/versions").glob("0*.py"))
    first = f"{int(head) + 1:04}"
    trellis.write(
        f"migrations/versions/{first}_more.py",
        f'"""more"""\n\nrevision = "{first}"\ndown_revision = "{head}"\n\n\n'
        "def upgrade() -> None: ...\n\n\ndef downgrade() -> None: ...\n",
    )
    trellis.write("backend/core/new.py", '"""New."""\n')
    cache = (trellis.folder / "backend/core/cache.py").read_text()
    trellis.write("backend/core/cache.py", cache.replace('"""', '"""New. ', 1))
    deployment = (trellis.folder / "docs/deployment.md").read_text()
    trellis.write("docs/deployment.md", f"{deployment}\nrun trellis-extra\n")
    trellis.write("docs/testing.md", "# Testing\n")
    _set_version(trellis, LATER)
    trellis.release(LATER)
    return first


def _set_version(trellis: Project, version: str) -> None:
    assert "not committed" in trellis.run(*RELEASE, code=1)
    trellis.commit("Change files")
    assert f"{VERSION} is released already" in trellis.run(*RELEASE, code=1)
    trellis.replace("pyproject.toml", f'version = "{VERSION}"', f'version = "{version}"')
    trellis.describe()
    trellis.commit("Set the version")
    assert f'no section "## {version}"' in trellis.run(*RELEASE, code=1)
    trellis.replace("CHANGELOG.md", "\n## ", f"\n## {version}\n\nMore.\n\n## ")
    trellis.backend("openapi", "--output", "openapi.json")
