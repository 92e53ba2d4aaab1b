"""The floor: the same responses from uvicorn, PyJWT, psycopg and orjson, without a framework.

It sends the application's own statements and checks the same input and permissions, but has no
routing, validation library, log, security headers or error format. Below `/cached` it also
caches verified tokens, as the application does.
"""

import gc
from asyncio import LifoQueue
from collections.abc import Awaitable, Callable, Mapping
from functools import cache, partial
from importlib import import_module
from typing import Any
from uuid import UUID

import jwt
import psycopg
from psycopg.rows import dict_row
from sqlalchemy import insert
from sqlalchemy.dialects.postgresql.psycopg import dialect
from starlette.types import Receive, Scope, Send

from backend.core.app import create_context
from backend.core.registry import discover, setting_kinds
from backend.core.settings import load_settings
from backend.db.base import utc_now, uuid7
from backend.db.connections import Timeouts
from backend.db.lists.cursors import encode_cursor
from backend.db.lists.pages import fetch_page
from backend.db.lists.specs import ListQuery
from backend.db.queries import SharedQuery
from backend.db.query_runner import QueryRunner, Row
from backend.modules.auth.queries import IDENTITY
from backend.modules.auth.settings import AuthSettings
from backend.modules.auth.tokens import ALGORITHM, REQUIRED
from backend.modules.users.queries import ME
from bench.by_hand import Refused, Response, checked_item, read_body, respond, to_json

# Not by an import, so that an application without items passes the checks of types.
Item: Any = import_module("backend.modules.items.models").Item
ITEMS: Any = import_module("backend.modules.items.queries").ITEMS

Connection = psycopg.AsyncConnection[Row]
Verify = Callable[[str], tuple[UUID, UUID]]
_DIALECT = dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped
INSERT_ITEM = insert(Item).compile(dialect=_DIALECT).string
EMPTY_ITEM = Item(title="", owner_id=UUID(int=0)).model_dump()


class Recorder(QueryRunner):
    """A query runner that records a list's statement instead of sending it."""

    def __init__(self) -> None:
        self.statement: tuple[str, dict[str, Any]] = ("", {})

    async def shared(
        self, query: SharedQuery, values: Mapping[str, Any], max_callers: int = 1
    ) -> list[Row]:
        self.statement = (query.sql, query.parameters(values))
        return []


class Floor:
    """A raw ASGI application."""

    def __init__(self) -> None:
        modules = discover()
        loaded = load_settings(setting_kinds(modules))
        self.context = create_context(modules, loaded)
        self.auth = self.context.settings_of(AuthSettings)
        self.key = self.context.key("access tokens")
        # As many connections of each kind as the application's pools hold.
        self.readers: LifoQueue[Connection] = LifoQueue()
        self.writers: LifoQueue[Connection] = LifoQueue()
        self.list_statement: tuple[str, dict[str, Any]] = ("", {})
        self.routes: dict[tuple[str, str], Callable[[Scope, Receive], Awaitable[Response]]] = {
            ("GET", "/health"): self.health
        }
        for prefix, verify in (("", self.verify), ("/cached", cache(self.verify))):
            self.routes |= {
                ("GET", f"{prefix}/api/v1/users/me"): partial(self.me, verify),
                ("GET", f"{prefix}/api/v1/items"): partial(self.items, verify),
                ("POST", f"{prefix}/api/v1/items"): partial(self.create_item, verify),
            }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.live(receive, send)
            return
        try:
            handler = self.routes.get((scope["method"], scope["path"]))
            if handler is None:
                raise Refused(404)
            response = await handler(scope, receive)
        except Refused as refused:
            response = Response(b"{}", refused.status)
        await respond(send, response)

    async def live(self, receive: Receive, send: Send) -> None:
        await receive()
        settings = self.context.settings
        assert settings.database_url is not None
        for queue in (self.readers, self.writers):
            for _ in range(settings.database_pool_size // 2):
                connection = await psycopg.AsyncConnection.connect(
                    settings.database_url.get_secret_value(),
                    autocommit=True,
                    row_factory=dict_row,
                    **Timeouts().connect_arguments(),
                )
                queue.put_nowait(connection)
        recorder = Recorder()
        query = ListQuery(cursor_key=b"")
        await fetch_page(recorder, ITEMS, query, owner=UUID(int=0))
        self.list_statement = recorder.statement
        # The same garbage collection settings as in the application.
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 20, 50)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        for queue in (self.readers, self.writers):
            while not queue.empty():
                await queue.get_nowait().close()
        await send({"type": "lifespan.shutdown.complete"})

    def verify(self, token: str) -> tuple[UUID, UUID]:
        try:
            claims = jwt.decode(
                token,
                self.key,
                [ALGORITHM],
                issuer=self.auth.jwt_issuer,
                audience=self.auth.jwt_audience,
                options={"require": REQUIRED},
            )
            return UUID(claims["sub"]), UUID(claims["sid"])
        except (jwt.PyJWTError, ValueError):
            raise Refused(401) from None

    async def identify(
        self, scope: Scope, verify: Verify, connection: Connection, permission: str | None = None
    ) -> tuple[UUID, list[str]]:
        header = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scheme, _, token = header.decode("latin-1").partition(" ")
        if scheme.lower() != "bearer":
            raise Refused(401)
        user_id, session_id = verify(token)
        values = IDENTITY.parameters({"keys": [session_id]})
        cursor = await connection.execute(IDENTITY.sql, values)
        row = await cursor.fetchone()
        if row is None or row["user_id"] != user_id:
            raise Refused(401)
        permissions = (row["permissions"] or "").split()
        if permission and permission not in permissions:
            raise Refused(403)
        return user_id, permissions

    async def health(self, _scope: Scope, _receive: Receive) -> Response:
        return Response(b'{"status":"ok","version":"0.1.0"}')

    async def me(self, verify: Verify, scope: Scope, _receive: Receive) -> Response:
        connection = await self.readers.get()
        try:
            user_id, _ = await self.identify(scope, verify, connection)
            cursor = await connection.execute(ME.sql, ME.parameters({"keys": [user_id]}))
            row = await cursor.fetchone()
        finally:
            self.readers.put_nowait(connection)
        if row is None:
            raise Refused(404)
        return Response(to_json({**row, "avatar_url": None}))

    async def items(self, verify: Verify, scope: Scope, _receive: Receive) -> Response:
        name, _, number = scope["query_string"].decode().partition("=")
        if name != "limit" or not number.isdecimal() or not 1 <= int(number) <= 100:
            raise Refused(422)
        limit = int(number)
        connection = await self.readers.get()
        try:
            user_id, permissions = await self.identify(scope, verify, connection, "items:read")
            if "items:admin" in permissions:
                raise Refused(403)  # administrators' lists use another statement
            sql, parameters = self.list_statement
            values = {**parameters, "owner": user_id, "page_limit": limit + 1}
            cursor = await connection.execute(sql, values)
            rows = await cursor.fetchall()
        finally:
            self.readers.put_nowait(connection)
        header = next_cursor = None
        if len(rows) > limit:
            rows.pop()
            binding = f'["items",["-created_at"],{{"owner":"{user_id}"}}]'.encode()
            last = (rows[-1]["created_at"], rows[-1]["id"])
            next_cursor = encode_cursor(last, scope=binding, key=self.context.cursor_key)
            link = f'<{scope["path"]}?limit={limit}&cursor={next_cursor}>; rel="next"'
            header = (b"link", link.encode())
        body = to_json({"data": rows, "next_cursor": next_cursor, "total": None})
        return Response(body, header=header)

    async def create_item(self, verify: Verify, scope: Scope, receive: Receive) -> Response:
        connection = await self.readers.get()
        try:
            user_id, _ = await self.identify(scope, verify, connection, "items:write")
        finally:
            self.readers.put_nowait(connection)
        row = EMPTY_ITEM | checked_item(await read_body(receive))
        now = utc_now()
        row |= {"id": uuid7(), "owner_id": user_id, "created_at": now, "updated_at": now}
        connection = await self.writers.get()
        try:
            await connection.execute(INSERT_ITEM, row)
        finally:
            self.writers.put_nowait(connection)
        return Response(to_json(row), 201, (b"location", f"/api/v1/items/{row['id']}".encode()))


app = Floor()
