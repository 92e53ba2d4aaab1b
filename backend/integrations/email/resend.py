"""Mail by Resend's HTTP API."""

import re
import ssl
from email.headerregistry import Address
from email.utils import parseaddr

import httpx

from backend.integrations.email import MailError, Message, ascii_domain

URL = "https://api.resend.com"
TIMEOUT_SECONDS = 10.0
# Ours to mend (key, domain), or a matter of time; those mails can wait.
_LATER = {401, 403, 408, 425, 429}
_REASON = re.compile(r"[a-z_]{1,50}")
IN_FLIGHT = "concurrent_idempotent_requests"


class ResendProvider:
    """Resend knows a mail by its id: what it has taken, it does not send again within a day."""

    def __init__(
        self, key: str, sender: str, *, url: str = URL, timeout: float = TIMEOUT_SECONDS
    ) -> None:
        self._url = f"{url}/emails"
        self._headers = {"Authorization": f"Bearer {key}"}
        name, address = parseaddr(sender)
        self._sender = str(Address(name, addr_spec=ascii_domain(address)))
        self._timeout = timeout
        # Reading the trusted certificates takes longer than most calls.
        self._tls = ssl.create_default_context()

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
            async with httpx.AsyncClient(verify=self._tls, timeout=self._timeout) as client:
                answer = await client.post(
                    self._url,
                    json=body,
                    headers={**self._headers, "Idempotency-Key": message.id},
                )
        except httpx.HTTPError as error:
            raise MailError(f"Resend cannot be reached ({type(error).__name__}).") from None
        if not answer.is_success:
            raise _translate_error(answer)


def _translate_error(answer: httpx.Response) -> MailError:
    reason = _reason(answer)
    later = (
        answer.status_code in _LATER
        or not answer.is_client_error
        or (answer.status_code == httpx.codes.CONFLICT and reason == IN_FLIGHT)
    )
    return MailError(
        f"Resend answered {answer.status_code} {reason}".strip() + ".", permanent=not later
    )


def _reason(answer: httpx.Response) -> str:
    """Resend's name for what is wrong. Its sentence may hold the address."""
    try:
        name = answer.json()["name"]
    except (ValueError, KeyError, TypeError):
        return ""
    return name if isinstance(name, str) and _REASON.fullmatch(name) else ""
