from datetime import date
from typing import Annotated
from uuid import UUID

from pydantic import MISSING

from backend.core.deprecation import Deprecation
from backend.core.schemas import Schema, Timestamp, Trimmed

COLOURS = Deprecation(
    since=date(2026, 9, 1), sunset=date(2027, 3, 1), info="https://example.com/changes#colours"
)
Text = Annotated[str, Trimmed(200)]
Colour = Annotated[Annotated[str, Trimmed(20)] | None, COLOURS]


class MadeTaskOut(Schema):
    id: UUID
    text: str
    colour: Annotated[str | None, COLOURS]
    is_done: bool
    created_at: Timestamp


class MadeTaskCreate(Schema):
    text: Text
    colour: Colour = None


class MadeTaskUpdate(Schema):
    text: Text | MISSING = MISSING
    colour: Colour | MISSING = MISSING
    is_done: bool | MISSING = MISSING
