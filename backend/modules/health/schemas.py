from typing import Literal

from pydantic import Field

from backend.core.schemas import Schema

Status = Literal["ok", "error", "degraded", "draining"]


class Health(Schema):
    status: Literal["ok"] = "ok"
    version: str = Field(examples=["0.1.0"])


class Liveness(Schema):
    status: Literal["ok"] = "ok"


class Check(Schema):
    status: Status
    latency_ms: float = Field(description="How long the check took.")
    detail: str | None = Field(None, description="What is wrong, if anything is.")


class Readiness(Schema):
    status: Status
    checks: dict[str, Check]
