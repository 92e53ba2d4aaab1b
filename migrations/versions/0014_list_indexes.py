"""list indexes: one for every sort and filter of items, articles, users and audit events"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

ARTICLE_SORTS = {
    "created_at": "created_at",
    "updated_at": "updated_at",
    "published_at": sa.text("coalesce(published_at, '0001-01-01 00:00:00+00'::timestamptz)"),
    "title": "title",
}
OF_ITEMS = (
    ("owner_id", "updated_at", "id"),
    ("owner_id", "title", "id"),
    ("created_at", "id"),
    ("updated_at", "id"),
    ("title", "id"),
)
OF_USERS = (("is_active", "created_at", "id"), ("is_verified", "created_at", "id"))
OF_EVENTS = (
    ("request_id", "occurred_at", "id"),
    ("outcome", "occurred_at", "id"),
    ("target_type", "occurred_at", "id"),
    ("user_agent", "occurred_at", "id"),
)


def upgrade() -> None:
    with op.get_context().autocommit_block():
        for table, indexes in _indexes().items():
            for name, columns, where in indexes:
                _create(table, name, columns, where)
        # The index of request_id and occurred_at replaces it.
        _drop("audit_events", "ix_audit_events_request_id")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        _create("audit_events", "ix_audit_events_request_id", ["request_id"], None)
        for table, indexes in _indexes().items():
            for name, _, _ in indexes:
                _drop(table, name)


def _indexes() -> dict[str, list[tuple[str, list[Any], str | None]]]:
    """Return the name, the columns and the condition of each index, by table."""
    plain = {"items": OF_ITEMS, "users": OF_USERS, "audit_events": OF_EVENTS}
    indexes: dict[str, list[tuple[str, list[Any], str | None]]] = {
        table: [(f"ix_{table}_{'_'.join(columns)}", list(columns), None) for columns in several]
        for table, several in plain.items()
    }
    articles = indexes["articles"] = [
        ("ix_articles_status_created_at_id", ["status", "created_at", "id"], None),
        (
            "ix_articles_author_status_created_at",
            ["author_id", "status", "created_at", "id"],
            None,
        ),
    ]
    for name, key in ARTICLE_SORTS.items():
        # The index of all articles by created_at exists.
        if name != "created_at":
            articles.append((f"ix_articles_{name}_id", [key, "id"], None))
        articles += [
            (f"ix_articles_published_{name}", [key, "id"], "status = 'published'"),
            (f"ix_articles_own_{name}", ["author_id", key, "id"], "status <> 'published'"),
        ]
    return indexes


def _create(table: str, name: str, columns: list[Any], where: str | None) -> None:
    invalid = sa.text(
        "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(:name) AND NOT indisvalid"
    )
    # Left by a run that was interrupted.
    if op.get_bind().scalar(invalid, {"name": name}):
        _drop(table, name)
    op.create_index(
        name,
        table,
        columns,
        if_not_exists=True,
        postgresql_concurrently=True,
        postgresql_where=where and sa.text(where),
    )


def _drop(table: str, name: str) -> None:
    op.drop_index(name, table_name=table, if_exists=True, postgresql_concurrently=True)
