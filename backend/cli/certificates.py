"""Checks of the certificates of the mail server and of the database for `backend doctor`."""

import smtplib
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from psycopg.conninfo import conninfo_to_dict

from backend.cli.findings import Finding, advice, failed, passed
from backend.integrations.email.smtp_url import SmtpServer

TIMEOUT_SECONDS = 5
DAYS_OF_NOTICE = 21
DAY = 86_400
# PostgreSQL's request for TLS: its length and its code.
_TLS_REQUEST = bytes([0, 0, 0, 8, 4, 210, 22, 47])


def mail_server(server: SmtpServer) -> Iterator[Finding]:
    """Connect to the mail server as a mail does, and read its certificate."""
    place = f"the mail server {server.host}:{server.port}"
    try:
        certificate = _of_mail_server(server)
    except ssl.SSLCertVerificationError as error:
        yield failed(
            f"The certificate of {place} is refused ({error.verify_message}), so no mail leaves: "
            "renew it, or correct the host in SMTP_URL."
        )
        return
    except (OSError, smtplib.SMTPException) as error:
        yield failed(
            f"No mail leaves: {place} cannot be used ({type(error).__name__}). Start it, or "
            "correct SMTP_URL."
        )
        return
    if certificate is not None:
        yield _expiry(certificate, place)
    elif server.needs_tls:
        yield failed(f"No mail leaves: {place} offers no STARTTLS, which a password requires.")
    else:
        yield passed(f"Mail leaves through {place}, which offers no TLS")


def database(name: str, url: str) -> Iterator[Finding]:
    """Read the certificate of the database if connections verify it."""
    parts = conninfo_to_dict(url)
    mode = parts.get("sslmode")
    # Connections with other modes take any certificate, also an expired one.
    if mode not in ("verify-ca", "verify-full"):
        return
    host = str(parts.get("host") or "localhost").split(",")[0]
    port = int(str(parts.get("port") or 5432).split(",")[0])
    roots = parts.get("sslrootcert")
    context = ssl.create_default_context(cafile=None if roots in (None, "system") else str(roots))
    context.check_hostname = mode == "verify-full"
    place = f"the database at {host}:{port}"
    try:
        with socket.create_connection((host, port), TIMEOUT_SECONDS) as plain:
            plain.sendall(_TLS_REQUEST)
            if plain.recv(1) != b"S":
                yield failed(f"The server at {host}:{port} offers no TLS, which {name} requires.")
                return
            with context.wrap_socket(plain, server_hostname=host) as encrypted:
                certificate = encrypted.getpeercert()
    except ssl.SSLCertVerificationError as error:
        yield failed(
            f"The certificate of {place} is refused ({error.verify_message}): renew it, or correct "
            f"the host and sslrootcert in {name}."
        )
        return
    except OSError as error:
        yield failed(f"The certificate of {place} cannot be read ({type(error).__name__}).")
        return
    yield _expiry(certificate or {}, place)


def _of_mail_server(server: SmtpServer) -> dict[str, Any] | None:
    """Return the verified certificate, or None if the server offers no TLS."""
    context = ssl.create_default_context()
    if server.implicit_tls:
        client: smtplib.SMTP = smtplib.SMTP_SSL(
            server.host, server.port, timeout=TIMEOUT_SECONDS, context=context
        )
    else:
        client = smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_SECONDS)
    with closing(client):
        client.ehlo()
        if not server.implicit_tls:
            if not client.has_extn("starttls"):
                return None
            client.starttls(context=context)
        assert isinstance(client.sock, ssl.SSLSocket)
        return client.sock.getpeercert()


def _expiry(certificate: dict[str, Any], place: str) -> Finding:
    days = (ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()) / DAY
    text = f"The certificate of {place} is valid for {days:.0f} more days"
    return passed(text) if days > DAYS_OF_NOTICE else advice(f"{text}: renew it")
