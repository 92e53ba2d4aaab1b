from typing import Annotated
from uuid import UUID

from pydantic import MISSING, Field

from backend.core.schemas import Schema, Timestamp, Trimmed

MAX_DESCRIPTION = 10_000  # characters
Title = Annotated[str, Trimmed(255), Field(examples=["Milk"])]
Description = Annotated[
    str, Trimmed(MAX_DESCRIPTION, min_length=0), Field(examples=["Two litres."])
]


class ItemOut(Schema):
    id: UUID
    title: str
    description: str | None
    owner_id: UUID
    created_at: Timestamp
    updated_at: Timestamp


class ItemCreate(Schema):
    title: Title
    description: Description | None = None


class ItemUpdate(Schema):
    title: Title | MISSING = MISSING
    description: Description | None | MISSING = MISSING
