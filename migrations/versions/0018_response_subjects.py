"""response subjects: the users whose data a stored response contains"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None
TABLE, INDEX = "idempotency_keys", "ix_idempotency_keys_subject_ids"


def upgrade() -> None:
    op.add_column(
        TABLE,
        sa.Column("subject_ids", postgresql.ARRAY(sa.Uuid()), nullable=True),
        if_not_exists=True,
    )
    with op.get_context().autocommit_block():
        # Left by a run that was interrupted.
        op.drop_index(INDEX, TABLE, if_exists=True, postgresql_concurrently=True)
        op.create_index(
            INDEX,
            TABLE,
            ["subject_ids"],
            postgresql_concurrently=True,
            postgresql_using="gin",
            postgresql_where=sa.text("subject_ids IS NOT NULL"),
        )


def downgrade() -> None:
    op.drop_column(TABLE, "subject_ids")
