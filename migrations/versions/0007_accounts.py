"""accounts: mailed tokens, and e-mail addresses pending verification"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("pending_email", sa.String(254), nullable=True))
    op.create_table(
        "mailed_tokens",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.String(12), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("former_email", sa.String(254), nullable=True),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("password_digest", sa.LargeBinary(), nullable=True),
        sa.Column("registration", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_mailed_tokens_user_id_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mailed_tokens")),
    )
    op.create_index("ix_mailed_tokens_user_id", "mailed_tokens", ["user_id"])
    op.create_index("ix_mailed_tokens_digest", "mailed_tokens", ["digest"], unique=True)
    op.create_index("ix_mailed_tokens_expires_at", "mailed_tokens", ["expires_at"])
    op.create_index(
        "ix_mailed_tokens_live",
        "mailed_tokens",
        ["user_id", "purpose"],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_table("mailed_tokens")
    op.drop_column("users", "pending_email")
