"""Packaging, container, compose and documentation files agree with the code."""

import ast
import importlib
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import backend
from backend.core.settings import SettingsBase
from backend.product import TITLE
from tools import lock

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUNTIME, DEVELOPMENT = "requirements.lock", "requirements-dev.lock"
BUILD = "requirements-build.lock"
# Read by Compose and by other images, or by compose.yaml to compose a setting.
COMPOSE_ONLY = {
    *("COMPOSE_PROFILES", "POSTGRES_USER", "POSTGRES_PASSWORD", "PGHOST", "PGUSER", "PGPASSWORD"),
    *("GRAFANA_PASSWORD", "GF_SECURITY_ADMIN_PASSWORD"),
}


def requirements(*lines: str) -> dict[str, Requirement]:
    parsed = [Requirement(line) for line in lines]
    return {canonicalize_name(requirement.name): requirement for requirement in parsed}


def pins(name: str) -> dict[str, str]:
    text = (ROOT / name).read_text()
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE))


def runtime() -> dict[str, Requirement]:
    return requirements(*PROJECT["project"]["dependencies"])


def development() -> dict[str, Requirement]:
    extra = PROJECT["project"]["optional-dependencies"]["development"]
    group = [line for line in PROJECT["dependency-groups"]["dev"] if isinstance(line, str)]
    return requirements(*extra, *group)


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


class TestLocks:
    @pytest.mark.parametrize("name", [RUNTIME, BUILD, DEVELOPMENT])
    def test_every_line_is_a_pin_a_hash_or_a_comment(self, name: str) -> None:
        """There is no address of an index, and no package without a hash."""
        comment, digest = r" *#(?!.*//).*", r"    --hash=sha256:[0-9a-f]{64}( \\)?"
        pin = r"[\w.-]+==[\w.]+( ; [^\\]+)? \\"
        form = re.compile(f"{comment}|{digest}|{pin}")
        lines = (ROOT / name).read_text().splitlines()
        assert [line for line in lines if not form.fullmatch(line)] == []

    @pytest.mark.parametrize("name", [RUNTIME, DEVELOPMENT])
    def test_holds_what_the_application_needs(self, name: str) -> None:
        locked = pins(name)
        assert [str(r) for key, r in runtime().items() if locked[key] not in r.specifier] == []

    def test_holds_what_development_needs(self) -> None:
        locked = pins(DEVELOPMENT)
        assert [str(r) for key, r in development().items() if locked[key] not in r.specifier] == []

    def test_the_build_backend_has_a_lock_of_its_own(self) -> None:
        build = PROJECT["build-system"]["requires"]
        assert PROJECT["dependency-groups"]["build"] == build
        assert {"include-group": "build"} in PROJECT["dependency-groups"]["dev"]
        assert pins(BUILD).keys() == requirements(*build).keys()
        assert pins(BUILD).items() <= pins(DEVELOPMENT).items()
        assert pins(BUILD).keys() & pins(RUNTIME).keys() == set()

    def test_production_carries_no_development_tool(self) -> None:
        assert pins(RUNTIME).keys() & development().keys() == set()

    def test_production_carries_all_that_the_application_imports(self) -> None:
        distributions = packages_distributions()
        files = [*(ROOT / "backend").rglob("*.py"), *(ROOT / "migrations").rglob("*.py")]
        # Production does not run `backend dev`, whose dependencies are in an extra.
        files = [file for file in files if file.parent != ROOT / "backend" / "dev"]
        imported = {name for file in files for name in imports(file)}
        missing = {
            name
            for name in imported & distributions.keys() - {"backend", "migrations"}
            if not {canonicalize_name(d) for d in distributions[name]} & pins(RUNTIME).keys()
        }
        assert "fastapi" in imported
        assert missing == set()

    def test_tests_run_what_production_runs(self) -> None:
        assert pins(RUNTIME).items() <= pins(DEVELOPMENT).items()

    def test_in_step_with_pyproject(self) -> None:
        assert all(path.read_text().startswith(lock.header()) for path in lock.OPTIONS)

    def test_out_of_step_is_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        changed = (ROOT / "pyproject.toml").read_text().replace('"bcrypt>=5,<6"', '"bcrypt>=6"')
        (tmp_path / "pyproject.toml").write_text(changed)
        monkeypatch.setattr(lock, "PROJECT", tmp_path / "pyproject.toml")
        monkeypatch.setattr(sys, "argv", ["lock", "--check"])
        with pytest.raises(SystemExit, match=r"requirements-dev\.lock\. Run: make lock"):
            lock.main()


@pytest.mark.slow
def test_wheel_carries_every_file(tmp_path: Path) -> None:
    """The wheel contains every file; one missing in package-data shows only after installation."""
    for name in ("backend", "migrations"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / name)
    expected = {
        path.relative_to(tmp_path).as_posix()
        for name in ("backend", "migrations")
        for path in (tmp_path / name).rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }
    build = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with ZipFile(wheel) as archive:
        assert expected - set(archive.namelist()) == set()


class TestDocker:
    def copied(self) -> Iterator[str]:
        for line in (ROOT / "Dockerfile").read_text().splitlines():
            if line.startswith("COPY ") and "--from" not in line:
                yield from line.split()[1:-1]

    def test_what_is_copied_exists(self) -> None:
        copied = list(self.copied())
        assert "backend" in copied
        assert [name for name in copied if not (ROOT / name).exists()] == []

    def test_dockerignore_lets_exactly_that_through(self) -> None:
        lines = (ROOT / ".dockerignore").read_text().splitlines()
        assert {line[1:] for line in lines if line.startswith("!")} == set(self.copied())

    def test_it_installs_from_lock_files_alone(self) -> None:
        text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
        installs = re.findall(r"pip install ([^&\n]+)", text)
        locked = [line.split()[-1] for line in installs if "--require-hashes" in line]
        assert locked == [RUNTIME, BUILD]
        assert [line.strip() for line in installs if "--require-hashes" not in line] == [
            "--no-deps --no-build-isolation --editable ."
        ]

    def test_the_image_has_the_client_programs_of_the_server(self) -> None:
        image, compose = ((ROOT / name).read_text() for name in ("Dockerfile", "compose.yaml"))
        (client,) = re.findall(r"^ARG POSTGRES_CLIENT=(\d+)$", image, re.MULTILINE)
        (server,) = re.findall(r"image: postgres:(\d+)$", compose, re.MULTILINE)
        assert client == server
        document = (ROOT / "docs" / "operations.md").read_text()
        assert f"`postgresql-client-{client}`" in document

    def test_compose_documents_backup_and_restore(self) -> None:
        text = (ROOT / "compose.yaml").read_text()
        found = re.findall(r"^# +backend db (\w+)((?: --\w+)*) /backups/\S+$", text, re.MULTILINE)
        assert found == [("backup", ""), ("restore", " --force")]
        # With dependencies, `run` would migrate before the backup.
        assert text.count('--rm --no-deps --user "$(id -u)" --volume "$PWD:/backups" migrate') == 2

    def test_image_and_compose_run_commands_that_exist(self) -> None:
        text = (ROOT / "Dockerfile").read_text() + (ROOT / "compose.yaml").read_text()
        found = re.findall(r'\["backend", "(\w+)"(?:, "(\w+)")?', text)
        assert set(found) == {("db", "upgrade"), ("serve", ""), ("worker", "")}
        backend_command = Path(sys.executable).with_name("backend")
        for names in set(found):
            words = [name for name in names if name]
            subprocess.run([backend_command, *words, "--help"], check=True, capture_output=True)


@cache
def names_of_settings() -> set[str]:
    """The names of all settings: of the core, the integrations and every module."""
    for module in pkgutil.walk_packages(backend.__path__, "backend."):
        if module.name.endswith(".settings"):
            importlib.import_module(module.name)
    kinds, names = [SettingsBase], set[str]()
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        names |= {name.upper() for name in kind.model_fields}
    return names


@pytest.fixture
def setting_names() -> set[str]:
    return names_of_settings()


class TestEnvironment:
    def test_compose_names_only_settings(self, setting_names: set[str]) -> None:
        text = (ROOT / "compose.yaml").read_text()
        names = set(re.findall(r"^\s+([A-Z][A-Z_]+):", text, re.MULTILINE))
        names |= set(re.findall(r"\$\{([A-Z_]+)", text))
        assert {"SECRET_KEY", "DATABASE_URL"} <= names
        assert names - setting_names - COMPOSE_ONLY == set()

    def test_dockerfile_sets_only_settings(self, setting_names: set[str]) -> None:
        text = (ROOT / "Dockerfile").read_text().rpartition("FROM ")[2]
        names = {n for n in re.findall(r"\b([A-Z_]{3,})=", text) if not n.startswith("PYTHON")}
        assert names - {"PATH", "POSTGRES_CLIENT"} <= setting_names

    def test_the_environment_of_systemd_is_read_by_a_shell(
        self, setting_names: set[str], tmp_path: Path
    ) -> None:
        document = (ROOT / "docs" / "deployment.md").read_text()
        (block,) = re.findall(r"```sh\n(ENVIRONMENT=.+?)```", document, re.DOTALL)
        file = tmp_path / "environment"
        file.write_text(block)
        done = subprocess.run(
            ["sh", "-c", f"set -a; . {file}; env -0"],
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=True,
        )
        values = dict(line.split("=", 1) for line in done.stdout.split("\0") if line)
        written = {line.partition("=")[0] for line in block.splitlines()}
        assert done.stderr == ""
        assert written <= setting_names & values.keys()
        assert values["EMAIL_FROM"] == f"{TITLE} <no-reply@example.com>"
        # systemd reads no comment behind a value.
        assert "#" not in block

    def test_example_names_only_settings(self, setting_names: set[str]) -> None:
        text = (ROOT / ".env.example").read_text()
        names = set(re.findall(r"^#?([A-Z_]+)=", text, re.MULTILINE))
        assert "SECRET_KEY" in names
        assert names - setting_names - COMPOSE_ONLY == set()

    def test_example_changes_nothing_as_it_stands(self) -> None:
        lines = (ROOT / ".env.example").read_text().splitlines()
        assert [line for line in lines if line and not line.startswith("#")] == []


def test_the_fastapi_command_line_finds_the_application() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    module, _, name = project["tool"]["fastapi"]["entrypoint"].partition(":")
    source = (ROOT / f"{module.replace('.', '/')}.py").read_text("utf-8")
    assert f"    {name} = build()" in source


class TestMakefile:
    TEXT = (ROOT / "Makefile").read_text()

    def make(self, *words: str) -> subprocess.CompletedProcess[str]:
        # `make test` sets variables in the environment of this test, so it is not passed on.
        environment = {"PATH": os.environ["PATH"]}
        return subprocess.run(
            ["make", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )

    def test_help_lists_every_target(self) -> None:
        listed = re.findall(r"^make ([a-z-]+) +\S", self.make().stdout, re.MULTILINE)
        (declared,) = re.findall(r"^\.PHONY: (.+)$", self.TEXT, re.MULTILINE)
        assert listed == declared.split()

    def test_migration_wants_a_name(self) -> None:
        assert self.make("migration").stderr.startswith("Give it a name: ")

    def test_clean_keeps_development_data(self) -> None:
        removed, searched = self.make("--dry-run", "clean").stdout.splitlines()
        assert not any(fnmatch("data", pattern) for pattern in removed.split()[2:])
        assert "-path ./data -prune" in searched


def test_ci_runs_the_checks_and_the_readme_command() -> None:
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    steps = ["make check", "make docs", "make test", "make test-all"]
    assert script.read_text().splitlines()[-4:] == steps
