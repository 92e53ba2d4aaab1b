"""Singular and plural of English nouns, as they occur in names of modules."""

_IRREGULAR = {
    "aliases": "alias",
    "analyses": "analysis",
    "axes": "axis",
    "caches": "cache",
    "children": "child",
    "crises": "crisis",
    "criteria": "criterion",
    "dice": "die",
    "diagnoses": "diagnosis",
    "excuses": "excuse",
    "feet": "foot",
    "fuses": "fuse",
    "geese": "goose",
    "halves": "half",
    "hypotheses": "hypothesis",
    "indices": "index",
    "knives": "knife",
    "leaves": "leaf",
    "lives": "life",
    "loaves": "loaf",
    "matrices": "matrix",
    "men": "man",
    "mice": "mouse",
    "movies": "movie",
    "parentheses": "parenthesis",
    "people": "person",
    "phenomena": "phenomenon",
    "pies": "pie",
    "cookies": "cookie",
    "quizzes": "quiz",
    "selves": "self",
    "shelves": "shelf",
    "shoes": "shoe",
    "teeth": "tooth",
    "theses": "thesis",
    "thieves": "thief",
    "ties": "tie",
    "vertices": "vertex",
    "wives": "wife",
    "wolves": "wolf",
    "women": "woman",
}
_UNCOUNTABLE = {
    *("advice", "data", "equipment", "evidence", "feedback", "information", "inventory", "luggage"),
    *("media", "metadata", "money", "news", "software", "staff", "stock"),
}
# Their plural is their singular.
_UNCHANGED = {"series", "species"}
# Endings of nouns whose plural adds `es`.
_SIBILANT = ("ss", "x", "ch", "sh", "zz")
# Their plural ends in `uses`, but not in `ouses` or `auses`.
_IN_US = ("bonus", "bus", "campus", "census", "consensus", "corpus", "status", "surplus", "virus")
_PLURALS = {singular: plural for plural, singular in _IRREGULAR.items()}


def singular_of(name: str) -> str | None:
    """Return the singular of a plural such as `sales_people`; None if it is not a plural."""
    before, _, noun = name.rpartition("_")
    found = _singular(noun)
    if found is None:
        return None
    return f"{before}_{found}" if before else found


def plural_of(name: str) -> str:
    """Return the plural of a singular such as `sales_person`."""
    before, _, noun = name.rpartition("_")
    found = _plural(noun)
    return f"{before}_{found}" if before else found


def _singular(noun: str) -> str | None:
    if noun in _UNCOUNTABLE | _UNCHANGED:
        return noun
    if noun in _IRREGULAR:
        return _IRREGULAR[noun]
    if len(noun) < 3 or not noun.endswith("s") or noun.endswith(("ss", "us", "is")):
        return None
    stem = noun.removesuffix("es")
    if stem != noun and (stem.endswith((*_SIBILANT, "o")) or stem in _IN_US):
        return stem
    if noun.endswith("ies") and len(noun) > 4:
        return f"{noun[:-3]}y"
    return noun[:-1]


def _plural(noun: str) -> str:
    if noun in _UNCOUNTABLE | _UNCHANGED:
        return noun
    if noun in _PLURALS:
        return _PLURALS[noun]
    if noun.endswith("y") and noun[-2:-1] not in tuple("aeiou"):
        return f"{noun[:-1]}ies"
    return noun + ("es" if noun.endswith((*_SIBILANT, "s", "o")) else "s")


def is_uncountable(name: str) -> bool:
    return name.rpartition("_")[2] in _UNCOUNTABLE


def with_article(words: str) -> str:
    """Return the words with `a` or `an`, by their first letter."""
    silent = ("uni", "use", "eu", "one")
    vowel = words[0] in "aeiou" and not words.startswith(silent)
    return f"{'an' if vowel or words.startswith('hour') else 'a'} {words}"
