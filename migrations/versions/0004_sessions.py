"""sessions"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Existing sessions have no refresh token and expire with their access token anyway.
    op.execute("DELETE FROM sessions")
    op.add_column("sessions", sa.Column("transport", sa.String(6), nullable=False))
    op.add_column("sessions", sa.Column("generation", sa.Integer(), nullable=False))
    op.add_column("sessions", sa.Column("token_digest", sa.LargeBinary(), nullable=False))
    op.add_column("sessions", sa.Column("rotated_at", sa.DateTime(timezone=True), nullable=False))
    # The hash gets the id of its key as a prefix.
    op.alter_column("users", "password_hash", type_=sa.String(80))


def downgrade() -> None:
    # Remove the key ids from the hashes; hashes with a former key can no longer be distinguished.
    # Imported hashes have no key id.
    op.execute(
        "UPDATE users SET password_hash = CASE WHEN password_hash ~ '^[0-9a-f]{8}[$]' "
        "THEN substr(password_hash, 9) WHEN length(password_hash) <= 60 THEN password_hash END"
    )
    op.alter_column("users", "password_hash", type_=sa.String(60))
    for column in ("rotated_at", "token_digest", "generation", "transport"):
        op.drop_column("sessions", column)
