from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from backend.core.schemas import Schema, Timestamp

Outcome = Literal["success", "failure", "denied"]


class AuditEventOut(Schema):
    id: UUID
    occurred_at: Timestamp
    actor_id: UUID | None = Field(description="Who did it; null where nobody was signed in.")
    action: str = Field(examples=["article.publish"])
    target_type: str | None = Field(examples=["article"])
    target_id: str | None
    outcome: Outcome
    ip: str | None
    user_agent: str | None
    request_id: str | None = Field(description="`X-Request-ID` of the request that did it.")
    changes: dict[str, Any] | None = Field(
        description="By member: `old` and `new`, or only `changed` where the values are long or "
        "secret.",
        examples=[{"status": {"old": "draft", "new": "published"}}],
    )


Action = Annotated[str, Field(max_length=50, pattern=r"^[a-z_]+\.[a-z_]+$")]
