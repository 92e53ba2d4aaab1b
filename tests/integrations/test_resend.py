"""The Resend provider sends mail and reports errors, against a local HTTP server."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from backend.integrations.email import MailError, Message
from backend.integrations.email.resend import ResendProvider
from tests.mail_servers import never_respond, scripted_server
from tests.servers import serving

KEY = "re_an_unmistakable_key"
SENDER = '"Trellis, Inc." <no-reply@bücher.example>'
MESSAGE = Message(
    to="ada@bücher.example",
    subject="Grüße an Ada 🌱",
    text="Hallo Ada\n",
    html="<p>Hallo Ada</p>",
    id="verify-email.0198c1f2-0000-7000-8000-000000000001",
)


@dataclass
class Resend:
    """A fake Resend server: requests received, and responses to send before it accepts all."""

    url: str = ""
    asked: list[tuple[Request, Any]] = field(default_factory=list)
    answers: list[Response] = field(default_factory=list)

    async def take(self, request: Request) -> Response:
        self.asked.append((request, json.loads(await request.body())))
        return self.answers.pop(0) if self.answers else JSONResponse({"id": "49a3999c"})

    def provider(self, **options: Any) -> ResendProvider:
        return ResendProvider(KEY, SENDER, url=self.url, **{"attempts": 1, **options})


@pytest.fixture
async def resend() -> AsyncIterator[Resend]:
    made = Resend()
    app = Starlette(routes=[Route("/emails", made.take, methods=["POST"])])
    async with serving(app) as made.url:
        yield made


async def refusal(sender: ResendProvider) -> MailError:
    with pytest.raises(MailError) as caught:
        await sender.send(MESSAGE)
    for secret in ("ada", KEY):
        assert secret not in str(caught.value)
    assert caught.value.__cause__ is None
    return caught.value


async def test_what_is_asked(resend: Resend) -> None:
    await resend.provider().send(MESSAGE)
    ((request, body),) = resend.asked
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["idempotency-key"] == MESSAGE.id
    assert request.headers["content-type"] == "application/json"
    assert body == {
        "from": '"Trellis, Inc." <no-reply@xn--bcher-kva.example>',
        "to": ["ada@xn--bcher-kva.example"],
        "subject": MESSAGE.subject,
        "text": MESSAGE.text,
        "html": MESSAGE.html,
        "headers": {"Auto-Submitted": "auto-generated"},
    }


async def test_a_repeated_mail_is_the_same_request(resend: Resend) -> None:
    resend.answers = [JSONResponse({}, 500)]
    await resend.provider(attempts=2).send(MESSAGE)
    (first, body), (second, repeated) = resend.asked
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert body == repeated


@pytest.mark.parametrize(
    ("status", "name", "permanent"),
    [
        (400, "invalid_idempotency_key", True),
        (401, "missing_api_key", False),
        (403, "invalid_api_key", False),
        (404, "not_found", True),
        (409, "invalid_idempotent_request", True),
        (409, "concurrent_idempotent_requests", False),
        (413, "", True),
        (422, "invalid_to_address", True),
        (429, "rate_limit_exceeded", False),
        (429, "daily_quota_exceeded", False),
        (500, "internal_server_error", False),
        (503, "", False),
        (302, "", False),
    ],
)
async def test_refusals_tell_for_good_from_for_now(
    resend: Resend, status: int, name: str, permanent: bool
) -> None:
    problem = {"statusCode": status, "message": "Not to ada@example.com.", "name": name}
    resend.answers = [JSONResponse(problem, status)]
    error = await refusal(resend.provider())
    assert str(error) == f"Resend responds {status} {name}".strip() + "."
    assert error.permanent is permanent


@pytest.mark.parametrize(
    "answer",
    ["", "<html>502</html>", "[]", "null", '{"name": 5}', '{"name": "<ada@example.com>"}'],
)
async def test_an_answer_in_another_language(resend: Resend, answer: str) -> None:
    resend.answers = [Response(answer, 502, media_type="application/json")]
    error = await refusal(resend.provider())
    assert str(error) == "Resend responds 502."
    assert not error.permanent


async def test_a_silent_server_is_for_later() -> None:
    async with scripted_server(never_respond) as port:
        url = f"http://127.0.0.1:{port}"
        error = await refusal(ResendProvider(KEY, SENDER, url=url, deadline=0.2))
    assert str(error) == "Resend does not respond in time."
    assert not error.permanent


async def test_no_server_at_all_is_for_later() -> None:
    async with scripted_server(never_respond) as port:
        pass
    error = await refusal(ResendProvider(KEY, SENDER, url=f"http://127.0.0.1:{port}"))
    assert str(error) == "Resend cannot be reached (ConnectError)."
    assert not error.permanent


async def test_it_recovers(resend: Resend) -> None:
    resend.answers = [JSONResponse({}, 503), JSONResponse({}, 429)]
    sender = resend.provider()
    for _ in range(2):
        assert not (await refusal(sender)).permanent
    await sender.send(MESSAGE)
    assert len(resend.asked) == 3
