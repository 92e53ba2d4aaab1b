"""The code of the documents, and the files that they build step by step."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from tests.architecture import ROOT


@dataclass(frozen=True)
class Block:
    """A block of code; `path` is the file that it contains, or changes if it is a diff."""

    language: str
    text: str
    path: str | None


def blocks(name: str) -> list[Block]:
    """Return the blocks of `docs/{name}`. A line with a path alone is above those of files."""
    page = (ROOT / "docs" / name).read_text("utf-8")
    pattern = r"(?:^`([\w./-]+)`\n\n)?^```(\w*)\n(.*?)^```$"
    found = re.findall(pattern, page, re.MULTILINE | re.DOTALL)
    return [Block(language, text, path or None) for path, language, text in found]


def code_blocks(name: str) -> list[str]:
    """Return the blocks of Python in `docs/{name}`."""
    return [block.text for block in blocks(name) if block.language == "python"]


def adds(*modules: str) -> pytest.MarkDecorator:
    """Skip a test that adds these modules of the pages, if the project has one of them."""
    present = [name for name in modules if (ROOT / "backend" / "modules" / name).exists()]
    reason = f"the project has a module {' and '.join(present)} of its own"
    return pytest.mark.skipif(bool(present), reason=reason)


def files_of_page(name: str) -> dict[str, str]:
    """Return the files that `docs/{name}` builds, by path, after all of its changes."""
    files: dict[str, str] = {}
    for block in blocks(name):
        if block.path is not None:
            files[block.path] = content(block, files)
    return files


def content(block: Block, files: Mapping[str, str]) -> str:
    """Return the content of the block's file after it."""
    assert block.path is not None
    return block.text if block.language != "diff" else _patched(files[block.path], block)


def _patched(text: str, diff: Block) -> str:
    """Apply the hunks of a diff, which lines with `@@` separate; each fits one place."""
    for hunk in re.split(r"^@@\n", diff.text, flags=re.MULTILINE):
        lines = [line or " " for line in hunk.splitlines()]
        assert all(line[0] in " +-" for line in lines), hunk
        before, after = (
            "".join(f"{line[1:]}\n" for line in lines if line[0] in kept) for kept in (" -", " +")
        )
        assert text.count(before) == 1, f"{diff.path} has not one place for:\n{hunk}"
        text = text.replace(before, after)
    return text
