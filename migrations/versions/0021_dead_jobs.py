"""dead jobs: an index that counts the jobs that have failed for good, by name

Each worker counts them for its metrics. Without the index this reads all jobs that wait, of which
there may be many thousands after an outage. Jobs that do not fail never enter it, and procrastinate
has partial indexes on the same column, so their updates cost what they cost before.
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

INDEX, TABLE = "ix_jobs_failed", "procrastinate_jobs"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        _drop()  # an invalid one that an interrupted run has left
        op.create_index(
            INDEX,
            TABLE,
            ["task_name"],
            postgresql_concurrently=True,
            postgresql_where=sa.text("status = 'failed'"),
        )


def downgrade() -> None:
    with op.get_context().autocommit_block():
        _drop()


def _drop() -> None:
    op.drop_index(INDEX, table_name=TABLE, if_exists=True, postgresql_concurrently=True)
