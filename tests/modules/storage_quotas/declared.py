"""Declarations of this module for the tests of all modules; see tests/declared.py."""

from tests.declared import Case, with_user

CASES: dict[str, Case] = {"add_rows": Case(with_user(rows=[("Milk",)]))}
