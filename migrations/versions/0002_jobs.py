"""jobs: procrastinate's tables and functions

The library's migrations up to `LAST` create them; a checksum verifies these files. Files of later
releases are ignored, so an upgrade of the library does not change this migration: a later release
needs a migration of its own.

PostgreSQL before 17 cannot use a value of an enum type in the transaction that has added it. The
types therefore get all their values when they are created.
"""

import hashlib
import re
from importlib.metadata import version
from pathlib import Path

from alembic import op
from alembic.util import CommandError
from procrastinate.schema import SchemaManager

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

LAST = "03.04.00_50"
CHECKSUM = "365a817fc5b91914e3de242e8a7c26462f8fe863e4db9b47ccd0055dd22d40cd"
ENUMS = {
    "procrastinate_job_status": (
        "'todo', 'doing', 'succeeded', 'failed', 'cancelled', 'aborting', 'aborted'"
    ),
    "procrastinate_job_event_type": (
        "'deferred', 'started', 'deferred_for_retry', 'failed', 'succeeded', 'cancelled', "
        "'abort_requested', 'aborted', 'scheduled', 'retried'"
    ),
}
CREATE_ENUM = re.compile(r"CREATE TYPE (\w+) AS ENUM \(.*?\);", re.DOTALL)
ADD_VALUE = re.compile(r"ALTER TYPE \w+ ADD VALUE [^;]*;")


def upgrade() -> None:
    connection = op.get_bind()
    for script in _scripts():
        complete = CREATE_ENUM.sub(lambda found: _create_enum(found[1]), ADD_VALUE.sub("", script))
        # The driver would treat `%` as a parameter.
        connection.exec_driver_sql(complete.replace("%", "%%"))


def _scripts() -> list[str]:
    files = sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))
    scripts = [file.read_text("utf-8") for file in files if file.name[: len(LAST)] <= LAST]
    if hashlib.sha256("".join(scripts).encode()).hexdigest() != CHECKSUM:
        raise CommandError(
            f"procrastinate {version('procrastinate')} has other files up to {LAST} than "
            "0002 was written for, so install the version that requirements.lock names"
        )
    return scripts


def _create_enum(name: str) -> str:
    return f"CREATE TYPE {name} AS ENUM ({ENUMS[name]});"


def downgrade() -> None:
    op.execute(
        """
        DO $$
        DECLARE found record;
        BEGIN
            FOR found IN SELECT format('DROP TABLE %I CASCADE', tablename) AS command
                FROM pg_tables WHERE schemaname = current_schema()
                AND tablename LIKE 'procrastinate\\_%'
            LOOP EXECUTE found.command; END LOOP;
            FOR found IN SELECT format('DROP FUNCTION %s CASCADE', oid::regprocedure) AS command
                FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
                AND proname LIKE 'procrastinate\\_%'
            LOOP EXECUTE found.command; END LOOP;
            FOR found IN SELECT format('DROP TYPE %s CASCADE', oid::regtype) AS command
                FROM pg_type WHERE typnamespace = current_schema()::regnamespace
                AND typname LIKE 'procrastinate\\_%'
            LOOP EXECUTE found.command; END LOOP;
        END $$
        """
    )
