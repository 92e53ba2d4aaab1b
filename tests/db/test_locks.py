"""`backend db check` refuses migrations that lock tables in use or break the former release."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from alembic import op
from alembic.migration import MigrationContext
from alembic.operations import Operations

from backend.cli.lock_check import upgrade_observed
from backend.cli.terminal import CommandError
from backend.db.base import Base
from backend.db.schema import migrations
from backend.db.schema.locks import observed
from backend.db.schema.migrations import FOLDER, connected, newest_revision
from drills.migrations import SAFE, write_samples

HEAD = """
import sqlalchemy as sa
from alembic import op

revision = "9000"
down_revision = "{former}"
branch_labels = None
depends_on = None
"""
BLOCK = "with op.get_context().autocommit_block():\n        "
NOTE = """op.create_table("made_jots", sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("x", sa.Text()))"""
NOT_NULL = """op.create_check_constraint("x", "items", "description IS NOT NULL",
        postgresql_not_valid=True)
    """

Check = Callable[..., None]


@pytest.fixture
def observe(own_database_url: str) -> Callable[[str], dict[str, str]]:
    """Runs an upgrade; returns its breaches."""

    # Other modules may refer to items, which then can be neither dropped nor made unlogged.
    with psycopg.connect(own_database_url) as database:
        referring = database.execute(
            "SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) "
            "FROM pg_constraint WHERE confrelid = to_regclass('items')"
        )
        for (drop,) in referring.fetchall():
            database.execute(drop)

    def observe(upgrade: str) -> dict[str, str]:
        code = compile(upgrade.replace("\n    ", "\n"), __file__, "exec")
        with connected(own_database_url) as connection:
            options = {"transaction_per_migration": True, "target_metadata": Base.metadata}
            context = MigrationContext.configure(connection, opts=options)
            with (
                observed(connection, Path(__file__)) as observation,
                context.begin_transaction(_per_migration=True),
                Operations.context(context),
            ):
                exec(code, {"op": op, "sa": sa})  # noqa: S102  # the text of this file
        return observation.breaches

    return observe


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_database_url: str) -> Check:
    """Checks a history with a new migration, which has this upgrade."""
    copy = tmp_path / "migrations"
    shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(migrations, "FOLDER", copy)
    former = newest_revision()

    def check(upgrade: str, marker: str = "") -> None:
        head = HEAD.format(former=former)
        text = f"{head}{marker}\n\ndef upgrade():\n    {upgrade}\n\n\ndef downgrade(): ...\n"
        (copy / "versions" / "9000_x.py").write_text(text)
        upgrade_observed(own_database_url)

    return check


REFUSED = {
    "index": (
        'op.create_index("ix_items_title", "items", ["title"])',
        "index on items",
        (
            "builds an index of items under a lock (ShareLock) that blocks all writes of items: "
            f"`{BLOCK.strip()} op.create_index(..., postgresql_concurrently=True)`"
        ),
    ),
    "index in an autocommit block": (
        f'{BLOCK}op.create_index("ix_items_title", "items", ["title"])',
        "index on items",
        "postgresql_concurrently=True",
    ),
    "unique index": (
        'op.create_index("ix_items_title", "items", ["title"], unique=True)',
        "index on items",
        "postgresql_concurrently=True",
    ),
    "index as text": (
        'op.execute("-- why\\nCREATE INDEX ix_items_title ON items (title)")',
        "index on items",
        "postgresql_concurrently=True",
    ),
    "index of a function": (
        'op.execute("DO $$ BEGIN CREATE INDEX ix_items_title ON items (title); END $$")',
        "index on items",
        "postgresql_concurrently=True",
    ),
    "dropped index": (
        'op.drop_index("ix_items_owner_id_created_at_id", "items")',
        "index dropped from items",
        "op.drop_index(..., postgresql_concurrently=True)",
    ),
    "type": (
        'op.alter_column("items", "title", type_=sa.Integer(), postgresql_using="1")',
        "rewrite of items",
        "rewrites items under a lock (AccessExclusiveLock) that blocks all reads and writes",
    ),
    "shorter text": (
        'op.alter_column("items", "title", type_=sa.String(100))',
        "rewrite of items",
        "drop the old one in a later release",
    ),
    "volatile default": (
        'op.execute("ALTER TABLE items ADD COLUMN x uuid DEFAULT gen_random_uuid()")',
        "rewrite of items",
        "a constant as `server_default`, does not rewrite",
    ),
    "stored generated column": (
        'op.add_column("items", sa.Column("x", sa.Integer(), sa.Computed("1", persisted=True)))',
        "rewrite of items",
        "fill it in batches",
    ),
    "serial": (
        'op.execute("ALTER TABLE items ADD COLUMN x bigserial")',
        "rewrite of items",
        "fill it in batches",
    ),
    "identity": (
        'op.add_column("items", sa.Column("x", sa.BigInteger(), sa.Identity(), nullable=False))',
        "rewrite of items",
        "fill it in batches",
    ),
    "unlogged": (
        'op.execute("ALTER TABLE items SET UNLOGGED")',
        "rewrite of items",
        "fill it in batches",
    ),
    "not null": (
        'op.alter_column("items", "description", nullable=False)',
        "scan of items",
        "`op.create_check_constraint(..., postgresql_not_valid=True)`",
    ),
    "not null with a CHECK that is not validated": (
        f'{NOT_NULL}op.alter_column("items", "description", nullable=False)',
        "scan of items",
        "VALIDATE CONSTRAINT",
    ),
    "check": (
        'op.create_check_constraint("x", "items", "title > \'\'")',
        "scan of items",
        "postgresql_not_valid=True",
    ),
    "check validated in the same transaction": (
        f'{NOT_NULL}op.execute("ALTER TABLE items VALIDATE CONSTRAINT ck_items_x")',
        "scan of items",
        "with op.get_context().autocommit_block(): op.execute",
    ),
    "foreign key": (
        'op.create_foreign_key("fk_x", "items", "users", ["id"], ["id"])',
        "foreign key of items",
        "(ShareRowExclusiveLock) that blocks all writes of items and users: `with op.get_context()",
    ),
    "unique constraint": (
        'op.create_unique_constraint("uq_items_title", "items", ["title"])',
        "unique constraint on items",
        "ALTER TABLE items ADD CONSTRAINT ... UNIQUE USING INDEX",
    ),
    "primary key": (
        'op.execute("ALTER TABLE items DROP CONSTRAINT pk_items, ADD PRIMARY KEY (id)")',
        "unique constraint on items",
        "(or PRIMARY KEY)",
    ),
    "exclusion constraint": (
        'op.execute("ALTER TABLE items ADD EXCLUDE (title WITH =)")',
        "exclusion constraint on items",
        "no form that does not lock",
    ),
    "rows under the lock of a new column": (
        """op.add_column("items", sa.Column("x", sa.Text()))
    op.execute("UPDATE items SET x = title")""",
        "rows under a lock on items",
        "change rows after the lock is released, in batches",
    ),
    "rows of a whole table": (
        'op.execute("UPDATE items SET title = lower(title)")',
        "rows changed in items",
        "in batches, each committed by itself: `with op.get_context().autocommit_block():`",
    ),
    "rows of a query": (
        'op.execute("WITH x AS (DELETE FROM items RETURNING id) SELECT count(*) FROM x")',
        "rows changed in items",
        "locks them until it ends",
    ),
    "rows of a function": (
        """op.execute("INSERT INTO items SELECT * FROM items")
    op.execute("DO $$ BEGIN DELETE FROM items; END $$")""",
        "rows changed in items",
        "changes 1000 rows of items at a time",
    ),
    "dropped column": (
        'op.drop_column("items", "description")',
        "items.description is dropped",
        "release code that does not use the column, and drop it in the release after that",
    ),
    "renamed column": (
        'op.alter_column("items", "description", new_column_name="text")',
        "items.description is renamed",
        "release code that writes both",
    ),
    "required column": (
        'op.add_column("items", sa.Column("x", sa.Text(), nullable=False))',
        "items.x is required",
        "a constant as `server_default`",
    ),
    "dropped table": ('op.drop_table("items")', "items is dropped", "in the release after that"),
    "renamed table": ('op.rename_table("items", "things")', "items is renamed", "__tablename__"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_safe_form(observe: Callable[[str], dict[str, str]], name: str) -> None:
    upgrade, breach, words = REFUSED[name]
    breaches = observe(upgrade)
    assert list(breaches) == [breach]
    sentence = breaches[breach]
    assert re.match(r"test_locks\.py, line \d+: `", sentence)
    assert words in sentence
    assert sentence.endswith(f'or give the reason why it may: `unsafe = {{"{breach}": "..."}}`.')


ALLOWED = {
    "concurrent index": (
        f'{BLOCK}op.drop_index("ix_x", "items", if_exists=True, postgresql_concurrently=True)\n'
        '        op.create_index("ix_x", "items", ["title"], postgresql_concurrently=True)'
    ),
    "concurrently dropped index": (
        f'{BLOCK}op.drop_index("ix_items_owner_id_created_at_id", "items", if_exists=True,'
        "postgresql_concurrently=True)"
    ),
    "everything on a new table": f"""{NOTE}
    op.create_index("ix_made_jots_x", "made_jots", ["x"])
    op.execute(sa.update(sa.table("made_jots", sa.column("x"))).values(x="1"))
    op.create_check_constraint("x", "made_jots", "id > 0")
    op.create_unique_constraint("uq_made_jots_x", "made_jots", ["x"])
    op.create_foreign_key("fk_made_jots_x", "made_jots", "roles", ["x"], ["name"])
    op.drop_constraint("fk_made_jots_x", "made_jots")
    op.alter_column("made_jots", "x", nullable=False)
    op.alter_column("made_jots", "x", type_=sa.Integer(), postgresql_using="1")
    op.drop_index("ix_made_jots_x", "made_jots")
    op.rename_table("made_jots", "made_remarks")
    op.drop_column("made_remarks", "x")""",
    "longer text": 'op.alter_column("items", "title", type_=sa.String(300))',
    "nullable column": 'op.add_column("items", sa.Column("x", sa.Text()))',
    "column with a constant": (
        'op.add_column("items", sa.Column("x", sa.Text(), nullable=False, server_default="a"))'
    ),
    "column that refers to a table": (
        'op.execute("ALTER TABLE items ADD COLUMN x uuid REFERENCES users (id)")'
    ),
    "rows after the lock": (
        'op.add_column("items", sa.Column("x", sa.Text()), if_not_exists=True)'
        "\n    with op.get_context().autocommit_block():"
        '\n        op.execute("UPDATE items SET x = title")'
    ),
    "one row under a lock": """op.add_column("roles", sa.Column("x", sa.Text()))
    op.execute("INSERT INTO permissions VALUES ('x')")""",
    "validated constraints": f"""{BLOCK}op.drop_constraint("ck_items_x", "items", if_exists=True)
        op.create_check_constraint("x", "items", "description > ''", postgresql_not_valid=True)
        op.execute("ALTER TABLE items VALIDATE CONSTRAINT ck_items_x")
        op.execute("ALTER TABLE items DROP CONSTRAINT IF EXISTS fk")
        op.create_foreign_key("fk", "items", "users", ["id"], ["id"], postgresql_not_valid=True)
        op.execute("ALTER TABLE items VALIDATE CONSTRAINT fk")""",
    "not null after a CHECK": f"""{BLOCK}op.drop_constraint("ck_items_x", "items", if_exists=True)
        op.create_check_constraint("x", "items", "title IS NOT NULL", postgresql_not_valid=True)
        op.execute("ALTER TABLE items VALIDATE CONSTRAINT ck_items_x")
    op.alter_column("items", "title", nullable=False)""",
    "dropped constraint": 'op.drop_constraint("fk_items_owner_id_users", "items")',
}


@pytest.mark.parametrize("name", ALLOWED)
def test_allowed(observe: Callable[[str], dict[str, str]], name: str) -> None:
    assert observe(ALLOWED[name]) == {}


def test_the_check_names_file_and_line(check: Check) -> None:
    with pytest.raises(CommandError) as refused:
        check('op.create_index("ix_items_title", "items", ["title"])')
    first, sentence = str(refused.value).splitlines()
    assert first.startswith("Migrations that disturb the release that serves")
    assert sentence.startswith(
        "9000_x.py, line 12: `CREATE INDEX ix_items_title ON items (title)` builds an index of "
    )


def test_a_migration_that_can_run_again_is_accepted(check: Check) -> None:
    check(ALLOWED["rows after the lock"])


def test_reasons_excuse_what_they_name_and_nothing_else(check: Check) -> None:
    upgrade = 'op.create_index("ix_items_title", "items", ["title"])'
    check(upgrade, 'unsafe = {"index on items": "The table has ten rows."}')


@pytest.mark.parametrize(
    ("marker", "sentence"),
    [
        ('unsafe = {"index on items": " "}', "gives no reason for 'index on items': write it."),
        (
            'unsafe = {"index on items": "x", "scan of items": "x"}',
            "excuses 'scan of items', which it does not do: remove the entry.",
        ),
        (
            'unsafe = "because"',
            '`unsafe` is a dict, as in `unsafe = {"index on items": "reason"}`.',
        ),
    ],
)
def test_markers_without_reason_or_effect_are_refused(
    check: Check, marker: str, sentence: str
) -> None:
    with pytest.raises(CommandError) as refused:
        check('op.create_index("ix_items_title", "items", ["title"])', marker)
    assert str(refused.value).splitlines()[-1].endswith(sentence)


def test_a_migration_that_an_interruption_leaves_unusable_is_refused(check: Check) -> None:
    with pytest.raises(CommandError, match="cannot run again after an interruption") as refused:
        check(f"""op.add_column("items", sa.Column("x", sa.Text()))
    {BLOCK}op.create_index("ix_x", "items", ["x"], postgresql_concurrently=True)""")
    assert '(column "x" of relation "items" already exists)' in str(refused.value)
    assert "if_not_exists=True" in str(refused.value)


def test_earlier_refusals_are_told_if_a_later_migration_cannot_run(
    check: Check, tmp_path: Path
) -> None:
    later = HEAD.format(former="9000").replace('revision = "9000"', 'revision = "9001"', 1)
    upgrade = """def upgrade():\n    op.execute("SELECT 1 / 0")\n"""
    (tmp_path / "migrations" / "versions" / "9001_y.py").write_text(later + upgrade)
    with pytest.raises(CommandError) as refused:
        check('op.create_index("ix_items_title", "items", ["title"])')
    _, first, second = str(refused.value).splitlines()
    assert first.startswith("9000_x.py")
    assert "division by zero" in second


@pytest.mark.slow
def test_the_samples_of_the_drill_are_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_database_url: str
) -> None:
    copy = tmp_path / "migrations"
    shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns("__pycache__"))
    write_samples(copy / "versions", SAFE)
    monkeypatch.setattr(migrations, "FOLDER", copy)
    upgrade_observed(own_database_url)
