"""imported hashes: longer column for password hashes of other schemes"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("users", "password_hash", type_=sa.String(255))


def downgrade() -> None:
    # Earlier versions cannot verify hashes this long; the owner requests a link to set a password.
    op.execute("UPDATE users SET password_hash = NULL WHERE length(password_hash) > 80")
    op.alter_column("users", "password_hash", type_=sa.String(80))
