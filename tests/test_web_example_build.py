"""The files of examples/web compile, and hold no addresses of packages."""

import re
from pathlib import Path

import pytest

from tests import npm
from tests.commands import ROOT

APP = ROOT / "examples" / "web"


@pytest.mark.slow
def test_it_compiles_and_builds(tmp_path: Path) -> None:
    npm.require_packages(APP)
    npm.run("node_modules/.bin/tsc", folder=APP)
    npm.run("node_modules/.bin/vite", "build", "--outDir", str(tmp_path), folder=APP)
    (script,) = (tmp_path / "assets").glob("*.js")
    assert "/items" in script.read_text()
    # The hint at the mailbox is for development.
    assert "/dev/mailbox" not in script.read_text()


def test_the_lock_file_has_no_addresses_of_packages() -> None:
    resolved = re.findall(r'"resolved": "(.*)"', (APP / "package-lock.json").read_text())
    assert resolved == ["../../clients/typescript"]
