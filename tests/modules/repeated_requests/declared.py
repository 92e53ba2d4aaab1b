"""Declarations of this module for the tests of all modules; see tests/declared.py."""

OPEN: dict[str, str] = {
    "erase": "Core calls it when an account is deleted.",
    "keep_response": "Core calls it with a response that the caller gets.",
}
