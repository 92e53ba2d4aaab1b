from dataclasses import dataclass, field
from uuid import UUID

from pydantic import Field

from backend.core.schemas import Schema, Timestamp


class FileOut(Schema):
    id: UUID
    filename: str | None
    content_type: str = Field(examples=["application/pdf"])
    size: int = Field(description="Bytes.")
    is_public: bool = Field(description="Whether its address needs no signature.")
    created_at: Timestamp


@dataclass(frozen=True)
class Upload:
    """A file whose content is stored, but which has no row yet."""

    key: str = field(repr=False)
    content_type: str
    size: int
    filename: str | None
    is_public: bool


@dataclass(frozen=True)
class File(Upload):
    """A file with a row. Other modules keep its `key`."""

    id: UUID
