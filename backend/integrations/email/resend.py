"""Mail through Resend's HTTP API."""

import re
import ssl
from email.headerregistry import Address
from email.utils import parseaddr

import httpx

from backend.integrations.email import MailError, Message, ascii_domain
from backend.telemetry.spans import http_call
from backend.telemetry.tracing import trace_headers

URL = "https://api.resend.com"
TIMEOUT_SECONDS = 10.0
# Configuration errors (key, domain) and temporary errors: the mail may be sent later.
_RETRYABLE = {401, 403, 408, 425, 429}
_REASON = re.compile(r"[a-z_]{1,50}")
IN_FLIGHT = "concurrent_idempotent_requests"


class ResendProvider:
    """Resend's API. The message id is the idempotency key: within a day, no mail is sent twice."""

    def __init__(
        self, key: str, sender: str, *, url: str = URL, timeout: float = TIMEOUT_SECONDS
    ) -> None:
        self._url = f"{url}/emails"
        self._headers = {"Authorization": f"Bearer {key}"}
        name, address = parseaddr(sender)
        self._sender = str(Address(name, addr_spec=ascii_domain(address)))
        self._timeout = timeout
        # Created once: loading the trusted certificates takes longer than most requests.
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
            with http_call("resend", "POST") as note_status:
                # Resend ignores the headers of a trace; a proxy in between may use them.
                headers = {**self._headers, **trace_headers(), "Idempotency-Key": message.id}
                async with httpx.AsyncClient(verify=self._tls, timeout=self._timeout) as client:
                    response = await client.post(self._url, json=body, headers=headers)
                note_status(response.status_code)
        except httpx.HTTPError as error:
            raise MailError(f"Resend cannot be reached ({type(error).__name__}).") from None
        if not response.is_success:
            raise _translate_error(response)


def _translate_error(response: httpx.Response) -> MailError:
    reason = _reason(response)
    retryable = (
        response.status_code in _RETRYABLE
        or not response.is_client_error
        or (response.status_code == httpx.codes.CONFLICT and reason == IN_FLIGHT)
    )
    return MailError(
        f"Resend answered {response.status_code} {reason}".strip() + ".", permanent=not retryable
    )


def _reason(response: httpx.Response) -> str:
    """Return Resend's error name. Its error message is left out: it may contain the address."""
    try:
        name = response.json()["name"]
    except (ValueError, KeyError, TypeError):
        return ""
    return name if isinstance(name, str) and _REASON.fullmatch(name) else ""
