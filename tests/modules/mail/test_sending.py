"""Sending mail from templates, and the choice of the provider by settings."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import jinja2
import pytest
from pydantic import SecretStr
from structlog.typing import EventDict

from backend.core.context import Context
from backend.core.jobs import Job
from backend.core.principal import SYSTEM
from backend.integrations.email import MailError, Message
from backend.integrations.email.resend import ResendProvider
from backend.integrations.email.smtp import SmtpProvider
from backend.modules.mail import service
from backend.modules.mail.mailbox import Mailbox
from backend.telemetry.metrics import MAILS, Metrics
from tests.applications import make_context
from tests.architecture import ROOT
from tests.mail_servers import Postbox, mail_server, never_respond, scripted_server
from tests.worker_harness import WorkerHarness, was_logged

MESSAGE = Message(
    to="ada@example.com", subject="Hello", text="Hello", html="<p>Hello</p>", id="test.1"
)
PASSWORD, KEY = "concealed-password", "re_concealed_key"
TEXT = """{% extends "layout.txt" %}
{% block subject %}For {{ name }}{% endblock %}
{% block body %}
Hello {{ name }}: {{ link }}
{% endblock %}
"""
HTML = """{% extends "layout.html" %}
{% block body %}
<h1>{{ subject }}</h1>
<p><a class="button" href="{{ link }}">Open, {{ name }}</a></p>
{% endblock %}
"""
LINK = "https://app.example.com/verify-email#token=a_B-c&x=1"


@pytest.fixture
def templates(tmp_path: Path) -> Path:
    (tmp_path / "greeting.txt").write_text(TEXT)
    (tmp_path / "greeting.html").write_text(HTML)
    return tmp_path


def render(templates: Path, **values: Any) -> Message:
    given = {"name": "Ada", "link": LINK, **values}
    named = {"to": "ada@example.com", "id": "test.1", "product": given.pop("product", "Acme")}
    return service.render(templates, "greeting", values=given, **named)


def test_both_forms_of_a_mail(templates: Path) -> None:
    mail = render(templates)
    assert (mail.to, mail.id, mail.subject) == ("ada@example.com", "test.1", "Acme: For Ada")
    assert mail.text.startswith(f"Hello Ada: {LINK}\n")
    assert "sent this mail" in mail.text
    assert LINK.replace("&", "&amp;") in mail.html
    assert "<title>Acme: For Ada</title>" in mail.html
    assert mail.html.lower().startswith("<!doctype html>")


def test_styles_stand_in_the_elements(templates: Path) -> None:
    html = render(templates).html
    (button,) = [part for part in html.split("<") if part.startswith("a ")]
    assert 'style="' in button
    assert "background: #1f7a4d" in button
    # Rules that cannot be inlined stay in the style sheet, for the mail clients that support it.
    (sheet,) = [part.split("</style>")[0] for part in html.split("<style>")[1:]]
    assert sheet.startswith("@media (prefers-color-scheme: dark)")
    assert "{% " not in html


def test_values_are_escaped_in_html_only(templates: Path) -> None:
    mail = render(templates, name='<b>"Ada" & Co</b>')
    assert "<b>" not in mail.html
    assert "&lt;b&gt;" in mail.html
    assert '<b>"Ada" & Co</b>' in mail.text
    assert mail.subject == 'Acme: For <b>"Ada" & Co</b>'


def test_the_name_of_the_product_is_everywhere_and_escaped_in_html(templates: Path) -> None:
    mail = render(templates, product="<i>Tea & Co</i>")
    assert mail.subject == "<i>Tea & Co</i>: For Ada"
    assert "<i>Tea & Co</i> sent this mail" in mail.text
    assert mail.html.count("&lt;i&gt;Tea &amp; Co&lt;/i&gt;") >= 3
    assert "<i>" not in mail.html


@pytest.mark.parametrize("gap", ["\n", "\r\n", "\u2028", "\x85", "\t", "\x0b"])
def test_a_value_does_not_break_out_of_the_subject(templates: Path, gap: str) -> None:
    assert render(templates, name=f"Ada{gap}Bcc: eve@example.com").subject == (
        "Acme: For Ada Bcc: eve@example.com"
    )


def test_a_forgotten_value_is_an_error(templates: Path) -> None:
    named = {"to": "ada@example.com", "id": "a", "product": "Acme"}
    with pytest.raises(jinja2.UndefinedError, match="'link' is undefined"):
        service.render(templates, "greeting", values={"name": "Ada"}, **named)
    with pytest.raises(jinja2.TemplateNotFound):
        service.render(templates, "farewell", values={}, **named)


def test_every_mail_of_every_module_has_both_forms() -> None:
    folders = [path for path in (ROOT / "backend/modules").glob("*/templates") if path.is_dir()]
    assert folders
    for folder in folders:
        forms = {
            suffix: {each.stem for each in folder.glob(f"*.{suffix}")} for suffix in ("txt", "html")
        }
        assert forms["txt"] == forms["html"], folder
        for template in folder.glob("*.*"):
            if folder != service.LAYOUTS:
                extended = f'{{% extends "layout{template.suffix}" %}}'
                assert template.read_text().startswith(extended), template


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({}, Mailbox),
        ({"environment": "development"}, Mailbox),
        ({"smtp_url": SecretStr("smtp://localhost")}, SmtpProvider),
        ({"smtp_url": SecretStr("smtp://localhost"), "email_provider": "mailbox"}, Mailbox),
        (
            {
                "smtp_url": SecretStr("smtp://localhost"),
                "resend_api_key": SecretStr(KEY),
                "email_provider": "resend",
            },
            ResendProvider,
        ),
    ],
    ids=["nothing set", "development", "smtp", "mailbox", "resend"],
)
def test_the_settings_choose_who_takes_it(settings: dict[str, Any], kind: type) -> None:
    context = make_context("postgresql://nowhere", **settings)
    assert isinstance(service._provider(context), kind)


def smtp_context(port: int) -> Context:
    url = SecretStr(f"smtp://app:{PASSWORD}@127.0.0.1:{port}")
    return make_context(
        "postgresql://nowhere", smtp_url=url, email_from="Trellis <no-reply@example.com>"
    )


async def test_a_mail_that_nobody_takes_now_is_tried_again(log: list[EventDict]) -> None:
    async with scripted_server(never_respond) as port:
        pass
    with pytest.raises(MailError):
        await service.deliver(smtp_context(port), SYSTEM, MESSAGE)
    (logged,) = [event for event in log if event["event"] == "mail_waits"]
    assert (logged["mail"], logged["log_level"]) == ("test.1", "warning")
    assert not any(secret in str(log) for secret in (PASSWORD, "ada@example.com"))


async def test_a_mail_is_given_up_after_the_last_attempt(
    database_url: str, log: list[EventDict]
) -> None:
    async with scripted_server(never_respond) as port:
        pass
    context = make_context(
        "postgresql://nowhere", metrics=Metrics(), smtp_url=SecretStr(f"smtp://127.0.0.1:{port}")
    )

    async def send(_: Context) -> None:
        await service.deliver(context, SYSTEM, MESSAGE)

    job = Job("made.mail", send, attempts=3)
    harness = WorkerHarness(database_url)
    async with harness.worker(job):
        await harness.enqueue(job)
        await harness.wait_until(lambda: was_logged(log, "job_dead"))
    events = [each["event"] for each in log if each["event"].startswith("mail_")]
    assert events == ["mail_waits", "mail_waits", "mail_given_up"]
    assert context.metrics is not None
    found = context.metrics.registry.get_sample_value
    counted = {each: found("trellis_mails_total", {"outcome": each}) for each in MAILS}
    assert counted == {"sent": 0, "failed": 2, "given_up": 1, "refused": 0}


async def test_a_mail_that_nobody_will_ever_take_is_given_up(log: list[EventDict]) -> None:
    postbox = Postbox(["550 5.1.1 no ada@example.com here"])
    # No password: this server does not support authentication.
    async with mail_server(postbox) as port:
        context = make_context(
            "postgresql://nowhere", smtp_url=SecretStr(f"smtp://127.0.0.1:{port}")
        )
        await service.deliver(context, SYSTEM, MESSAGE)
    (logged,) = [event for event in log if event["event"] == "mail_given_up"]
    assert logged["log_level"] == "error"
    assert logged["reason"] == "The mail server refused the recipient (550 5.1.1)."
    assert "ada@example.com" not in str(log)
    assert postbox.mails == []


async def test_nothing_secret_shows() -> None:
    async with scripted_server(never_respond) as port:
        context = smtp_context(port)
    resend = make_context(
        "postgresql://nowhere", email_provider="resend", resend_api_key=SecretStr(KEY)
    )
    for each in (context, resend):
        provider = service._provider(each)
        shown = repr((each, each.module_settings, provider))
        assert PASSWORD not in shown
        assert KEY not in shown


@pytest.mark.slow
def test_a_server_imports_none_of_what_only_a_worker_needs() -> None:
    code = (
        "import sys; from backend.core.registry import discover; import backend.core.app; "
        "discover(); print(set(sys.modules) & {'aiosmtplib', 'css_inline', 'httpx', 'jinja2'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
