"""The code of the documents."""

import re

from tests.architecture import ROOT


def code_blocks(name: str) -> list[str]:
    """Return the blocks of Python in `docs/{name}`."""
    text = (ROOT / "docs" / name).read_text("utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
