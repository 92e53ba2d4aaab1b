from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from backend.core.schemas import Schema, Timestamp

Status = Literal["waiting", "running", "failed", "done"]
_BIGGEST = 2**63 - 1


def _canonical(value: Any) -> Any:
    if isinstance(value, str) and not (
        value.isascii() and value.isdecimal() and value[0] != "0" and len(value) < 20
    ):
        raise PydanticCustomError("int_parsing", "Must be a positive integer.")
    return value


JobId = Annotated[int, Field(ge=1, le=_BIGGEST), BeforeValidator(_canonical)]
"""An id in a path. Only as we write it: one thing has one address."""


class JobOut(Schema):
    id: int
    name: str = Field(description="`module.what`.", examples=["mail.send"])
    status: Status = Field(
        description="`waiting` for its time, a worker or its next attempt; `running`; `failed` "
        "after its last attempt, which is kept for 30 days, or until the clock starts it again. "
        "A job that succeeds is deleted: `done` are only those that somebody ended by hand in the "
        "database."
    )
    attempts: int = Field(description="How often it was tried, the one that runs not counted.")
    arguments: dict[str, Any] = Field(description="What it was given.")
    error: str | None = Field(
        description="Why its last attempt failed, or why it waits: the type of an error, or a "
        "sentence. Null before the first failure.",
        examples=["ConnectionRefusedError"],
    )
    request_id: str | None = Field(
        description="The `X-Request-ID` of the request that enqueued it; null if no request did."
    )
    scheduled_at: Timestamp | None = Field(description="Not to run before; null: at once.")
    created_at: Timestamp
