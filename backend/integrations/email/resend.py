"""Mail through Resend's HTTP API."""

import json
import re
from email.headerregistry import Address
from email.utils import parseaddr
from typing import Any

from backend.integrations.email import MailError, Message, ascii_domain
from backend.integrations.http_service import HttpService, ServiceError, ServiceRefusedError

URL = "https://api.resend.com"
# Configuration errors (key, domain): an operator corrects them, and the mail may be sent later.
CONFIGURATION = {401, 403}
CONFLICT = 409
IN_FLIGHT = "concurrent_idempotent_requests"
_REASON = re.compile(r"[a-z_]{1,50}")


class ResendProvider:
    """Resend's API. The message id is the idempotency key: within a day, no mail is sent twice.

    `options` are those of `HttpService`.
    """

    def __init__(self, key: str, sender: str, *, url: str = URL, **options: Any) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        self._service = HttpService("Resend", url, headers=headers, **options)
        name, address = parseaddr(sender)
        self._sender = str(Address(name, addr_spec=ascii_domain(address)))

    async def send(self, message: Message) -> None:
        body = {
            "from": self._sender,
            "to": [ascii_domain(message.to)],
            "subject": message.subject,
            "text": message.text,
            "html": message.html,
            "headers": {"Auto-Submitted": "auto-generated"},
        }
        try:
            await self._service.call(
                "send_mail", "POST", "/emails", json=body, idempotency_key=message.id
            )
        except ServiceError as error:
            raise _translated(error) from None


def _translated(error: ServiceError) -> MailError:
    name = _name_of(error.body)
    permanent = (
        isinstance(error, ServiceRefusedError)
        and error.status is not None
        and 400 <= error.status < 500
        and error.status not in CONFIGURATION
        and not (error.status == CONFLICT and name == IN_FLIGHT)
    )
    return MailError(f"{str(error).rstrip('.')} {name}".strip() + ".", permanent=permanent)


def _name_of(body: bytes) -> str:
    """Return Resend's error name. Its error message is left out: it may contain the address."""
    try:
        name = json.loads(body)["name"]
    except (ValueError, KeyError, TypeError):
        return ""
    return name if isinstance(name, str) and _REASON.fullmatch(name) else ""
