"""audit: append-only events and their seals, protected by triggers"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

FLOOR_DAYS = 30
INDEXES = (
    ("occurred_at", "id"),
    ("actor_id", "occurred_at", "id"),
    ("action", "occurred_at", "id"),
    ("target_id", "occurred_at", "id"),
    ("ip", "occurred_at", "id"),
    ("request_id",),
)


def upgrade() -> None:
    _create_tables()
    op.execute(
        f"""
        CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP USING
                ERRCODE = 'insufficient_privilege',
                HINT = 'Rows are never changed. Those older than AUDIT_RETENTION_DAYS are deleted '
                    'by the worker; those younger than {FLOOR_DAYS} days by nobody.';
        END $$
        """
    )
    for table, moment in (("audit_events", "occurred_at"), ("audit_seals", "sealed_at")):
        op.execute(
            f"CREATE TRIGGER {table}_unchanged BEFORE UPDATE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()"
        )
        # The upper bound allows deleting rows whose time is in the future by mistake.
        op.execute(
            f"CREATE TRIGGER {table}_kept BEFORE DELETE ON {table} FOR EACH ROW "
            f"WHEN (OLD.{moment} BETWEEN now() - interval '{FLOOR_DAYS} days' "
            "AND now() + interval '1 day') EXECUTE FUNCTION audit_refuse()"
        )


def _create_tables() -> None:
    op.create_table(
        "audit_events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("action", sa.String(50), nullable=False),
        sa.Column("target_type", sa.String(50), nullable=True),
        sa.Column("target_id", sa.String(255), nullable=True),
        sa.Column("outcome", sa.String(7), nullable=False),
        sa.Column("ip", sa.String(45), nullable=True),
        sa.Column("user_agent", sa.String(255), nullable=True),
        sa.Column("request_id", sa.String(128), nullable=True),
        sa.Column("changes", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.CheckConstraint(
            "outcome IN ('success', 'failure', 'denied')", name=op.f("ck_audit_events_outcome")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
    )
    for columns in INDEXES:
        op.create_index(f"ix_audit_events_{'_'.join(columns)}", "audit_events", columns)
    op.create_table(
        "audit_waiting",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_audit_waiting")),
    )
    op.create_table(
        "audit_seals",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("sealed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("first_kept", sa.BigInteger(), nullable=False),
        sa.Column("event_ids", postgresql.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("event_digests", sa.LargeBinary(), nullable=False),
        sa.Column("previous_digest", sa.LargeBinary(), nullable=True),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit_seals")),
    )


def downgrade() -> None:
    # DROP TABLE does not fire the triggers.
    for table in ("audit_seals", "audit_waiting", "audit_events"):
        op.drop_table(table)
    op.execute("DROP FUNCTION audit_refuse()")
