"""Every difference between a schema and the models is reported in a sentence."""

import enum
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import CheckConstraint, Column, ForeignKey, Identity, Index, Integer, MetaData
from sqlalchemy.dialects import postgresql as pg

from backend.db.base import NAMING_CONVENTION, Base
from backend.db.schema.drift import ModelsError, compare
from backend.db.schema.migrations import connected
from tests import databases


@pytest.fixture(scope="module")
def empty_url(request: pytest.FixtureRequest) -> Iterator[str]:
    server = databases.server_url(request.config)
    with databases.cloned_database(server, "template0") as url:
        yield url


@pytest.fixture
def connection(empty_url: str) -> Iterator[sa.Connection]:
    """A connection to an empty schema."""
    with connected(empty_url) as made:
        made.exec_driver_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        made.commit()
        yield made


def differences(connection: sa.Connection, metadata: MetaData) -> list[str]:
    found = compare(connection, metadata)
    return found.described("the database").splitlines()


def things(*parts: sa.schema.SchemaItem, **options: Any) -> MetaData:
    """Return metadata of a table `things`, and of `others`, which it may reference."""
    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    sa.Table("others", metadata, Column("id", Integer, primary_key=True))
    sa.Table("things", metadata, *parts, **options)
    return metadata


def indexed(*expressions: str, **options: Any) -> MetaData:
    index = Index("ix_things", *map(sa.text, expressions), **options)
    return things(Column("name", sa.Text), Column("size", Integer), index)


def named(kind: Any, **options: Any) -> MetaData:
    return things(Column("name", kind, **options))


def member(*names: str, native: bool = True) -> sa.Enum:
    return sa.Enum(*names, name="mood", native_enum=native, create_constraint=not native)


def referring(**options: Any) -> MetaData:
    return things(Column("other_id", ForeignKey("others.id", **options)))


def checked(condition: str) -> MetaData:
    return things(
        Column("state", sa.String(9)), Column("size", Integer), CheckConstraint(condition, "state")
    )


IN_STATE = "state IN ({})".format
ONE_NAME = "things.name: the {} is {} in the database and {} in the models.".format
CK = "the CHECK constraint ck_things_state"
CHANGES: dict[str, tuple[MetaData, MetaData, str]] = {
    "length": (
        named(sa.String(50)),
        named(sa.String(60)),
        ONE_NAME("type", "character varying(50)", "character varying(60)"),
    ),
    "precision": (
        named(sa.Numeric(10, 2)),
        named(sa.Numeric(12, 4)),
        ONE_NAME("type", "numeric(10,2)", "numeric(12,4)"),
    ),
    "type": (named(sa.Integer), named(sa.BigInteger), ONE_NAME("type", "integer", "bigint")),
    "time zone": (
        named(sa.DateTime()),
        named(sa.DateTime(timezone=True)),
        ONE_NAME("type", "timestamp without time zone", "timestamp with time zone"),
    ),
    "array": (named(pg.ARRAY(sa.Text)), named(sa.Text), ONE_NAME("type", "text[]", "text")),
    "not null": (
        named(sa.Text, nullable=True),
        named(sa.Text, nullable=False),
        "things.name: the column is nullable in the database and NOT NULL in the models.",
    ),
    "default": (
        named(sa.Text, server_default="a"),
        named(sa.Text, server_default="b"),
        ONE_NAME("default", "'a'::text", "'b'::text"),
    ),
    "default added": (
        named(sa.Text),
        named(sa.Text, server_default="b"),
        ONE_NAME("default", "absent", "'b'::text"),
    ),
    "default computed": (
        named(sa.DateTime(), server_default=sa.text("now()")),
        named(sa.DateTime(), server_default=sa.text("now() + '1 day'")),
        ONE_NAME("default", "now()", "(now() + '1 day'::interval)"),
    ),
    "generated": (
        things(Column("a", Integer), Column("name", Integer, sa.Computed("a + 1", persisted=True))),
        things(Column("a", Integer), Column("name", Integer, sa.Computed("a + 2", persisted=True))),
        ONE_NAME("generated expression", "a + 1", "a + 2"),
    ),
    "generated no longer": (
        things(Column("a", Integer), Column("name", Integer, sa.Computed("a + 1", persisted=True))),
        things(Column("a", Integer), Column("name", Integer)),
        ONE_NAME("generated expression", "a + 1", "absent"),
    ),
    "identity": (
        named(Integer, nullable=False),
        things(Column("name", Integer, Identity())),
        ONE_NAME("identity", "absent", "BY DEFAULT"),
    ),
    "identity always": (
        things(Column("name", Integer, Identity())),
        things(Column("name", Integer, Identity(always=True))),
        ONE_NAME("identity", "BY DEFAULT", "ALWAYS"),
    ),
    "identity's start": (
        things(Column("name", Integer, Identity(start=1))),
        things(Column("name", Integer, Identity(start=9))),
        "things.name: the sequence is integer from 1 by 1,",
    ),
    "collation": (
        named(sa.Text),
        named(sa.Text(collation="C")),
        ONE_NAME("collation", "absent", "C"),
    ),
    "comment": (named(sa.Text), named(sa.Text, comment="x"), ONE_NAME("comment", "absent", "x")),
    "column": (
        named(sa.Text),
        things(Column("name", sa.Text), Column("size", Integer)),
        "things.size: the column exists in the models, but not in the database.",
    ),
    "column dropped": (
        things(Column("name", sa.Text), Column("size", Integer)),
        named(sa.Text),
        "things.size: the column exists in the database, but not in the models.",
    ),
    "table": (
        named(sa.Text),
        MetaData(),
        "others: the table exists in the database, but not in the models.",
    ),
    "table's comment": (
        named(sa.Text),
        things(Column("name", sa.Text), comment="x"),
        "things: the comment is absent in the database and x in the models.",
    ),
    "unlogged": (
        named(sa.Text),
        things(Column("name", sa.Text), prefixes=["UNLOGGED"]),
        "things: the persistence is logged in the database and unlogged in the models.",
    ),
    "check added": (
        things(Column("state", sa.String(9)), Column("size", Integer)),
        checked("size > 0"),
        f"things: {CK} exists in the models, but not in the database.",
    ),
    "check's member": (
        checked(IN_STATE("'a', 'b'")),
        checked(IN_STATE("'a', 'b', 'it''s'")),
        f"things.state: {CK} allows a, b in the database; the models also allow it's.",
    ),
    "check's members": (
        checked(IN_STATE("'a', 'b'")),
        checked(IN_STATE("'b', 'c'")),
        (
            f"things.state: {CK} allows a, b in the database; "
            "the models also allow c and do not allow a."
        ),
    ),
    "check": (
        checked("size > 0"),
        checked("size > 1"),
        f"things: {CK} is CHECK (size > 0) in the database and CHECK (size > 1) in the models.",
    ),
    "check of one and more": (
        checked("state = 'a'"),
        checked(IN_STATE("'a', 'b'")),
        f"things: {CK} is CHECK (state::text = 'a'::text) in the database and ",
    ),
    "enum without a type": (
        named(member("a", native=False)),
        named(member("a", "b", native=False)),
        "things: the CHECK constraint ck_things_mood is ",
    ),
    "foreign key dropped": (
        referring(),
        things(Column("other_id", Integer)),
        "things: the foreign key fk_things_other_id_others exists in the database, but not in ",
    ),
    "on delete": (
        referring(),
        referring(ondelete="CASCADE"),
        (
            "things: the foreign key fk_things_other_id_others is "
            "FOREIGN KEY (other_id) REFERENCES others(id) in the database and "
            "FOREIGN KEY (other_id) REFERENCES others(id) ON DELETE CASCADE in the models."
        ),
    ),
    "on update": (referring(), referring(onupdate="SET NULL"), "ON UPDATE SET NULL in the models"),
    "deferrable": (referring(), referring(deferrable=True), "DEFERRABLE in the models"),
    "initially": (
        referring(deferrable=True),
        referring(deferrable=True, initially="DEFERRED"),
        "INITIALLY DEFERRED in the models",
    ),
    "unique": (
        named(sa.Text),
        named(sa.Text, unique=True),
        "things: the unique constraint uq_things_name exists in the models, but not in ",
    ),
    "unique's columns": (
        things(Column("a", Integer), Column("b", Integer), sa.UniqueConstraint("a", name="uq")),
        things(Column("a", Integer), Column("b", Integer), sa.UniqueConstraint("b", name="uq")),
        "things: the unique constraint uq is UNIQUE (a) in the database and UNIQUE (b) in",
    ),
    "nulls not distinct": (
        things(Column("a", Integer), sa.UniqueConstraint("a", name="uq")),
        things(
            Column("a", Integer),
            sa.UniqueConstraint("a", name="uq", postgresql_nulls_not_distinct=True),
        ),
        "UNIQUE NULLS NOT DISTINCT (a) in the models",
    ),
    "primary key": (
        things(Column("a", Integer, primary_key=True), Column("b", Integer, nullable=False)),
        things(Column("a", Integer, primary_key=True), Column("b", Integer, primary_key=True)),
        "things: the primary key pk_things is PRIMARY KEY (a) in the database and ",
    ),
    "exclusion": (
        things(Column("r", pg.INT4RANGE)),
        things(Column("r", pg.INT4RANGE), pg.ExcludeConstraint(("r", "&&"), name="ex")),
        "things: the exclusion constraint ex exists in the models, but not in the database.",
    ),
    "index added": (
        things(Column("name", sa.Text), Column("size", Integer)),
        indexed("name"),
        "things: the index ix_things exists in the models, but not in the database.",
    ),
    "index's order": (indexed("name"), indexed("name DESC"), "(name DESC) in the models"),
    "index's nulls": (
        indexed("name"),
        indexed("name NULLS FIRST"),
        "(name NULLS FIRST) in the models",
    ),
    "index's columns": (
        indexed("name", "size"),
        indexed("size", "name"),
        "(size, name) in the models",
    ),
    "index's expression": (
        indexed("lower(name)"),
        indexed("upper(name)"),
        "(upper(name)) in the models",
    ),
    "index's predicate": (
        indexed("name", postgresql_where=sa.text("size > 0")),
        indexed("name", postgresql_where=sa.text("size > 1")),
        "WHERE size > 0 in the database and ",
    ),
    "index's predicate dropped": (
        indexed("name", postgresql_where=sa.text("size > 0")),
        indexed("name"),
        "WHERE size > 0 in the database and ",
    ),
    "unique index": (indexed("name"), indexed("name", unique=True), "CREATE UNIQUE INDEX "),
    "index's method": (
        indexed("name"),
        indexed("name", postgresql_using="hash"),
        "USING hash (name) in the models",
    ),
    "index's operators": (
        indexed("name"),
        indexed("name text_pattern_ops"),
        "(name text_pattern_ops) in the models",
    ),
    "index's other columns": (
        indexed("name"),
        indexed("name", postgresql_include=["size"]),
        "INCLUDE (size) in the models",
    ),
    "index's nulls equal": (
        indexed("name", unique=True),
        indexed("name", unique=True, postgresql_nulls_not_distinct=True),
        "NULLS NOT DISTINCT in the models",
    ),
    "enum's member": (
        named(member("a", "b")),
        named(member("a", "b", "c")),
        "mood: the enum type allows a, b in the database; the models also allow c.",
    ),
    "enum's members dropped": (
        named(member("a", "b", "c")),
        named(member("c")),
        "mood: the enum type allows a, b, c in the database; the models do not allow a, b.",
    ),
    "enum's order": (
        named(member("a", "b")),
        named(member("b", "a")),
        "mood: the enum type allows a, b in the database; the models order them b, a.",
    ),
    "enum added": (
        named(sa.Text),
        named(member("a", "b")),
        "mood: the enum type exists in the models, but not in the database.",
    ),
    "enum of an array": (
        named(pg.ARRAY(member("a"))),
        named(pg.ARRAY(member("a", "b"))),
        "mood: the enum type allows a in the database; the models also allow b.",
    ),
    "domain": (
        named(pg.DOMAIN("short", sa.Text, check="VALUE > 'a'", constraint_name="short")),
        named(pg.DOMAIN("short", sa.Text, check="VALUE > 'b'", constraint_name="short")),
        "short: the constraints is short CHECK (VALUE > 'a'::text) in the database and ",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_change_of_a_model_is_told(connection: sa.Connection, name: str) -> None:
    before, after, expected = CHANGES[name]
    before.create_all(connection)
    connection.commit()
    assert differences(connection, before) == []
    lines = differences(connection, after)
    assert any(expected in line for line in lines), lines
    assert all(line.endswith(".") and "trellis_models" not in line for line in lines)


def test_comparison_leaves_nothing_behind(connection: sa.Connection) -> None:
    named(sa.Text).create_all(connection)
    connection.commit()
    differences(connection, named(member("a", "b")))
    schemas = connection.exec_driver_sql("SELECT nspname FROM pg_namespace").scalars()
    assert {each for each in schemas if not each.startswith("pg_")} == {
        "public",
        "information_schema",
    }


@pytest.mark.parametrize(
    "restored",
    [
        # `state IN ('a', 'b')` as PostgreSQL prints it and pg_dump writes it.
        (
            "CHECK (((state)::text = ANY ((ARRAY['a'::character varying, "
            "'b'::character varying])::text[])))"
        ),
        "CHECK ((state)::text = ANY (ARRAY[('a'::varchar)::text, ('b'::varchar)::text]))",
    ],
)
def test_restored_constraint_is_the_same(connection: sa.Connection, restored: str) -> None:
    """PostgreSQL parses its own output into a different, equivalent form."""
    metadata = checked(IN_STATE("'a', 'b'"))
    metadata.create_all(connection)
    connection.exec_driver_sql(
        "ALTER TABLE things DROP CONSTRAINT ck_things_state, "
        f"ADD CONSTRAINT ck_things_state {restored}"
    )
    connection.commit()
    assert differences(connection, metadata) == []


def test_restored_index_is_the_same(connection: sa.Connection) -> None:
    where = sa.text("state IN ('a', 'b')")
    metadata = things(Column("state", sa.String(9)), Index("ix", "state", postgresql_where=where))
    metadata.create_all(connection)
    printed = "(state)::text = ANY (ARRAY[('a'::varchar)::text, ('b'::varchar)::text])"
    connection.exec_driver_sql(f"DROP INDEX ix; CREATE INDEX ix ON things (state) WHERE {printed}")
    connection.commit()
    assert differences(connection, metadata) == []


def test_what_only_migrations_make_is_left_out(connection: sa.Connection) -> None:
    connection.exec_driver_sql(
        "CREATE TABLE procrastinate_jobs (id serial); CREATE TYPE procrastinate_x AS ENUM ('a');"
        "CREATE TYPE rate_limit_window AS (a integer); CREATE TABLE alembic_version ();"
        "CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS 'SELECT 1';"
        "CREATE VIEW v AS SELECT 1 AS one"
    )
    connection.commit()
    assert differences(connection, MetaData()) == []
    connection.exec_driver_sql("CREATE TABLE rate_limits ()")
    connection.commit()
    assert differences(connection, MetaData()) == [
        "rate_limits: the table exists in the database, but not in the models."
    ]


def test_what_a_model_declares_by_statements_is_compared(connection: sa.Connection) -> None:
    def declared(answer: int) -> MetaData:
        metadata = named(Integer)
        body = f"BEGIN NEW.name = {answer}; RETURN NEW; END"

        @sa.event.listens_for(metadata, "after_create")
        def create(_: MetaData, connection: sa.Connection, **__: object) -> None:
            connection.exec_driver_sql(
                f"CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$;"
                "CREATE TRIGGER t BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION f();"
                f"CREATE VIEW v AS SELECT {answer} AS one"
            )

        return metadata

    named(Integer).create_all(connection)
    connection.commit()
    missing = differences(connection, declared(1))
    assert [line.partition(" exists")[0] for line in missing] == [
        "f(): the function",
        "things: the trigger t",
        "v: the view",
    ]
    declared(1).drop_all(connection)
    declared(1).create_all(connection)
    connection.commit()
    assert differences(connection, declared(1)) == []
    assert len(differences(connection, declared(2))) == 2


def test_sequence_of_its_own_is_compared(connection: sa.Connection) -> None:
    sa.Sequence("numbers", metadata=(metadata := MetaData())).create(connection)
    connection.commit()
    assert differences(connection, metadata) == []
    sa.Sequence("numbers", increment=2, metadata=(changed := MetaData()))
    assert differences(connection, changed)[0].startswith(
        "numbers: the sequence is bigint from 1 by 1,"
    )


def test_index_that_is_built_concurrently_is_compared(connection: sa.Connection) -> None:
    metadata = indexed("name", postgresql_concurrently=True)
    assert len(differences(connection, metadata)) == 2  # both tables
    (index,) = metadata.tables["things"].indexes
    assert index.dialect_options["postgresql"]["concurrently"] is True


def test_two_enum_types_of_one_name_are_refused(connection: sa.Connection) -> None:
    metadata = things(Column("a", member("x")), Column("b", member("y")))
    with pytest.raises(ModelsError, match=r"two different enum types named mood \(things\.a and"):
        compare(connection, metadata)


def test_models_that_cannot_be_created_are_explained(connection: sa.Connection) -> None:
    with pytest.raises(ModelsError, match=r'cannot be created \(column "nothing" does not exist'):
        compare(connection, checked("nothing > 0"))


def test_python_enum_is_compared_by_what_is_stored(connection: sa.Connection) -> None:
    class Mood(enum.Enum):
        GOOD = "good"
        BAD = "bad"

    def made(**options: Any) -> MetaData:
        return named(sa.Enum(Mood, name="mood", **options))

    made().create_all(connection)
    connection.commit()
    assert differences(connection, made()) == []
    values = made(values_callable=lambda kind: [each.value for each in kind])
    assert differences(connection, values) == [
        (
            "mood: the enum type allows GOOD, BAD in the database; "
            "the models also allow good, bad and do not allow GOOD, BAD."
        )
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            (
                "ALTER TABLE articles DROP CONSTRAINT ck_articles_status, "
                "ADD CONSTRAINT ck_articles_status CHECK (status IN ('draft', 'published'))"
            ),
            (
                "articles.status: the CHECK constraint ck_articles_status allows draft, published "
                "in the database; the models also allow archived."
            ),
        ),
        (
            "ALTER TABLE items DROP CONSTRAINT fk_items_owner_id_users",
            (
                "items: the foreign key fk_items_owner_id_users exists in the models, but not in "
                "the database."
            ),
        ),
        (
            (
                "DROP INDEX ix_mailed_tokens_live; "
                "CREATE UNIQUE INDEX ix_mailed_tokens_live ON mailed_tokens (user_id, purpose)"
            ),
            "mailed_tokens: the index ix_mailed_tokens_live is CREATE UNIQUE INDEX ",
        ),
    ],
)
def test_change_of_our_database_is_told(database_url: str, change: str, expected: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as direct:
        direct.execute(change.encode())
    with connected(database_url) as connection:
        (line,) = differences(connection, Base.metadata)
        assert line.startswith(expected)
