"""Reads of the record, as constant statements."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError
from sqlalchemy import SQLColumnExpression, and_
from sqlmodel import col

from backend.addresses.ip_addresses import plain_address
from backend.core.lists import ResourceList, created_filters, select_fields
from backend.core.schemas import is_uuid
from backend.db.lists.specs import Filter, equals
from backend.modules.audit.models import AuditEvent
from backend.modules.audit.schemas import Action, AuditEventOut, Outcome


def _address(value: Any) -> Any:
    address = plain_address(value)
    if address is None:
        raise PydanticCustomError("ip_address", "Must be an IP address.")
    return address


_Address = Annotated[
    str,
    BeforeValidator(_address),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}]}
    ),
]


def _text(max_length: int) -> Any:
    return Annotated[str, Field(min_length=1, max_length=max_length)]


def _as_stored(target_id: str) -> str:
    # Ids of rows are stored in lower case.
    return target_id.lower() if is_uuid(target_id) else target_id


def _equal(column: SQLColumnExpression[Any], kind: Any, description: str) -> Filter:
    return Filter(kind, equals(column), description)


_IN_TIME = created_filters(col(AuditEvent.occurred_at))
EVENTS = ResourceList(
    name="audit events",
    schema=AuditEventOut,
    statement=select_fields(AuditEvent, AuditEventOut),
    key=col(AuditEvent.id),
    sorts={"occurred_at": col(AuditEvent.occurred_at)},
    default_sort="-occurred_at",
    filters={
        "id": _equal(col(AuditEvent.id), UUID, "This event."),
        "actor_id": _equal(col(AuditEvent.actor_id), UUID, "Done by this user."),
        "action": _equal(col(AuditEvent.action), Action, "Such as `auth.login`."),
        "target_type": _equal(col(AuditEvent.target_type), _text(50), "Such as `user`."),
        "target_id": _equal(
            col(AuditEvent.target_id),
            Annotated[_text(255), AfterValidator(_as_stored)],
            "Done to this.",
        ),
        "outcome": _equal(col(AuditEvent.outcome), Outcome, "What came of it."),
        "ip": _equal(col(AuditEvent.ip), _Address, "From here."),
        "user_agent": _equal(col(AuditEvent.user_agent), _text(255), "By this program, exactly."),
        "request_id": _equal(col(AuditEvent.request_id), _text(128), "By this request."),
        "occurred_after": _IN_TIME["created_after"],
        "occurred_before": _IN_TIME["created_before"],
        **_IN_TIME,
    },
    scopes={
        "by": lambda user: col(AuditEvent.actor_id) == user,
        "about": lambda user: and_(
            col(AuditEvent.target_type) == "user", col(AuditEvent.target_id) == user
        ),
    },
)
