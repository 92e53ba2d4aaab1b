"""The code of the documents."""

import re

from tests.architecture import ROOT


def code_blocks(name: str) -> list[str]:
    """Return the blocks of Python in `docs/{name}`."""
    return re.findall(r"^```python\n(.*?)^```$", _page(name), re.DOTALL | re.MULTILINE)


def files_of_page(name: str) -> dict[str, str]:
    """Return the files that `docs/{name}` shows as a path and a block of Python, by path."""
    pattern = r"^`([\w/]+\.py)`\n\n```python\n(.*?)```$"
    return dict(re.findall(pattern, _page(name), re.MULTILINE | re.DOTALL))


def _page(name: str) -> str:
    return (ROOT / "docs" / name).read_text("utf-8")
