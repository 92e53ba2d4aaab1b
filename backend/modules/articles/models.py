from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlmodel import Field

from backend.db.base import Base, Identified, Timestamped

# Only so much of the content is indexed: a search vector takes 1 MiB, and a content of half a
# million characters could need more.
INDEXED_CHARACTERS = 100_000
_SEARCH = (
    "setweight(to_tsvector('english', title), 'A') || "
    f"setweight(to_tsvector('english', left(coalesce(content, ''), {INDEXED_CHARACTERS})), 'B')"
)


# Articles that were never published sort as if published before all others.
NEVER = "'0001-01-01 00:00:00+00'::timestamptz"
# The sorts of the list.
_SORTS: dict[str, Any] = {
    "created_at": "created_at",
    "updated_at": "updated_at",
    "published_at": sa.text(f"coalesce(published_at, {NEVER})"),
    "title": "title",
}


def _sort_indexes() -> list[sa.Index]:
    """Return the indexes of each sort: of all articles, the published ones, one's own others."""
    indexes = []
    for name, key in _SORTS.items():
        published = sa.text("status = 'published'")
        others = sa.text("status <> 'published'")
        indexes += [
            sa.Index(f"ix_articles_{name}_id", key, "id"),
            sa.Index(f"ix_articles_published_{name}", key, "id", postgresql_where=published),
            sa.Index(f"ix_articles_own_{name}", "author_id", key, "id", postgresql_where=others),
        ]
    return indexes


class Article(Base, Identified, Timestamped, table=True):
    __tablename__ = "articles"
    __table_args__ = (
        sa.CheckConstraint("status IN ('draft', 'published', 'archived')", name="status"),
        *_sort_indexes(),
        sa.Index("ix_articles_status_created_at_id", "status", "created_at", "id"),
        sa.Index("ix_articles_author_status_created_at", "author_id", "status", "created_at", "id"),
        sa.Index("ix_articles_author_id_created_at_id", "author_id", "created_at", "id"),
        sa.Index("ix_articles_search", "search", postgresql_using="gin"),
    )
    # The search vector is never read.
    __mapper_args__: ClassVar[dict[str, Any]] = {"eager_defaults": False}

    title: str = Field(max_length=255)
    content: str | None = Field(default=None, sa_type=sa.Text)
    status: str = Field(default="draft", max_length=9)
    author_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE")
    published_at: datetime | None = None
    search: Any = Field(
        default=None, sa_column=sa.Column(TSVECTOR, sa.Computed(_SEARCH, persisted=True))
    )
