"""Mail through SMTP.

Each mail uses a connection of its own: mails are rare, and idle connections break unnoticed.
"""

import asyncio
import re
import ssl
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr

import aiosmtplib
from opentelemetry.trace import SpanKind

from backend.integrations.email import MailError, Message, ascii_domain
from backend.integrations.email.smtp_url import SmtpServer
from backend.telemetry.tracing import child_span

AUTHENTICATION_REQUIRED = 530
# The RFC 3463 status code at the start of most replies; the rest often repeats the address.
_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?=\s|$)")


class SmtpProvider:
    """An SMTP server.

    A rejected recipient or content is a permanent error. A rejected password or sender is a
    configuration error: the mail may be sent after it is corrected.
    """

    def __init__(
        self,
        server: SmtpServer,
        sender: str,
        *,
        tls: ssl.SSLContext | None = None,
        step_seconds: float = 10,
        whole_seconds: float = 60,
    ) -> None:
        """Configure the server; `sender` may have a name: `Shop <no-reply@example.com>`.

        `step_seconds` limits each command, `whole_seconds` the whole delivery.
        """
        self._server = server
        name, address = parseaddr(sender)
        self._sender = Address(name, addr_spec=ascii_domain(address))
        self._tls = tls or ssl.create_default_context()
        self._step_seconds, self._whole_seconds = step_seconds, whole_seconds

    async def send(self, message: Message) -> None:
        with child_span("SMTP send", {}, SpanKind.CLIENT):
            await self._send(message)

    async def _send(self, message: Message) -> None:
        recipient = ascii_domain(message.to)
        mail = self._mail(message, recipient)
        client = self._client()
        try:
            async with asyncio.timeout(self._whole_seconds):
                await client.connect()
                await client.send_message(
                    mail,
                    sender=self._sender.addr_spec,
                    recipients=[recipient],
                    # The server may check the mail for long; a timeout before its reply would
                    # lead to a retry, and to a second copy.
                    timeout=self._whole_seconds,
                )
            # The mail is accepted, so no later error may report it as not sent: QUIT is written
            # without waiting for the reply.
            if isinstance(client.transport, asyncio.WriteTransport):
                client.transport.write(b"QUIT\r\n")
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            # `from None`: the server's reply and the rejected value may contain the address.
            raise _translate_error(error) from None
        finally:
            client.close()

    def _client(self) -> aiosmtplib.SMTP:
        server = self._server
        return aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.username,
            password=server.password,
            use_tls=server.implicit_tls,
            # None: use STARTTLS if the server offers it.
            start_tls=False if server.implicit_tls else server.needs_tls or None,
            tls_context=self._tls,
            timeout=self._step_seconds,
            # Without it, aiosmtplib looks up the machine's name in DNS, which may take long.
            local_hostname=self._sender.domain,
        )

    def _mail(self, message: Message, recipient: str) -> EmailMessage:
        mail = EmailMessage(policy=SMTP)
        mail["From"] = self._sender
        mail["To"] = recipient
        mail["Subject"] = message.subject
        mail["Date"] = format_datetime(datetime.now(UTC))
        # Stable across retries, so that recipients' software can detect a duplicate.
        mail["Message-ID"] = f"<{message.id}@{self._sender.domain}>"
        # Suppresses automatic replies (RFC 3834).
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text)
        mail.add_alternative(message.html, subtype="html")
        return mail


def _translate_error(error: Exception) -> MailError:
    if isinstance(error.__cause__, ssl.SSLCertVerificationError):
        error = error.__cause__
    match error:
        case aiosmtplib.SMTPRecipientsRefused(recipients=[first, *_]):
            unauthenticated = first.code == AUTHENTICATION_REQUIRED
            return MailError(
                f"The mail server refused the recipient ({_code(first)}).",
                permanent=_is_permanent(first.code, first.message) and not unauthenticated,
            )
        case aiosmtplib.SMTPDataError():
            return MailError(
                f"The mail server refused the message ({_code(error)}).",
                permanent=_is_permanent(error.code, error.message),
            )
        case aiosmtplib.SMTPNotSupported():
            return MailError("The mail server takes only addresses in ASCII.", permanent=True)
        case aiosmtplib.SMTPAuthenticationError():
            return MailError(f"The mail server refused SMTP_URL's password ({_code(error)}).")
        case aiosmtplib.SMTPSenderRefused():
            return MailError(f"The mail server refused EMAIL_FROM ({_code(error)}).")
        case aiosmtplib.SMTPResponseException():
            return MailError(f"The mail server refused ({_code(error)}).")
        case ssl.SSLCertVerificationError():
            return MailError("The mail server's certificate is not trusted.")
        case TimeoutError():
            return MailError("The mail server did not answer in time.")
        case aiosmtplib.SMTPException() if type(error) is aiosmtplib.SMTPException:
            # This text is the library's, not the server's: no STARTTLS, no AUTH.
            return MailError(f"The mail server cannot be used: {error.message}")
    return MailError(f"The mail server cannot be used ({type(error).__name__}).")


def _code(error: aiosmtplib.SMTPResponseException) -> str:
    enhanced = _ENHANCED.match(error.message)
    return f"{error.code} {enhanced[0]}" if enhanced else str(error.code)


def _is_permanent(code: int, reply: str) -> bool:
    """Return whether the server would reject this mail again.

    System, routing and policy errors (RFC 3463: 5.3, 5.4, 5.7) can be corrected on either side.
    """
    return code >= 500 and not re.match(r"5\.[347]\.", reply)
