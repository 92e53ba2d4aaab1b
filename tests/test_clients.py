"""TypeScript clients generated from the OpenAPI document work with the server."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import databases, npm
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
    npm.require_packages(CLIENTS)


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
    quiet = {"CI": "1", "REDOCLY_TELEMETRY": "off", **environment}
    command = (str(PACKAGES / ".bin" / program), *arguments)
    return npm.run(*command, folder=folder, timeout=240, **quiet)


@pytest.mark.parametrize("generator", GENERATORS)
def test_a_generated_client(server: Server, folder: Path, generator: str) -> None:
    """The client compiles strictly, registers, signs in, writes, refreshes, reads, signs out."""
    shutil.copy(CLIENTS / f"{generator}.ts", folder)
    program, *arguments = GENERATORS[generator]
    run(program, *arguments, folder=folder, API_URL=server.url)
    run("tsc", "--project", "tsconfig.json", folder=folder)
    bundle = ["--bundle", "--platform=node", "--format=esm", "--outfile=story.mjs"]
    run("esbuild", f"{generator}.ts", *bundle, folder=folder)
    told = npm.run("node", "story.mjs", folder=folder, timeout=120, API_URL=server.url)
    assert told.strip() == "the session is over"


def test_a_linter_finds_no_error(folder: Path) -> None:
    printed = run("redocly", "lint", "openapi.json", "--format=json", folder=folder)
    found: list[dict[str, Any]] = json.loads(printed)["problems"]
    assert [each["message"] for each in found if each["severity"] == "error"] == []
