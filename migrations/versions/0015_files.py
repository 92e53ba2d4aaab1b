"""files: files of users, their avatars, and counted bytes without a foreign key"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "files",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.String(length=43), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("content_type", sa.String(length=100), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("filename", sa.String(length=255), nullable=True),
        sa.Column("is_public", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_files"),
        sa.UniqueConstraint("key", name="uq_files_key"),
    )
    op.create_index("ix_files_owner_id_created_at_id", "files", ["owner_id", "created_at", "id"])
    op.add_column("users", sa.Column("avatar_key", sa.String(length=43), nullable=True))
    op.drop_constraint("fk_stored_bytes_user_id_users", "stored_bytes")


def downgrade() -> None:
    op.execute("DELETE FROM stored_bytes WHERE user_id NOT IN (SELECT id FROM users)")
    op.create_foreign_key(
        "fk_stored_bytes_user_id_users",
        "stored_bytes",
        "users",
        ["user_id"],
        ["id"],
        ondelete="CASCADE",
    )
    op.drop_column("users", "avatar_key")
    op.drop_table("files")
