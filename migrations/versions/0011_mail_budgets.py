"""mail budgets: the time and the mailbox of each mail with a token"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TABLE = "mailed_tokens"
LIVE = "ix_mailed_tokens_live"
KEY = sa.String(collation="C")


def upgrade() -> None:
    op.add_column(TABLE, sa.Column("mailed_at", sa.DateTime(timezone=True), nullable=True))
    # Older rows have no value: they count towards the budget of their address only.
    op.add_column(TABLE, sa.Column("mailbox_key", KEY, nullable=True))
    # Links that were mailed before this revision stay valid.
    op.execute(
        "UPDATE mailed_tokens SET mailed_at = created_at"
        " WHERE user_id IS NOT NULL OR purpose = 'registration'"
    )
    op.drop_index(LIVE, TABLE)
    _create_live("ended_at IS NULL AND mailed_at IS NOT NULL")
    for name in ("email_key", "mailbox_key"):
        op.create_index(
            f"ix_mailed_tokens_left_{name}",
            TABLE,
            [name, "mailed_at"],
            postgresql_where=sa.text(f"mailed_at IS NOT NULL AND {name} IS NOT NULL"),
        )


def downgrade() -> None:
    op.drop_index(LIVE, TABLE)
    # The earlier revision allows one live token per account and purpose, mailed or not.
    op.execute(
        "UPDATE mailed_tokens SET ended_at = created_at"
        " WHERE ended_at IS NULL AND mailed_at IS NULL AND user_id IS NOT NULL"
    )
    _create_live("ended_at IS NULL")
    # PostgreSQL drops their indexes as well.
    op.drop_column(TABLE, "mailbox_key")
    op.drop_column(TABLE, "mailed_at")


def _create_live(where: str) -> None:
    op.create_index(
        LIVE, TABLE, ["user_id", "purpose"], unique=True, postgresql_where=sa.text(where)
    )
