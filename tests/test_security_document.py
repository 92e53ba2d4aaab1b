"""The tests that docs/security.md names exist, except those of modules that a team has removed."""

import re
from collections.abc import Iterator

from tests.architecture import ROOT

TESTS = ROOT / "tests"
# The modules of the release, and those of them that the application no longer has.
RECORDED = re.findall(
    r" backend/modules/(\w+)/manifest\.py$", (ROOT / "trellis.manifest").read_text(), re.MULTILINE
)
REMOVED = [
    name for name in RECORDED if not (ROOT / "backend/modules" / name / "manifest.py").exists()
]


def named() -> Iterator[tuple[str, str]]:
    """Return the file and function of each test that the document names."""
    for row in (ROOT / "docs" / "security.md").read_text().splitlines():
        file = ""
        for name in re.findall(r"`([\w/]+\.py|test_\w+)`", row):
            if name.endswith(".py"):
                file = name
            else:
                yield file, name


def exists(file: str, name: str) -> bool:
    path = TESTS / file
    return path.is_file() and bool(re.search(rf"def {name}\(", path.read_text()))


def test_every_promise_names_tests_that_exist() -> None:
    found = list(named())
    assert len(found) > 60
    removed = tuple(f"modules/{module}/" for module in REMOVED)
    missing = [
        f"{file}: {name}"
        for file, name in found
        if not file.startswith(removed) and not exists(file, name)
    ]
    assert not missing, "\n".join(missing)
