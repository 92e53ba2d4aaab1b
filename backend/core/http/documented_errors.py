"""The meanings of all error codes, as the OpenAPI document lists them."""

from typing import Any

from backend.core import errors

PROBLEM_MEDIA = "application/problem+json"
_MEMBERS = ("status", "title", "detail")


def meanings_of_errors(paths: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return status, title and detail by code: errors of these paths, and those of `core`, which
    also occur outside of them, such as at unknown addresses."""
    # Of the loaded errors only those of `core`: others may belong to another application.
    usual = [each for each in errors.all_errors() if each.__module__ == errors.__name__]
    responses = list(errors.error_responses(*usual).values())
    for operations in paths.values():
        for operation in operations.values():
            responses += operation["responses"].values()
    found = {}
    for response in responses:
        examples = response.get("content", {}).get(PROBLEM_MEDIA, {}).get("examples", {})
        for code, example in examples.items():
            found[code] = {name: example["value"][name] for name in _MEMBERS}
    return dict(sorted(found.items()))
