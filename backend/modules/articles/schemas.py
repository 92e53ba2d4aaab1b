from typing import Annotated, Literal
from uuid import UUID

from pydantic import MISSING, Field

from backend.core.schemas import Schema, Timestamp, Trimmed
from backend.modules.users.schemas import Author

MAX_CONTENT = 500_000  # characters
Status = Literal["draft", "published", "archived"]
Title = Annotated[str, Trimmed(255), Field(examples=["On computable numbers"])]
Content = Annotated[str, Trimmed(MAX_CONTENT), Field(examples=["Once upon a time."])]


class ArticleOut(Schema):
    id: UUID
    title: str
    content: str | None
    status: Status
    author: Author
    author_id: UUID
    published_at: Timestamp | None
    created_at: Timestamp
    updated_at: Timestamp


class ArticleCreate(Schema):
    title: Title
    content: Content | None = None


class ArticleUpdate(Schema):
    title: Title | MISSING = MISSING
    content: Content | None | MISSING = MISSING
