"""Parsing of `SMTP_URL`. Separate from the SMTP client, which only workers import."""

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

PORTS = {"smtp": 587, "smtps": 465}
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True)
class SmtpServer:
    """Address and credentials of a mail server.

    implicit_tls   TLS from the first byte, instead of STARTTLS
    """

    host: str
    port: int
    implicit_tls: bool
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def needs_tls(self) -> bool:
        """Whether TLS is required: always with a password, except on loopback."""
        return self.implicit_tls or (self.username is not None and self.host not in _LOOPBACK)


def parse_smtp_url(url: str) -> SmtpServer:
    """Parse `smtp://` or `smtps://`; raise a `ValueError` whose text does not contain the URL."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = parts = None
    if (
        parts is None
        or parts.scheme not in PORTS
        or not host
        or parts.path.strip("/")
        or parts.query
        or parts.fragment
        or (parts.password and not parts.username)
    ):
        raise ValueError("must look like smtp://user:password@host:587 or smtps://...")
    return SmtpServer(
        host=host,
        port=port or PORTS[parts.scheme],
        implicit_tls=parts.scheme == "smtps",
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password or "") if parts.username else None,
    )
