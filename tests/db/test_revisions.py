"""Generated migrations can be applied, reverted and applied again."""

import itertools
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from psycopg.sql import SQL, Identifier
from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Integer, Text, text
from sqlalchemy.dialects import postgresql as pg

from backend.cli.comparison import drift
from backend.cli.lock_check import upgrade_observed
from backend.cli.revision import _left_over, _write
from backend.cli.schema import move
from backend.cli.terminal import CommandError
from backend.db.base import NAMING_CONVENTION, Base
from backend.db.schema import migrations
from backend.db.schema.migrations import FOLDER, alembic_config

Part = Callable[[], Any]
Shape = Sequence[Part]
KEY = "id"


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the migrations, to which a test may add."""
    copy = tmp_path / "migrations"
    shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(migrations, "FOLDER", copy)
    return copy / "versions"


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Declares tables gadgets_0, gadgets_1 and so on, replacing earlier ones."""
    ours = Base.metadata

    def make(*shapes: Shape) -> None:
        # New metadata each time: an enum type stays in it after its table is removed.
        metadata = sa.MetaData(naming_convention=NAMING_CONVENTION)
        for table in ours.sorted_tables:
            table.to_metadata(metadata)
        for number, parts in enumerate(shapes):
            if parts:
                made = sa.MetaData(naming_convention=NAMING_CONVENTION)
                key = Column(KEY, Integer, primary_key=True)
                table = sa.Table(f"gadgets_{number}", made, key, *(part() for part in parts))
                _name_apart(table, number)
                table.to_metadata(metadata)
        monkeypatch.setattr(Base, "metadata", metadata)

    return make


def _name_apart(table: sa.Table, number: int) -> None:
    """Number the names of indexes and enum types, which are unique within a schema."""
    for index in table.indexes:
        index.name = sa.quoted_name(f"{index.name}_{number}", None)
    for each in table.columns:
        kind = each.type.item_type if isinstance(each.type, sa.ARRAY) else each.type
        if isinstance(kind, sa.Enum) and kind.native_enum:
            kind.name = f"{kind.name}_{number}"


def described_drift(url: str) -> str:
    return drift(url).described("the database")


def write(url: str, message: str) -> str:
    """Generate a migration and return its text."""
    return _write(url, message, drift(url)).read_text()


def mood(*members: str, **options: Any) -> sa.Enum:
    return sa.Enum(*members, name="mood", **options)


def column(*members: str, **options: Any) -> Part:
    return lambda: Column("mood", mood(*members), **options)


def moods(*members: str) -> Part:
    return lambda: Column("moods", pg.ARRAY(mood(*members)), server_default="{a}")


def words(*members: str) -> Part:
    """An enum that is stored as text."""
    kind = {"native_enum": False, "create_constraint": True, "length": 9}
    return lambda: Column("mood", mood(*members, **kind))


def any_(name: str, kind: Any = Text, *more: Any, **options: Any) -> Part:
    return lambda: Column(name, kind, *more, **options)


def check(condition: str, name: str = "mood") -> Part:
    return lambda: CheckConstraint(condition, name=name)


def index(*expressions: str, where: str | None = None, **options: Any) -> Part:
    if where:
        options["postgresql_where"] = text(where)
    return lambda: Index("ix_gadgets", *map(text, expressions), **options)


def owner(**options: Any) -> Part:
    return lambda: Column("owner_id", ForeignKey("users.id", **options))


STEPS: dict[str, tuple[Shape, Shape]] = {
    "enum type with its table": ((), (column("a", "b", nullable=False),)),
    "enum type with its column": ((any_("x"),), (column("a", "b", server_default="b"),)),
    "array of an enum type": ((any_("x"),), (moods("a", "b"),)),
    "member at the end": ((column("a", "b"),), (column("a", "b", "c"),)),
    "member at the beginning": ((column("b", "c"),), (column("x", "y", "b", "c"),)),
    "members in between": ((column("a", "d"),), (column("a", "b", "c", "d"),)),
    "member that the same migration uses": (
        (column("a"),),
        (
            column("a", "b", server_default="b"),
            index(KEY, where="mood = 'b'"),
            check("mood <> 'b'"),
        ),
    ),
    "member of an array": ((moods("a"),), (moods("a", "b"),)),
    "order, with what depends on it": (
        (column("a", "b", server_default="a"), index(KEY, where="mood = 'a'"), check("mood > 'a'")),
        (column("b", "a", server_default="a"), index(KEY, where="mood = 'a'"), check("mood > 'a'")),
    ),
    "member that conditions name": (
        (column("a", "b"), index(KEY, where="mood = 'b'"), check("mood <> 'b'")),
        (column("a", "c"), index(KEY, where="mood = 'c'"), check("mood <> 'c'")),
    ),
    "order of an array": ((moods("a", "b"),), (moods("b", "a"),)),
    "members with quotes, colons and per cents": (
        (column("it's", ":x"),),
        (column("it's", ":x", "a:b 9% :y"), check(r"mood <> '\:x' AND mood::text NOT LIKE '%z'")),
    ),
    "text that becomes an enum": (
        (any_("mood", Text, server_default="a"),),
        (column("a", "b", server_default="b"),),
    ),
    "check": ((any_("mood"), check("mood > 'a'")), (any_("mood"), check("id > 1"))),
    "check added": ((any_("mood"),), (any_("mood"), check(r"mood IN ('a', '\:b')"))),
    "check of an enum as text": ((words("a"),), (words("a", "b"),)),
    "column of an enum as text": ((any_("x"),), (any_("x"), words("a"))),
    "table of an enum as text": ((), (words("a", "b"),)),
    "exclusion": (
        (any_("span", pg.INT4RANGE),),
        (
            any_("span", pg.INT4RANGE),
            lambda: pg.ExcludeConstraint(("span", "&&"), name="ex_gadgets"),
        ),
    ),
    "predicate": ((index(KEY, where="id > 1"),), (index(KEY, where="id > 2"),)),
    "order of an index": (
        (any_("name"), index("name")),
        (any_("name"), index("name DESC", unique=True)),
    ),
    "operators of an index": (
        (any_("name"), index("name")),
        (
            any_("name"),
            lambda: Index("ix_gadgets", "name", postgresql_ops={"name": "text_pattern_ops"}),
        ),
    ),
    "what a foreign key does": ((owner(),), (owner(ondelete="CASCADE"),)),
    "deferrable": (
        (any_("name"), lambda: sa.UniqueConstraint("name")),
        (any_("name"), lambda: sa.UniqueConstraint("name", deferrable=True)),
    ),
    "names that need quotes": (
        (any_("to"), check("\"to\" > 'a'", "Order")),
        (
            lambda: Column("to", sa.Enum("a", name="User")),
            lambda: Index("Ix", "to", postgresql_where=text("id > 1")),
        ),
    ),
    "type, default and comment": (
        (any_("name", sa.String(50)),),
        (any_("name", sa.String(60), server_default="x", comment="of people"),),
    ),
}
SHAPES = [*zip(*STEPS.values(), strict=True)]


@pytest.mark.parametrize("shapes", [SHAPES, SHAPES[::-1]], ids=["forwards", "backwards"])
@pytest.mark.slow
def test_generated_migration_goes_up_down_and_up(
    own_database_url: str, history: Path, declare: Callable[..., None], shapes: list[list[Shape]]
) -> None:
    url = own_database_url
    before, after = shapes
    declare(*before)
    write(url, "before")
    move(url, "head")
    assert described_drift(url) == ""
    declare(*after)
    script = write(url, "after")
    assert "sqlmodel" not in script
    move(url, "head")
    assert described_drift(url) == "", script
    move(url, "-1", down=True)
    declare(*before)
    assert described_drift(url) == "", script
    move(url, "head")
    declare(*after)
    assert described_drift(url) == "", script
    assert len(list(history.glob("*after.py"))) == 1


def test_rows_keep_their_members(
    own_database_url: str, history: Path, declare: Callable[..., None]
) -> None:
    url = own_database_url
    declare([column("a", "b", server_default="a")])
    write(url, "before")
    move(url, "head")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO gadgets_0 VALUES (1, 'b')")
        declare([column("c", "b", "a", server_default="a")])
        write(url, "after")
        move(url, "head")
        assert connection.execute("SELECT mood::text FROM gadgets_0").fetchall() == [("b",)]
        connection.execute("UPDATE gadgets_0 SET mood = 'c'")
        with pytest.raises(CommandError, match='invalid input value for enum mood_0: "c"'):
            move(url, "-1", down=True)
        assert described_drift(url) == ""
    assert history.exists()


class Reversed(sa.TypeDecorator[str]):
    """A decorated type, as a module may declare one."""

    impl = sa.String
    cache_ok = True


class Networks(sa.TypeDecorator[list[str]]):
    impl = pg.ARRAY(pg.CIDR)
    cache_ok = True


class Point(sa.types.UserDefinedType[str]):
    cache_ok = True

    def __init__(self, dimensions: int = 2) -> None:
        self.dimensions = dimensions

    def get_col_spec(self, **_: object) -> str:
        return "point"


def test_types_of_modules_are_written_as_plain_types(
    own_database_url: str, history: Path, declare: Callable[..., None]
) -> None:
    url = own_database_url
    declare([any_("name", Reversed(20)), any_("networks", Networks), any_("at", Point(2))])
    script = write(url, "types").replace("'", '"')
    assert 'sa.Column("name", sa.String(length=20), nullable=True)' in script
    assert "postgresql.ARRAY(postgresql.CIDR())" in script
    # `Point` decorates no plain type, so its module is imported.
    assert f"import {__name__}\n" in script
    assert f"{__name__}.Point(" in script
    assert history.exists()


def test_what_is_not_generated_is_told(
    own_database_url: str, history: Path, declare: Callable[..., None]
) -> None:
    url = own_database_url
    declare([any_("double", Integer, sa.Computed("id * 2", persisted=True))])
    write(url, "before")
    move(url, "head")
    declare([any_("double", Integer, sa.Computed("id * 3", persisted=True))])
    assert _left_over(drift(url)) == (
        "gadgets_0.double: the generated expression is id * 2 in the migrations and id * 3 in the "
        "models."
    )
    assert history.exists()


SAFE: dict[str, tuple[Shape, Shape]] = {
    "index": ((any_("name"),), (any_("name"), index("name"))),
    "unique index": ((any_("name"),), (any_("name"), index("name", unique=True))),
    "columns of an index": ((any_("x"), any_("y"), index("x")), (any_("x"), any_("y"), index("y"))),
    "index of a new column": ((any_("x"),), (any_("x"), any_("name", index=True))),
    "unique constraint": (
        (any_("name"),),
        (any_("name"), lambda: sa.UniqueConstraint("name", postgresql_nulls_not_distinct=True)),
    ),
    "columns of a unique constraint": (
        (any_("x"), any_("y"), lambda: sa.UniqueConstraint("x", name="uq_gadgets")),
        (any_("x"), any_("y"), lambda: sa.UniqueConstraint("y", "x", name="uq_gadgets")),
    ),
    "not null": (
        (any_("name", sa.String(50)),),
        (any_("name", sa.String(60), nullable=False, server_default="x"),),
    ),
    "foreign key": ((any_("owner_id", sa.Uuid),), (owner(),)),
    "foreign key of a new column": ((any_("x"),), (any_("x"), owner(), index("owner_id"))),
    "enum with a new table": ((any_("x"),), (any_("x"), column("a", "b"), index("mood"))),
    **{
        name: STEPS[name]
        for name in (
            "member that the same migration uses",
            "check",
            "check added",
            "check of an enum as text",
            "column of an enum as text",
            "predicate",
            "order of an index",
            "operators of an index",
            "what a foreign key does",
            "deferrable",
            "type, default and comment",
        )
    },
}


def gadgets(number: int) -> Identifier:
    return Identifier(f"gadgets_{number}")


class StoppedError(Exception):
    pass


def interrupt(url: str, statement: int, revision: str = "head") -> bool:
    """Upgrade or downgrade, fail before the nth statement, and return whether there was one."""
    numbers = itertools.count(1)

    def fail(*_: object) -> None:
        if next(numbers) == statement:
            raise StoppedError

    with alembic_config(url) as config:
        sa.event.listen(config.attributes["connection"], "before_cursor_execute", fail)
        try:
            (command.upgrade if revision == "head" else command.downgrade)(config, revision)
        except StoppedError:
            return True
    return False


@pytest.mark.slow
def test_generated_migration_locks_nothing_for_long(
    own_database_url: str, history: Path, declare: Callable[..., None]
) -> None:
    """`backend db check` accepts it, and it can run again after a failure between statements."""
    url = own_database_url
    before, after = zip(*SAFE.values(), strict=True)
    declare(*before)
    write(url, "before")
    move(url, "head")
    with psycopg.connect(url, autocommit=True) as connection:
        for number in range(len(SAFE)):
            connection.execute(SQL("INSERT INTO {} (id) VALUES (2)").format(gadgets(number)))
        filled = SQL("UPDATE {} SET name = 'x'").format(gadgets([*SAFE].index("not null")))
        connection.execute(filled)
    declare(*after)
    script = write(url, "after")
    assert script.count("postgresql_concurrently=True") > 10
    assert script.count("VALIDATE CONSTRAINT") > 5
    statements = range(2, 1000, 13)
    assert sum(itertools.takewhile(bool, (interrupt(url, each) for each in statements))) > 5
    assert described_drift(url) == "", script
    declare(*before)
    back = (interrupt(url, each, "-1") for each in statements)
    assert sum(itertools.takewhile(bool, back)) > 3
    assert described_drift(url) == "", script
    upgrade_observed(url)
    declare(*after)
    assert described_drift(url) == "", script
    assert history.exists()


def test_an_index_that_is_left_invalid_is_built_again(
    own_database_url: str, history: Path, declare: Callable[..., None]
) -> None:
    url = own_database_url
    declare([any_("name")])
    write(url, "before")
    move(url, "head")
    declare([any_("name"), index("name", unique=True)])
    write(url, "after")
    invalid = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO gadgets_0 VALUES (1, 'a'), (2, 'a')")
        with pytest.raises(CommandError, match="could not create unique index"):
            move(url, "head")
        assert connection.execute(invalid).fetchall() == [("ix_gadgets_0",)]
        connection.execute("UPDATE gadgets_0 SET name = 'b' WHERE id = 2")
        move(url, "head")
        assert connection.execute(invalid).fetchall() == []
    assert described_drift(url) == ""
    assert history.exists()


UNSAFE: dict[str, tuple[Shape, Shape, str]] = {
    "type": ((any_("x", Integer),), (any_("x", sa.BigInteger),), "This may rewrite the table"),
    "dropped column": ((any_("x"), any_("y")), (any_("x"),), "The former release still uses it"),
    "required column": (
        (any_("x"),),
        (any_("x"), any_("y", nullable=False)),
        "The former release inserts rows without it",
    ),
    "volatile default": (
        (any_("x"),),
        (any_("x"), any_("y", sa.Uuid, server_default=text("gen_random_uuid()"))),
        "This may rewrite the table",
    ),
}


def test_what_cannot_be_safe_is_told(
    own_database_url: str, history: Path, declare: Callable[..., None]
) -> None:
    """The migration says it in a comment, and `backend db check` refuses it."""
    url = own_database_url
    declare(*(before for before, _, _ in UNSAFE.values()))
    write(url, "before")
    move(url, "head")
    declare(*(after for _, after, _ in UNSAFE.values()))
    upgrade, _, downgrade = write(url, "after").partition("def downgrade")
    for _, _, comment in UNSAFE.values():
        assert f"# {comment}" in upgrade
        assert f"# {comment}" not in downgrade
    with pytest.raises(CommandError) as refused:
        upgrade_observed(url)
    told = re.findall(r'unsafe = \{"(.+?)": "\.\.\."\}', str(refused.value))
    assert sorted(told) == [
        "gadgets_1.y is dropped",
        "gadgets_2.y is required",
        "rewrite of gadgets_0",
        "rewrite of gadgets_3",
    ]
    assert history.exists()
