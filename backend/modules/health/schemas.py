from typing import Literal

from pydantic import Field

from backend.core.schemas import Schema
from backend.product import VERSION

Status = Literal["ok", "error", "degraded", "draining"]


class Health(Schema):
    status: Literal["ok"] = "ok"
    version: str = Field(examples=[VERSION])


class Liveness(Schema):
    status: Literal["ok"] = "ok"


class Check(Schema):
    status: Status
    latency_ms: float = Field(description="Duration of the check.")
    detail: str | None = Field(None, description="The problem, if there is one.")


class Readiness(Schema):
    status: Status
    checks: dict[str, Check]
