"""Reads of procrastinate's tables, as constant statements. The tables are not ours to declare."""

from typing import Annotated

from pydantic import Field
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Integer,
    Text,
    bindparam,
    case,
    cast,
    column,
    func,
    literal,
    literal_column,
    select,
    table,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from backend.core.jobs import ERROR, ORIGIN
from backend.core.lists import ResourceList
from backend.db.lists.specs import Filter
from backend.db.queries import Query
from backend.modules.jobs.schemas import JobOut, Status

STORED = table(
    "procrastinate_jobs",
    column("id", BigInteger),
    column("task_name", Text),
    column("args", JSONB),
    column("status"),
    column("scheduled_at", DateTime(timezone=True)),
    Column("attempts", Integer, nullable=False),
)
EVENTS = table(
    "procrastinate_events", column("job_id", BigInteger), column("at", DateTime(timezone=True))
)
_WORKERS = table("procrastinate_workers", column("last_heartbeat", DateTime(timezone=True)))
status_word = case(
    {"todo": "waiting", "doing": "running", "failed": "failed"},
    value=cast(STORED.c.status, Text),
    else_="done",
)
_CREATED = select(func.min(EVENTS.c.at)).where(EVENTS.c.job_id == STORED.c.id).scalar_subquery()
_JOB = select(
    STORED.c.id,
    STORED.c.task_name.label("name"),
    status_word.label("status"),
    STORED.c.attempts,
    literal_column(f"args - '{ORIGIN}'", JSONB).label("arguments"),
    literal_column(f"args #>> '{{{ORIGIN},{ERROR}}}'", Text).label("error"),
    literal_column(f"args #>> '{{{ORIGIN},request_id}}'", Text).label("request_id"),
    STORED.c.scheduled_at,
    _CREATED.label("created_at"),
)
JOB_BY_ID = _JOB.where(STORED.c.id == bindparam("id", type_=BigInteger))
JOB = Query(JOB_BY_ID)
JOBS = ResourceList(
    name="jobs",
    schema=JobOut,
    statement=_JOB,
    key=STORED.c.id,
    # The ids are in the order of creation.
    sorts={"created_at": STORED.c.id, "attempts": STORED.c.attempts},
    filters={
        "status": Filter(Status, lambda status: status_word == status, "In this state."),
        "name": Filter(
            Annotated[str, Field(min_length=1, max_length=128)],
            lambda name: STORED.c.task_name == name,
            "Of this name, such as `mail.send`.",
        ),
    },
    unindexed=dict.fromkeys(
        ("attempts", "status", "name"),
        "Each job would write the index, several times in its short life, and the list is read "
        "rarely: jobs that succeed are deleted, so it contains those that wait or have failed.",
    ),
)
LIVE_WORKER = Query(
    select(literal(1).label("one"))
    .where(_WORKERS.c.last_heartbeat > func.now() - text("interval '1 minute'"))
    .limit(1)
)
