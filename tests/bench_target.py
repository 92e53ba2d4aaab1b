"""A tiny ASGI server with a sign-in, which `bench` compares the application with."""

import json
from typing import Any
from urllib.parse import parse_qs

OK, CREATED, UNAUTHORIZED = 200, 201, 401


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})
        return
    body = (await receive()).get("body", b"")
    status, value = _response(scope, dict(scope["headers"]).get(b"authorization"), body)
    head = {"type": "http.response.start", "status": status}
    content = json.dumps(value).encode()
    if scope["path"] == "/things":
        # Without a length, so that uvicorn sends it in chunks.
        await send({**head, "headers": []})
    else:
        await send({**head, "headers": [(b"content-length", str(len(content)).encode())]})
    await send({"type": "http.response.body", "body": content})


def _response(scope: Any, authorization: bytes | None, body: bytes) -> tuple[int, Any]:
    match scope["method"], scope["path"]:
        case "GET", "/ready":
            return OK, True
        case "POST", "/login":
            form = parse_qs(body.decode())
            if form.get("password") != ["the right one"]:
                return UNAUTHORIZED, "wrong password"
            return OK, {"data": {"token": form["name"][0]}}
        case _ if authorization is None or not authorization.startswith(b"Token caller"):
            return UNAUTHORIZED, "no token"
        case "POST", "/things":
            return CREATED, json.loads(body)
        case _, "/me":
            return OK, {"name": authorization.decode()}
        case _:
            return OK, [1, 2, 3]
