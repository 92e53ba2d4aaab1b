"""TypeScript clients generated from the OpenAPI document work with the server."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import databases
from tests.commands import ROOT
from tests.core.http.test_openapi import DOCUMENT
from tests.processes import Server, served

pytestmark = pytest.mark.slow
CLIENTS = ROOT / "tests" / "clients"
PACKAGES = CLIENTS / "node_modules"
SOURCES = ("story.ts", "tsconfig.json", "orval.config.mjs")
GENERATORS = {
    "openapi-typescript": ["openapi-typescript", "openapi.json", "-o", "generated/api.ts"],
    "hey-api": ["openapi-ts", "-i", "openapi.json", "-o", "generated"],
    "orval": ["orval", "--config", "orval.config.mjs"],
}


@pytest.fixture(scope="module", autouse=True)
def _packages() -> None:
    """Without the packages the tests are skipped; under CI they fail."""
    if shutil.which("node") and PACKAGES.is_dir():
        return
    missing = "needs node and packages: npm ci --ignore-scripts --prefix tests/clients"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with (
        databases.cloned_database(databases.server_url(request.config)) as url,
        served(url, workers=1) as started,
    ):
        yield started


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder in which a client is generated, with the document and the packages."""
    for name in SOURCES:
        shutil.copy(CLIENTS / name, tmp_path)
    (tmp_path / "node_modules").symlink_to(PACKAGES, target_is_directory=True)
    (tmp_path / "openapi.json").write_text(json.dumps(DOCUMENT))
    return tmp_path


def run(program: str, *arguments: str, folder: Path, **environment: str) -> str:
    """Run a program of the packages to its end, and return its output."""
    done = subprocess.run(
        [str(PACKAGES / ".bin" / program), *arguments],
        cwd=folder,
        env={**os.environ, "CI": "1", "REDOCLY_TELEMETRY": "off", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("generator", GENERATORS)
def test_a_generated_client(server: Server, folder: Path, generator: str) -> None:
    """The client compiles strictly, registers, signs in, writes, refreshes, reads, signs out."""
    shutil.copy(CLIENTS / f"{generator}.ts", folder)
    program, *arguments = GENERATORS[generator]
    run(program, *arguments, folder=folder, API_URL=server.url)
    run("tsc", "--project", "tsconfig.json", folder=folder)
    bundle = ["--bundle", "--platform=node", "--format=esm", "--outfile=story.mjs"]
    run("esbuild", f"{generator}.ts", *bundle, folder=folder)
    completed = subprocess.run(
        ["node", "story.mjs"],
        cwd=folder,
        env={**os.environ, "API_URL": server.url},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (completed.returncode, completed.stdout.strip()) == (0, "the session is over"), (
        completed.stderr
    )


def test_a_linter_finds_no_error(folder: Path) -> None:
    printed = run("redocly", "lint", "openapi.json", "--format=json", folder=folder)
    found: list[dict[str, Any]] = json.loads(printed)["problems"]
    assert [each["message"] for each in found if each["severity"] == "error"] == []
