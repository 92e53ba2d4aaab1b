"""`backend module new` checks names, and writes code that passes the checks of the project."""

import random
import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Annotated

import pytest
import sqlalchemy as sa

from backend.cli.scaffold import references
from backend.cli.scaffold.command import _write
from backend.cli.scaffold.fields import TYPES, Field, parse_fields
from backend.cli.scaffold.formatting import formatted, ruff
from backend.cli.scaffold.names import check_collisions, parse_name
from backend.cli.scaffold.references import target_of
from backend.cli.scaffold.rendering import render
from backend.cli.scaffold.words import plural_of, singular_of
from backend.cli.terminal import CommandError
from backend.core.schemas import Schema
from backend.core.value_types import Exact
from tests.applications import MODULES
from tests.commands import ROOT

# A field of each type, as `name:type`, and what can be added to it.
SAMPLES = {
    "str": ("number:str:max=20", ":unique"),
    "text": ("remarks:text", ""),
    "int": ("quantity:int", ":unique"),
    "decimal": ("amount:decimal(10,4)", ":unique"),
    "bool": ("is_paid:bool", ""),
    "date": ("due_on:date", ":unique"),
    "datetime": ("sent_at:datetime", ":unique"),
    "uuid": ("external_key:uuid", ":unique"),
    "email": ("contact:email", ":unique"),
    "url": ("homepage:url", ""),
    "enum": ("status:enum(draft,sent,paid)", ""),
    "ref": ("customer:ref(users)", ""),
}


def test_fields_are_parsed() -> None:
    assert parse_fields("number:str:unique, rate : decimal(10,4) ?, paid_on:date?:unique,") == [
        Field("number", "str", unique=True, max_length=255),
        Field("rate", "decimal", optional=True, digits=10, places=4),
        Field("paid_on", "date", optional=True, unique=True),
    ]
    assert parse_fields("code:str:max=8?, status:enum(a,b), buyer:ref(users)") == [
        Field("code", "str", optional=True, max_length=8),
        Field("status", "enum", arguments=("a", "b")),
        Field("buyer_id", "ref", arguments=("users",)),
    ]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ("", "needs at least one field"),
        ("number", "'number' is not a field: write name:type"),
        ("number:string", "did you mean str?"),
        ("number:blob", "use one of str, text, int"),
        ("Number:str", "use lower-case letters"),
        ("_number:str", "use lower-case letters"),
        (f"{'n' * 31}:str", "longer than 30 characters"),
        ("class:str", "keyword of Python"),
        ("order:int", "reserved word of SQL"),
        ("created_at:date", "every row has this member"),
        ("owner:ref(users)", "every row has this member"),
        ("offset:int", "parameter of all lists"),
        ("fields:str", "parameter of all lists"),
        *((f"{name}:str", "attribute of all models") for name in ("copy", "json", "schema")),
        *((f"{name}:str", "attribute of all models") for name in ("metadata", "model_year")),
        ("date:date", "the name of a type"),
        ("number:str, number:int", "two fields 'number'"),
        ("number:int:max=3", "only str and text have a maximum"),
        ("number:str:max=9999", "a number from 1 to 500"),
        ("number:str:index", "':index' is unknown"),
        ("remarks:text:unique", "long texts cannot be unique"),
        ("number:int(3)", "takes nothing in parentheses"),
        ("amount:decimal(2,2)", "write decimal(12,2)"),
        ("status:enum", "write two or more values in parentheses"),
        ("status:enum(a,a)", "write two or more values in parentheses"),
        ("status:enum(a,b'c)", "write two or more values in parentheses"),
        ("status:enum(draft)", "write two or more values in parentheses"),
        ("buyer:ref", "name one module"),
        ("buyer:ref(users):unique?", "a reference to users cannot be unique"),
    ],
)
def test_fields_that_are_not_usable_are_refused(fields: str, sentence: str) -> None:
    with pytest.raises(CommandError) as refused:
        parse_fields(fields)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("plural", "singular"),
    [
        *(("invoices", "invoice"), ("purchase_orders", "purchase_order"), ("boxes", "box")),
        *(("categories", "category"), ("sales_people", "sales_person"), ("children", "child")),
        *(("addresses", "address"), ("statuses", "status"), ("houses", "house")),
        *(("expenses", "expense"), ("branches", "branch"), ("keys", "key"), ("series", "series")),
    ],
)
def test_plurals_have_a_singular(plural: str, singular: str) -> None:
    assert singular_of(plural) == singular
    assert plural_of(singular) == plural


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("invoice", "backend module new invoices. If 'invoice' is a plural, give its singular"),
        ("address", "backend module new addresses."),
        ("Invoices", "'Invoices' is not a usable name"),
        ("my-notes", "'my-notes' is not a usable name"),
        ("a" * 24 + "s", "is not a usable name"),
        ("classes", "A row cannot be called 'class'"),
        ("sets", "A row cannot be called 'set'"),
        ("sessions", "A row cannot be called 'session'"),
        *((name, "A row cannot be called") for name in ("warnings", "callers", "pages", "fields")),
        *((name, "A row cannot be called") for name in ("exceptions", "refusals", "new_rows")),
        ("items", "backend/modules/items exists already: choose another name."),
        ("mailed_tokens", "A table 'mailed_tokens' exists already: choose another name."),
        ("components", "has the word 'components' in another meaning"),
    ],
)
def test_names_that_are_not_usable_are_refused(name: str, sentence: str) -> None:
    with pytest.raises(CommandError) as refused:
        check_collisions(parse_name(name, None), [], ROOT)
    assert sentence in str(refused.value)


def test_a_constraint_with_a_long_name_is_refused() -> None:
    fields = parse_fields(f"{'n' * 30}:str:unique")
    with pytest.raises(CommandError, match="which is too long: choose a shorter name"):
        check_collisions(parse_name(f"{'m' * 23}s", None), fields, ROOT)


@pytest.mark.parametrize("module", ["nothing", "roles", "health", "files"])
def test_a_reference_to_something_else_is_refused(module: str) -> None:
    with pytest.raises(CommandError, match=r"rows can refer to .*users"):
        target_of(module, MODULES)


def test_tests_create_distinct_rows_to_refer_to() -> None:
    class InvoiceCreate(Schema):
        number: str
        amount: Annotated[Decimal, Exact(2, 1)]
        quantity: int
        due_on: date
        title: str

    unique = ("number", "amount", "quantity", "due_on")
    table = sa.Table(
        "invoices",
        sa.MetaData(),
        *(sa.Column(name, sa.String) for name in unique),
        *(sa.UniqueConstraint(name) for name in unique),
    )
    body, needs = references._body(InvoiceCreate, table, {})
    numbers = {"NUMBERS": count(1)}
    one, two = (InvoiceCreate(**eval(body, numbers)) for _ in range(2))  # noqa: S307
    assert [getattr(one, name) == getattr(two, name) for name in unique] == [False] * 4
    assert (one.title, needs) == (two.title, ())


def test_an_error_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file.py").touch()
    with pytest.raises(CommandError, match="Nothing was written"):
        _write({"made/inside/file.py": "", "there/file.py": ""}, tmp_path)
    assert [*tmp_path.iterdir()] == [tmp_path / "there"]


def modules() -> Iterator[tuple[str, str]]:
    """Yield names and fields of modules: each type alone, all together, and random ones."""
    for kind, (field, unique) in SAMPLES.items():
        yield f"{kind}_rows", f"{field}{unique}"
    every = [field for field, _ in SAMPLES.values()]
    yield "required_rows", ",".join(every)
    yield "unique_rows", ",".join(f"{field}{unique}?" for field, unique in SAMPLES.values())
    values = ",".join(f"a_rather_long_value_{number}" for number in range(20))
    targets = [name for name in ("items", "articles") if name in {m.name for m in MODULES}]
    others = "".join(f", {name}:ref({name}), a_{name}:ref({name})?" for name in targets)
    linked = f"buyer:ref(users), seller:ref(users)?{others}"
    yield f"{'m' * 23}s", f"{'n' * 30}:text?, {'e' * 30}:enum({values})"
    yield "linked_rows", linked
    yield "statuses", "status:enum(a,b), filter:enum(a,b), boolean:enum(a,b), warning:enum(a,b)"
    yield "news", "title:str:unique"
    choose = random.Random(14)  # noqa: S311  # not a secret
    for number in range(5):
        fields = choose.sample(every, choose.randint(1, len(every)))
        yield (
            f"random{number}_rows",
            ",".join(f"{each}{choose.choice(['', '?'])}" for each in fields),
        )


def test_generated_code_compiles_and_passes_ruff(tmp_path: Path) -> None:
    assert SAMPLES.keys() == TYPES.keys()
    files: dict[str, str] = {}
    for name, text in modules():
        names, fields = parse_name(name, None), parse_fields(text)
        targets = [target_of(each.arguments[0], MODULES) for each in fields if each.kind == "ref"]
        files |= render(names, fields, targets)
    for path, text in formatted(files).items():
        compile(text, path, "exec")
        assert not re.search(r"\{[{%]|[%}]\}|\n\n\n\n", text), text
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    ruff(tmp_path, "check")
    ruff(tmp_path, "format", "--check")
