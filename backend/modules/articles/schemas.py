from typing import Annotated, Literal
from uuid import UUID

from pydantic import MISSING, Field

from backend.core.schemas import Schema, Text, Timestamp
from backend.modules.users.schemas import Author

Status = Literal["draft", "published", "archived"]
Title = Annotated[Text, Field(max_length=255, examples=["On computable numbers"])]
Content = Annotated[Text, Field(max_length=500_000, examples=["Once upon a time."])]


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
