"""jobs: procrastinate's tables and functions

Its own migrations make them, up to the one named here, so that this history stays as it is when a
later release brings more: that release's files then go into a migration of their own.
"""

from pathlib import Path

from alembic import op
from procrastinate.schema import SchemaManager

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

LAST = "03.04.00_50"


def upgrade() -> None:
    for file in sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql")):
        if file.name[: len(LAST)] <= LAST:
            # As it stands: `%` and `:` mean nothing to us.
            op.get_bind().exec_driver_sql(file.read_text("utf-8").replace("%", "%%"))


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
