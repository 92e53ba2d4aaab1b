"""Names of database statements, without values."""

import re
from functools import lru_cache

MAX_TABLES = 4
_VERBS = ("INSERT", "UPDATE", "DELETE", "SELECT")
# A name before a point belongs to a column, and one before a parenthesis to a function, unless the
# columns of an INSERT follow.
_TABLE = re.compile(
    r'\bINTO\s+"?([a-z_]\w*)\b|\b(?:FROM|JOIN|UPDATE)\s+(?:ONLY\s+)?"?([a-z_]\w*)\b(?!"?\s*[.(])',
    re.ASCII,
)
_NAMED_QUERY = re.compile(
    r'"?([a-z_]\w*)"?(?:\s*\([^()]*\))?\s+AS\s+(?:(?:NOT\s+)?MATERIALIZED\s+)?\(', re.ASCII
)
_FUNCTION = re.compile(r"\s*SELECT\s+([a-z_]\w*)\s*\(", re.ASCII)
_STRING = re.compile(r"'(?:[^']|'')*'")
_WORD = re.compile(r"\s*([A-Za-z]{1,16})\b")


@lru_cache(maxsize=2048)
def statement_name(sql: str) -> str:
    """Return the verb and the tables of a statement, such as `SELECT users user_roles`.

    Keywords of `sql` are in upper case. The name contains no value: parameters are placeholders,
    and strings are removed.
    """
    sql = _STRING.sub("''", sql)
    word = _WORD.match(sql)
    if word is None:
        return "OTHER"
    verb = word[1].upper()
    if verb == "WITH":
        verb = next((each for each in _VERBS if re.search(rf"\b{each}\b", sql)), verb)
    if verb not in _VERBS:
        return verb
    named_queries = set(_NAMED_QUERY.findall(sql))
    found = (into or other for into, other in _TABLE.findall(sql))
    tables = [name for name in dict.fromkeys(found) if name not in named_queries][:MAX_TABLES]
    if not tables and (function := _FUNCTION.match(sql)):
        tables = [function[1]]
    return " ".join([verb, *tables])
