"""temporary values: values of modules that expire, where there is no Redis"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Unlogged: a crash may empty it.
    op.execute(
        "CREATE UNLOGGED TABLE temporary_values ("
        "key text NOT NULL CONSTRAINT pk_temporary_values PRIMARY KEY, "
        "value bytea NOT NULL, "
        "expires_at timestamptz NOT NULL)"
    )
    op.create_index("ix_temporary_values_expires_at", "temporary_values", ["expires_at"])


def downgrade() -> None:
    op.drop_table("temporary_values")
