"""A value rejected by the database alone is logged as a defect and explained in development."""

import httpx
import psycopg
import pytest
import structlog
from sqlalchemy import text

from backend.core.authorization import public
from backend.core.http.dependencies import Session
from backend.core.http.routing import Router
from backend.core.module import Module
from tests.applications import MODULES, make_app, make_context
from tests.contract import stable_members

VALUES = "what was sent", "4711"
TABLES = """
CREATE DOMAIN even AS integer CONSTRAINT even_check CHECK (VALUE % 2 = 0);
CREATE TABLE made_parents (id integer CONSTRAINT pk_made_parents PRIMARY KEY);
CREATE TABLE made_gauges (
    id integer CONSTRAINT pk_made_gauges PRIMARY KEY,
    size integer CONSTRAINT ck_made_gauges_size CHECK (size > 0),
    label varchar(5) NOT NULL,
    price numeric(4, 2),
    parity even,
    span int4range,
    parent_id integer CONSTRAINT fk_made_gauges_parent REFERENCES made_parents ON DELETE RESTRICT,
    CONSTRAINT ex_made_gauges_span EXCLUDE USING gist (span WITH &&)
);
INSERT INTO made_parents VALUES (1);
INSERT INTO made_gauges VALUES (1, 1, 'a', 1, 2, '[1,3)', 1)
"""
# Statement, status, beginning of the SQLSTATE, and the reported names.
REFUSED: dict[str, tuple[str, int, str, dict[str, str]]] = {
    "check": (
        "UPDATE made_gauges SET size = -1",
        422,
        "23514",
        {"constraint": "ck_made_gauges_size"},
    ),
    "not null": ("UPDATE made_gauges SET label = NULL", 422, "23502", {"column": "label"}),
    "too long": ("UPDATE made_gauges SET label = 'what was sent'", 422, "22001", {}),
    "too large": ("UPDATE made_gauges SET price = 4711", 422, "22003", {}),
    "no number": (
        "UPDATE made_gauges SET size = CAST('what was sent' AS integer)",
        422,
        "22P02",
        {},
    ),
    "domain": ("UPDATE made_gauges SET parity = 3", 422, "23514", {"constraint": "even_check"}),
    "unique": (
        "INSERT INTO made_gauges (id, label) VALUES (1, 'b')",
        409,
        "23505",
        {"constraint": "pk_made_gauges"},
    ),
    "exclusion": (
        "INSERT INTO made_gauges (id, label, span) VALUES (2, 'b', '[2,4)')",
        409,
        "23P01",
        {"constraint": "ex_made_gauges_span"},
    ),
    "foreign key": (
        "UPDATE made_gauges SET parent_id = 4711",
        409,
        "23503",
        {"constraint": "fk_made_gauges_parent"},
    ),
    "restrict": ("DELETE FROM made_parents", 409, "23", {"constraint": "fk_made_gauges_parent"}),
}


router = Router(prefix="/made-gauges", tags=["made_gauges"], dependencies=[public])


@router.post("/{name}")
async def change(name: str, session: Session) -> None:
    # Directly to the driver, like a service that checks nothing.
    connection = await session.connection()
    await connection.execute(text(REFUSED[name][0]))


@pytest.mark.parametrize("environment", ["development", "test"])
async def test_refused_value_is_told(
    own_database_url: str, log: list[structlog.typing.EventDict], environment: str
) -> None:
    with psycopg.connect(own_database_url, autocommit=True) as connection:
        connection.execute(TABLES)
    context = make_context(own_database_url, environment=environment)
    app = make_app(context, [*MODULES, Module("made_gauges", router)])
    app.state.context = context
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        for name in REFUSED:
            log.clear()
            answer = await client.post(f"/api/v1/made-gauges/{name}")
            _check(name, answer, log, is_named=environment == "development")
    await context.database.close()


def _check(
    name: str, answer: httpx.Response, log: list[structlog.typing.EventDict], *, is_named: bool
) -> None:
    _, status, sqlstate, named = REFUSED[name]
    problem = answer.json()
    assert (name, answer.status_code) == (name, status)
    assert problem["error"] == ("CONFLICT" if status == 409 else "VALIDATION_ERROR")
    (event,) = [each for each in log if each["event"] == "database_refused_value"]
    assert event["log_level"] == "error"
    assert event["sqlstate"].startswith(sqlstate)
    assert named.items() <= event.items()
    for value in VALUES:
        assert value not in str(event)
        assert value not in str(stable_members(answer))
    for word in (event["sqlstate"], event["reason"], *named.values()):
        assert (word in problem["detail"]) == is_named, name
