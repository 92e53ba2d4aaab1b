"""Migrations under load: the former release serves while tables with many rows are changed."""

import shutil
import subprocess
import time
from pathlib import Path

import psycopg

from backend.db.schema.migrations import newest_revision
from drills.load import Load, LoadReport
from drills.site import SETTINGS, Writes, compare_writes, database, instances, sign_in
from tests.commands import BACKEND, ROOT, environment

_BLOCK = "with op.get_context().autocommit_block():"
# One of each kind, in the form that `make migration` writes.
SAFE = {
    "column": 'op.add_column("items", sa.Column("size", sa.Integer()), if_not_exists=True)',
    "column with a constant default": (
        'op.add_column("items", sa.Column("colour", sa.String(20), server_default="none"))'
    ),
    "longer text": 'op.alter_column("items", "title", type_=sa.String(300))',
    "index": f"""{_BLOCK}
        op.drop_index("ix_x", "items", if_exists=True, postgresql_concurrently=True)
        op.create_index("ix_x", "items", ["title"], postgresql_concurrently=True)""",
    "dropped index": f"""{_BLOCK}
        op.drop_index("ix_x", "items", if_exists=True, postgresql_concurrently=True)""",
    "unique constraint": f"""{_BLOCK}
        op.drop_index("uq_new", "items", if_exists=True, postgresql_concurrently=True)
        op.create_index("uq_new", "items", ["title", "id"], unique=True,
            postgresql_concurrently=True)
        op.execute("ALTER TABLE items DROP CONSTRAINT IF EXISTS uq_x, "
            "ADD CONSTRAINT uq_x UNIQUE USING INDEX uq_new")""",
    "foreign key": f"""op.drop_constraint("fk_x", "items", if_exists=True)
    op.create_foreign_key("fk_x", "items", "users", ["owner_id"], ["id"],
        postgresql_not_valid=True)
    {_BLOCK}
        op.execute("ALTER TABLE items VALIDATE CONSTRAINT fk_x")""",
    "check": f"""op.execute("ALTER TABLE items DROP CONSTRAINT IF EXISTS ck_x, "
        "ADD CONSTRAINT ck_x CHECK (title <> '') NOT VALID")
    {_BLOCK}
        op.execute("ALTER TABLE items VALIDATE CONSTRAINT ck_x")""",
    "not null": f"""op.execute("ALTER TABLE items DROP CONSTRAINT IF EXISTS ck_colour, "
        "ADD CONSTRAINT ck_colour CHECK (colour IS NOT NULL) NOT VALID")
    {_BLOCK}
        op.execute("ALTER TABLE items VALIDATE CONSTRAINT ck_colour")
    op.alter_column("items", "colour", nullable=False)
    op.execute("ALTER TABLE items DROP CONSTRAINT IF EXISTS ck_colour")""",
    "200,000 rows in batches": f"""last = UUID(int=0)
    {_BLOCK}
        for _ in range(200):
            last = op.get_bind().scalar(sa.text(BATCH), {{"last": last}}) or last
            time.sleep(0.02)""",
}
_SEARCH = "to_tsvector('english', title || ' ' || coalesce(description, ''))"
UNSAFE = {"index that locks": f"""op.execute("CREATE INDEX ix_x ON items USING gin ({_SEARCH})")"""}
_MIGRATION = '''"""{name}"""

import time
from uuid import UUID

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{former}"
BATCH = """
WITH batch AS (SELECT id FROM items WHERE id > :last ORDER BY id LIMIT 1000),
    changed AS (UPDATE items SET size = 1 FROM batch WHERE items.id = batch.id)
SELECT id FROM batch ORDER BY id DESC LIMIT 1
"""


def upgrade() -> None:
    {upgrade}


def downgrade() -> None: ...
'''


def migrations(
    folder: Path, *, rows: int, rate: float, unsafe: bool = False
) -> tuple[LoadReport, Writes]:
    """Apply each sample to a table of `rows` items, one after the other."""
    samples = UNSAFE if unsafe else SAFE
    with database(folder) as url, instances(folder, url, count=1) as (instance,):
        token = sign_in(instance.url)
        _fill(url, rows)
        release = _next_release(folder, samples)
        load = Load(instance.url, token, rate, verify=True)
        with load.running() as report:
            time.sleep(2)
            _upgrade(folder, url, release)
            time.sleep(2)
        return report, compare_writes(url, report)


def write_samples(versions: Path, samples: dict[str, str]) -> dict[str, str]:
    """Write a migration for each sample; return their names by revision."""
    former = str(newest_revision())
    names = {}
    for number, (name, upgrade) in enumerate(samples.items(), 9000):
        text = _MIGRATION.format(name=name, revision=number, former=former, upgrade=upgrade)
        (versions / f"{number}.py").write_text(text)
        former = str(number)
        names[former] = name
    return names


def _fill(url: str, rows: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO items (id, title, description, owner_id, created_at, updated_at)"
            " SELECT gen_random_uuid(), 'row ' || n, 'text of row ' || n, users.id, now(), now()"
            " FROM users, generate_series(1, %s) AS n",
            [rows],
        )
        connection.execute("VACUUM ANALYZE items")


def _next_release(folder: Path, samples: dict[str, str]) -> dict[str, str]:
    for name in ("backend", "migrations"):
        shutil.copytree(ROOT / name, folder / "next" / name)  # with bytecode, for a quick start
    return write_samples(folder / "next" / "migrations" / "versions", samples)


def _upgrade(folder: Path, url: str, release: dict[str, str]) -> None:
    """Run `backend db upgrade` of the next release, and print when each migration is applied."""
    settings = environment(folder / "next", **SETTINGS, DATABASE_URL=url)
    command = subprocess.Popen([*BACKEND, "db", "upgrade"], cwd=folder, env=settings)
    waiting, started = list(release), time.monotonic()
    with psycopg.connect(url, autocommit=True) as connection:
        ended = False
        while not ended:
            ended = command.poll() is not None
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            while row and waiting and waiting[0] <= row[0]:
                seconds = time.monotonic() - started
                print(f"  {seconds:5.1f} s  {release[waiting.pop(0)]}", flush=True)
            time.sleep(0.02)
    assert command.returncode == 0
