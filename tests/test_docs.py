"""The pages of docs/: links between them, the navigation of the site, and the generated pages."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tools import errors

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "AGENTS.md", *DOCS.glob("**/*.md")])
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]*))?\)")


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", without_code(page.read_text()), re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {text.strip().replace(" ", "-") for text in kept}


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_pages_and_headings(page: Path) -> None:
    for path, anchor in LINK.findall(without_code(page.read_text())):
        target = (page.parent / path) if path else page
        assert target.exists(), f"{page.name}: {path} does not exist"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {path} has no heading #{anchor}"


def test_the_site_lists_every_page_once() -> None:
    nav = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]
    listed = sorted(leaves(nav))
    assert listed == sorted(str(page.relative_to(DOCS)) for page in DOCS.glob("**/*.md")), (
        "List each page of docs/ once in `nav` of zensical.toml."
    )


def leaves(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
        return
    for part in nav.values() if isinstance(nav, dict) else nav:
        yield from leaves(part)


def test_the_page_of_errors_is_current() -> None:
    assert errors.render(*errors.documents()) == errors.PAGE.read_text(), (
        f"docs/errors.md is out of date. Run: {errors.COMMAND}"
    )


def test_errors_that_only_a_later_version_has_are_listed() -> None:
    def document(path: str, *codes: str) -> dict[str, Any]:
        content = {"application/problem+json": {"examples": dict.fromkeys(codes)}}
        return {"paths": {path: {"get": {"responses": {"409": {"content": content}}}}}}

    first = document("/api/v1/notes", "CONFLICT")
    page = errors.render(first, document("/api/v2/notes", "CONFLICT", "LAST_ADMIN"))
    assert "### 409 LAST_ADMIN\n" in page
    assert "`GET /api/v2/notes`" not in page.split("### 409 LAST_ADMIN")[0]
