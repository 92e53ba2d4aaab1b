"""The tests that docs/security.md names exist."""

import re
from collections.abc import Iterator

from tests.architecture import ROOT

TESTS = ROOT / "tests"


def named() -> Iterator[tuple[str, str]]:
    """Return the file and function of each test that the document names."""
    for row in (ROOT / "docs" / "security.md").read_text().splitlines():
        file = ""
        for name in re.findall(r"`([\w/]+\.py|test_\w+)`", row):
            if name.endswith(".py"):
                file = name
            else:
                yield file, name


def test_every_promise_names_tests_that_exist() -> None:
    found = list(named())
    assert len(found) > 60
    missing = [
        f"{file}: {name}"
        for file, name in found
        if not (TESTS / file).is_file()
        or not re.search(rf"def {name}\(", (TESTS / file).read_text())
    ]
    assert not missing, "\n".join(missing)
