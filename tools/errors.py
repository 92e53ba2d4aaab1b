"""Write docs/errors.md from the error classes and openapi.json.

With --check, fail if the page is out of date.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from backend.core.errors import AppError, all_errors
from backend.core.registry import discover
from tools.contract import documents_of

ROOT = Path(__file__).parents[1]
PAGE, DOCUMENT = ROOT / "docs" / "errors.md", ROOT / "openapi.json"
COMMAND = "python -m tools.errors"
# Codes of more routes than this are described by the number of routes.
MAX_LISTED = 8
INTRODUCTION = f"""# Errors

`{COMMAND}` writes this page from the error classes and the OpenAPI document.
[Using the API](http.md#errors) describes the form of errors and what clients do about each;
`GET /errors/{{code}}` returns the status and the meaning of one.
"""


def documents() -> list[Any]:
    """Return the OpenAPI documents, by version of the API."""
    return [
        json.loads(path.read_text("utf-8")) for _, path in sorted(documents_of(DOCUMENT).items())
    ]


def render(document: Mapping[str, Any], *later: Mapping[str, Any]) -> str:
    """Return the page as Markdown; `document` is the OpenAPI document.

    Routes of later versions are listed for the errors that no route of version 1 has.
    """
    routes = _routes_by_code(document)
    for each in later:
        routes = {**_routes_by_code(each), **routes}
    number = sum(len(operations) for operations in document["paths"].values())
    sections = [INTRODUCTION]
    for error in sorted(_raised(routes).values(), key=lambda each: (each.status, each.code)):
        shown = _shown(routes.get(error.code, ()), number)
        sections.append(f"### {error.status} {error.code}\n\n{error.detail}\n\n{shown}\n")
    return "\n".join(sections)


def _raised(routes: Mapping[str, Sequence[str]]) -> dict[str, type[AppError]]:
    """Return the errors of responses by code: not those of tests and of the command line."""
    return {
        error.code: error for error in all_errors() if error.code in routes or _is_of_core(error)
    }


def _is_of_core(error: type[AppError]) -> bool:
    """Return whether a file of core defines the class; others are made while requests run."""
    module = error.__module__
    return module.startswith("backend.core.") and hasattr(sys.modules[module], error.__name__)


def _routes_by_code(document: Mapping[str, Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for response in operation["responses"].values():
                for content in response.get("content", {}).values():
                    for code in content.get("examples", {}):
                        found[code].append(f"`{method.upper()} {path}`")
    return found


def _shown(routes: Sequence[str], number: int) -> str:
    if not routes:
        return "Any request can have this response."
    if len(routes) == number:
        return "All routes document it."
    if len(routes) > MAX_LISTED:
        return f"{len(routes)} of {number} routes document it."
    return "\n".join(f"* {route}" for route in sorted(routes, key=_by_path))


def _by_path(route: str) -> tuple[str, ...]:
    return tuple(reversed(route.split()))


def main() -> None:
    discover()  # loads the error classes
    page = render(*documents())
    if sys.argv[1:] != ["--check"]:
        PAGE.write_text(page, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text("utf-8") != page:
        sys.exit(f"docs/errors.md is out of date. Run: {COMMAND}")


if __name__ == "__main__":
    main()
