"""Declarations of this module for the tests of all modules; see tests/declared.py."""

OPEN: dict[str, str] = {
    "erase": "Core calls it when an account is deleted.",
    "guard_of": "It makes a statement for the response that the caller gets.",
    "keep_response": "Core calls it with a response that the caller gets.",
}
