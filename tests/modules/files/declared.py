"""Declarations of this module for the tests of all modules; see tests/declared.py."""

from tests.declared import Rule

RULES = (Rule("GET /files/{key}", "download"),)

OPEN: dict[str, str] = {
    "check_storage": "Readiness checks have no caller.",
    "find_file": "The key of a public file, or the signature of a link, is the credential.",
    "read_file": "Takes a file that `find_file` has returned.",
    "try_storage": "A check of the command line.",
}
