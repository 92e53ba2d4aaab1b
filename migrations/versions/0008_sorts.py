"""sorts: an index for every sort field of users; registrations by address"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_users_updated_at_id", "users", ["updated_at", "id"])
    op.create_index(
        "ix_users_by_username",
        "users",
        [sa.literal_column("coalesce(lower(username), '')"), sa.column("id")],
    )
    op.create_index(
        "ix_mailed_tokens_registrations",
        "mailed_tokens",
        [sa.literal_column("lower(email)")],
        postgresql_where=sa.text("purpose = 'registration' AND ended_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_mailed_tokens_registrations", table_name="mailed_tokens")
    op.drop_index("ix_users_by_username", table_name="users")
    op.drop_index("ix_users_updated_at_id", table_name="users")
