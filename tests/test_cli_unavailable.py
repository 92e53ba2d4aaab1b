"""The server that responds while the API of `backend dev` does not start."""

import http.client
import socket

import pytest

from backend.core.settings import Settings
from backend.dev.unavailable_server import UnavailableServer, application
from tests.hostile import raw

REASON = "Module 'items' does not load: <b>"
SETTINGS = Settings(_env_file=None)
ORIGIN = (b"origin", b"http://localhost:5173")


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_the_reason_is_a_problem_document(method: str) -> None:
    app = application(REASON, SETTINGS)
    answer = await raw(app, method, "/api/v1/items", headers=[ORIGIN])
    problem = answer.json()
    assert (answer.status, answer.headers[b"content-type"]) == (503, b"application/problem+json")
    assert (problem["error"], problem["detail"]) == ("SERVICE_UNAVAILABLE", REASON)
    assert problem["path"] == "/api/v1/items"
    assert answer.headers[b"access-control-allow-origin"] == ORIGIN[1]
    assert answer.headers[b"retry-after"] == b"1"
    assert answer.headers[b"x-request-id"].decode() == problem["request_id"]


async def test_browsers_get_a_page() -> None:
    accept = (b"accept", b"text/html,application/xhtml+xml,*/*;q=0.8")
    app = application(REASON, SETTINGS)
    answer = await raw(app, "GET", "/docs", headers=[accept])
    assert (answer.status, answer.headers[b"content-type"]) == (503, b"text/html; charset=utf-8")
    assert b"does not load: &lt;b&gt;" in answer.body


def test_it_shares_the_sockets_and_gives_them_back() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with UnavailableServer([listening], SETTINGS) as fallback:
            for reason in ("first", "second"):
                fallback.start(reason)
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
                connection.request("GET", "/")
                answer = connection.getresponse()
                assert answer.status == 503
                assert f'"detail":"{reason}"'.encode() in answer.read()
                assert answer.headers["connection"] == "close"
                connection.close()
            fallback.stop()
        # The next process that holds the sockets gets all later connections.
        with socket.create_connection(("127.0.0.1", port), 10), listening.accept()[0]:
            pass
