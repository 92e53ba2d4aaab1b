"""AGENTS.md, the rules for coding assistants, agrees with the code."""

import re
from pathlib import Path

from tests import architecture
from tools.layout import PAGE as ARCHITECTURE

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "AGENTS.md").read_text()
PROSE = " ".join(PAGE.split())


def test_its_commands_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)", PAGE))
    assert named
    assert named <= targets


def test_the_files_and_folders_it_names_exist() -> None:
    paths = re.findall(r"\]\(([^)]+)\)", PAGE) + re.findall(r"`((?:\w+/)+\w+(?:\.py)?)`", PAGE)
    missing = [path for path in paths if not (ROOT / path).exists()]
    assert len(paths) > 6
    assert missing == []


def test_its_layers_are_those_of_the_architecture_test() -> None:
    layers = " → ".join(reversed(architecture.LAYERS))
    assert layers in PROSE
    assert layers in ARCHITECTURE.read_text()
    assert architecture.ORDER.replace("->", "→") in PROSE
    assert all(f"`{name}`" in PROSE for name in architecture.PUBLIC)


def test_its_sizes_are_those_of_the_architecture_test() -> None:
    assert (
        f"Functions have at most {architecture.MAX_FUNCTION} lines, files at most "
        f"{architecture.MAX_FILE}, test files at most {architecture.MAX_TEST_FILE}; "
        f"{100 - architecture.LONG_PERCENT} of 100 functions at most {architecture.USUAL_FUNCTION}."
    ) in PROSE
