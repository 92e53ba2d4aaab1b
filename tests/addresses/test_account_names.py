"""All spellings of an e-mail address or username have the same key."""

import sys
import unicodedata

import pytest

from backend.addresses.account_names import folded, name_key

CHARACTERS = [chr(point) for point in range(sys.maxunicode + 1) if not 0xD800 <= point < 0xE000]
MARKS = "".join(
    character for character in map(chr, range(0x300, 0x370)) if unicodedata.combining(character)
)


@pytest.mark.slow
def test_folding_twice_changes_nothing_whatever_the_character() -> None:
    assert [each for each in CHARACTERS if folded(folded(each)) != folded(each)] == []
    # An accent that composes with a folded letter does not change that either.
    changing = [each for each in CHARACTERS if folded(each) != each and each.isalpha()]
    pairs = [each + mark for each in changing for mark in MARKS]
    assert [pair for pair in pairs if folded(folded(pair)) != folded(pair)] == []
    assert len(pairs) > 100_000


@pytest.mark.slow
def test_how_a_letter_is_composed_does_not_count() -> None:
    decomposed = ((each, unicodedata.normalize("NFD", each)) for each in CHARACTERS)
    assert [each for each, parts in decomposed if folded(each) != folded(parts)] == []


def test_a_key_is_at_most_three_times_as_long() -> None:
    assert max(len(folded(each)) for each in CHARACTERS) == 3


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("josé@example.com", "JOSÉ@EXAMPLE.COM"),
        ("josé@example.com", unicodedata.normalize("NFD", "José@example.com")),
        ("νίκος@example.com", "ΝΊΚΟΣ@example.com"),
        ("νίκος@example.com", "νίκοσ@example.com"),
        ("strauß@example.com", "STRAUSS@example.com"),
        ("istanbul@example.com", "ISTANBUL@example.com"),
        ("i̇stanbul@example.com", "İSTANBUL@example.com"),
        ("kate@example.com", "\N{KELVIN SIGN}ate@example.com"),
        ("ﬁn@example.com", "FIN@example.com"),
        ("ДМИТРИЙ@example.com", "дмитрий@example.com"),
        # Two marks on one letter, in any order.
        ("a\N{COMBINING DOT BELOW}\N{COMBINING ACUTE ACCENT}", "Á\N{COMBINING DOT BELOW}"),
        ("ada@münchen.example", "ada@MÜNCHEN.example"),
        ("ada@münchen.example", "ADA@xn--mnchen-3ya.example"),
        ("ada@münchen.example", "ada@XN--MNCHEN-3YA.EXAMPLE"),
        ("ada@münchen.example", "ada@münchen。example"),
        ("ada@münchen.example", unicodedata.normalize("NFD", "ada@münchen.example")),
        ("ada@example.com", "ada@example\N{FULLWIDTH FULL STOP}com"),
        (" ada@example.com\t", "ada@example.com"),
        ("Ada.L-9_", "aDA.l-9_"),
    ],
)
def test_spellings_of_one_name(first: str, second: str) -> None:
    assert name_key(first) == name_key(second)
    assert name_key(name_key(first)) == name_key(first)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("josé@example.com", "jose@example.com"),
        ("ada@example.com", "ada+1@example.com"),
        ("ada@example.com", "a.da@example.com"),
        ("\N{LATIN SMALL LETTER DOTLESS I}smail@example.com", "ismail@example.com"),
        ("xn--mnchen-3ya@example.com", "münchen@example.com"),
        ("ada@xn--mnchen-3ya", "ada@münchen"),
        ("", " ada"),
    ],
)
def test_other_names_stay_apart(first: str, second: str) -> None:
    assert name_key(first) != name_key(second)
