"""stored bytes: how much each user stores"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "stored_bytes",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("slot", sa.SmallInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], "fk_stored_bytes_user_id_users", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "slot", name="pk_stored_bytes"),
    )
    # Rows of up to 256 bytes do not count towards the quota.
    op.execute(
        "INSERT INTO stored_bytes (user_id, slot, bytes) SELECT user_id, 0, sum(size) FROM ("
        " SELECT owner_id, octet_length(title) + coalesce(octet_length(description), 0) FROM items"
        " UNION ALL"
        " SELECT author_id, octet_length(title) + coalesce(octet_length(content), 0) FROM articles"
        ") AS rows (user_id, size) WHERE size > 256 GROUP BY user_id"
    )


def downgrade() -> None:
    op.drop_table("stored_bytes")
