"""The meanings of all error codes, as the OpenAPI document lists them."""

from typing import Any

from backend.core import errors

PROBLEM_MEDIA = "application/problem+json"
_MEMBERS = ("status", "title", "detail")
# Only errors with these statuses may have `errors`, by field.
_FIELD_STATUSES = (409, 422)


def meanings_of_errors(paths: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the meanings by code: errors of these paths, and those of `core`, which also occur
    outside of them, such as at unknown addresses.

    A meaning has status, title and detail; `errors`, whether the problem may list errors by
    field; and `retry_after`, whether the response has that header.
    """
    # Of the loaded errors only those of `core`: others may belong to another application.
    usual = [each for each in errors.all_errors() if each.__module__ == errors.__name__]
    responses = list(errors.error_responses(*usual).values())
    for operations in paths.values():
        for operation in operations.values():
            responses += operation["responses"].values()
    delayed = {each.code for each in usual if "Retry-After" in each.default_headers}
    found: dict[str, dict[str, Any]] = {}
    for response in responses:
        examples = response.get("content", {}).get(PROBLEM_MEDIA, {}).get("examples", {})
        for code, example in examples.items():
            value = example.get("value", {})
            if value.get("error") != code:
                # An example that is not of `error_responses`.
                continue
            if "Retry-After" in response.get("headers", {}):
                delayed.add(code)
            found[code] = {name: value[name] for name in _MEMBERS}
            found[code]["errors"] = value["status"] in _FIELD_STATUSES
            found[code]["retry_after"] = code in delayed
    return dict(sorted(found.items()))
