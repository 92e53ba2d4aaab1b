"""Files of accounts: CSV with a heading, or NDJSON with an object on each line."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from backend.core.errors import SAFE_NAME
from backend.core.http.strict_json import JSONRefusedError, loads

LONGEST_LINE = 1_000_000
# The number of a line, and its values or why it has none.
Line = tuple[int, dict[str, Any] | str]


class ImportRefusedError(Exception):
    """The file as a whole cannot be read. The text says why, and what to do."""


def opened(path: Path) -> TextIO:
    return path.open(encoding="utf-8-sig", newline="")


def position(file: TextIO) -> int:
    # A pipe has none.
    with suppress(OSError):
        return file.buffer.tell()
    return 0


def lines_of(file: TextIO, path: Path, columns: Sequence[str]) -> Iterator[Line]:
    """All lines that are not empty. A CSV may have no other than these `columns`."""
    first = 1
    texts = _texts(file)
    try:
        head = ""
        for head in texts:
            if head.strip():
                break
            first += 1
        is_json = path.suffix.lower() in (".ndjson", ".jsonl")
        if not is_json and path.suffix.lower() != ".csv":
            is_json = head.lstrip().startswith(("{", "["))
        if not head.strip():
            raise ImportRefusedError(f"{path} is empty: it needs a line for each account.")
        if is_json:
            yield from _of_json(head, texts, first, path)
        else:
            yield from _of_csv(head, texts, first, path, columns)
    except UnicodeDecodeError:
        raise ImportRefusedError(f"{path} is not UTF-8: save it in that encoding.") from None


def _texts(file: TextIO) -> Iterator[str]:
    for text in iter(partial(file.readline, LONGEST_LINE + 1), ""):
        if len(text) > LONGEST_LINE:
            raise ImportRefusedError(
                f"A line has more than {LONGEST_LINE} characters: write one account on each line."
            )
        yield text


def _of_json(head: str, texts: Iterator[str], first: int, path: Path) -> Iterator[Line]:
    if head.lstrip().startswith("["):
        raise ImportRefusedError(
            f"{path} is a list in JSON: write one object on each line, without a list around them."
        )
    yield first, _object(head)
    for number, text in enumerate(texts, first + 1):
        if text.strip():
            yield number, _object(text)


def _object(text: str) -> dict[str, Any] | str:
    try:
        found = loads(text.encode())
    except (JSONRefusedError, UnicodeEncodeError):
        return "This is not valid JSON."
    return found if isinstance(found, dict) else "This is not an object in JSON."


def _of_csv(
    head: str, texts: Iterator[str], first: int, path: Path, known: Sequence[str]
) -> Iterator[Line]:
    def all_texts() -> Iterator[str]:
        yield head
        yield from texts

    rows = csv.reader(all_texts(), strict=True)
    try:
        columns = [name.strip() for name in next(rows)]
        _check_columns(columns, path, known)
        before = first - 1 + rows.line_num
        for row in rows:
            # A row may go over several lines; it is known by its first.
            number = before + 1
            before = first - 1 + rows.line_num
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(columns):
                yield number, f"Has {len(row)} cells, where the first line has {len(columns)}."
            elif "\0" in "".join(row):
                yield number, "Holds a NUL character."
            else:
                yield number, dict(zip(columns, row, strict=True))
    except csv.Error as error:
        raise ImportRefusedError(
            f"Line {first - 1 + rows.line_num} of {path} is not CSV ({error}): put values that "
            'hold commas or quotes between quotes, and double the quotes inside ("").'
        ) from None


def _check_columns(columns: list[str], path: Path, known: Sequence[str]) -> None:
    listed = ", ".join(known)
    if "email" not in columns:
        # The text in its place may be somebody's address.
        raise ImportRefusedError(
            f"The first line of {path} has no column email: it names the columns, separated by "
            f"commas, out of {listed}."
        )
    if len(set(columns)) != len(columns):
        raise ImportRefusedError(f"The first line of {path} names a column twice.")
    if unknown := [name for name in columns if name not in known]:
        names = (name if SAFE_NAME.fullmatch(name) else "one without a name" for name in unknown)
        raise ImportRefusedError(
            f"{path} has columns that are not known ({', '.join(names)}): leave only {listed}."
        )
