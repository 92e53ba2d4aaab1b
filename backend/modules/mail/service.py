"""Use cases of mail. Only jobs of other modules send, so that no response waits for a server."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import delete
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context
from backend.core.jobs import last_attempt
from backend.core.principal import System
from backend.db.query_runner import QueryRunner
from backend.integrations.email import MailError, Message, Provider
from backend.integrations.email.smtp_url import parse_smtp_url
from backend.modules.mail.mailbox import Mailbox, links_of
from backend.modules.mail.models import Mail
from backend.modules.mail.queries import NEWEST, NEWEST_TO
from backend.modules.mail.schemas import MailboxOut, MailOut
from backend.modules.mail.settings import MailSettings

if TYPE_CHECKING:
    from jinja2 import Environment

log = structlog.get_logger()

LAYOUTS = Path(__file__).parent / "templates"


async def deliver(context: Context, by: System, message: Message) -> None:
    """Send `message` by the configured provider. For a job's `run`, never for a request.

    Raises `MailError`, so that the job is tried again. A mail that no server will ever take, such
    as one to an address that does not exist, is refused: logged, and not tried again. One whose
    last attempt has failed is given up, and its job is dead. A repeated message (same
    `id`) reaches the mailbox and Resend once, and carries the same Message-ID by SMTP.
    """
    by.must_be_system()
    try:
        await context.get_or_create(_provider).send(message)
    except MailError as error:
        if not error.permanent and not last_attempt.get():
            _count(context, "failed")
            log.warning("mail_waits", mail=message.id, reason=str(error))
            raise
        _count(context, "refused" if error.permanent else "given_up")
        log.error("mail_given_up", mail=message.id, reason=str(error))
        if not error.permanent:
            raise
    else:
        _count(context, "sent")


def _count(context: Context, outcome: str) -> None:
    if context.metrics is not None:
        context.metrics.mails.labels(outcome).inc()


def render(
    templates: Path, name: str, *, to: str, id: str, product: str, values: Mapping[str, Any]
) -> Message:
    """Return the message of two templates in the folder `templates` of the sending module.

    `<name>.txt` extends `layout.txt` and defines its blocks `subject` and `body`; `<name>.html`
    extends `layout.html`, defines `body` and can use `subject`. In HTML every value is escaped. A
    name that `values` lacks is an error. `id` is that of `Message`. `product` is the name of the
    product, which begins the subject and which templates can use.
    """
    values = {**values, "product": product}
    environment = _environment(templates)
    plain = environment.get_template(f"{name}.txt")
    subject = "".join(plain.blocks["subject"](plain.new_context(values)))
    # Values may contain line breaks, which a header must not.
    subject = f"{product}: {' '.join(subject.split())}"
    html = environment.get_template(f"{name}.html").render(values, subject=subject)
    return Message(
        to=to,
        subject=subject,
        text=plain.render(values).strip() + "\n",
        html=_inlined(html),
        id=id,
    )


async def read_mailbox(reader: QueryRunner, to: str | None) -> MailboxOut:
    """Return the newest mails, or those to the address `to`."""
    rows = await (reader.all(NEWEST) if to is None else reader.all(NEWEST_TO, to=to))
    return MailboxOut(
        data=[
            MailOut.from_row({**row, "links": links_of(row["text"], row["html"])}) for row in rows
        ]
    )


async def empty_mailbox(session: AsyncSession) -> None:
    await session.exec(delete(Mail))


def _provider(context: Context) -> Provider:
    settings = context.settings_of(MailSettings)
    # Imported only here: a server that sends nothing needs none of these libraries.
    match settings.provider:
        case "smtp":
            from backend.integrations.email.smtp import SmtpProvider  # noqa: PLC0415  # see above

            assert settings.smtp_url is not None
            server = parse_smtp_url(settings.smtp_url.get_secret_value())
            return SmtpProvider(server, settings.email_from)
        case "resend":
            from backend.integrations.email.resend import (  # noqa: PLC0415  # see above
                ResendProvider,
            )

            assert settings.resend_api_key is not None
            key = settings.resend_api_key.get_secret_value()
            return ResendProvider(key, settings.email_from, metrics=context.metrics)
    return Mailbox(context.database)


@cache
def _environment(templates: Path) -> "Environment":
    import jinja2  # noqa: PLC0415  # only a worker renders

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([templates, LAYOUTS]),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _inliner() -> Any:
    import css_inline  # noqa: PLC0415  # only a worker renders

    return css_inline.CSSInliner(load_remote_stylesheets=False, keep_at_rules=True)


def _inlined(html: str) -> str:
    """With its style sheet in `style` attributes: many mail programs drop `<style>`."""
    inlined: str = _inliner().inline(html)
    return inlined
