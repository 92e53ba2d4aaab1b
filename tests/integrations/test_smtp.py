"""The SMTP provider sends mail and reports errors, against local SMTP servers."""

import asyncio
import shutil
import ssl
import subprocess
from dataclasses import dataclass
from typing import Any

import pytest

from backend.integrations.email import MailError, Message
from backend.integrations.email.smtp import SmtpProvider
from backend.integrations.email.smtp_url import SmtpServer, parse_smtp_url
from tests.mail_servers import (
    Postbox,
    authenticator,
    mail_server,
    never_respond,
    scripted_server,
)

SENDER = "Trellis <no-reply@example.com>"
MESSAGE = Message(
    to="ada@example.com",
    subject="Grüße an Ada 🌱",
    text="Hallo Ada, öffne https://example.com/#token=a_b-c\n",
    html='<p>Hallo <b>Ada</b>, <a href="https://example.com/#token=a_b-c">öffne</a></p>',
    id="verify-email.0198c1f2-0000-7000-8000-000000000001",
)
PASSWORD = "an unmistakable p@ssword"
CREDENTIALS = "app:an%20unmistakable%20p%40ssword"
Options = dict[str, Any]
ADDRESS_IN_ANSWER = "550 5.1.1 <ada@example.com>: no such user"


def provider(url: str, **options: Any) -> SmtpProvider:
    return SmtpProvider(parse_smtp_url(url), SENDER, **options)


async def refusal(sender: SmtpProvider, message: Message = MESSAGE) -> MailError:
    with pytest.raises(MailError) as caught:
        await sender.send(message)
    # A logged traceback shows this error only, without its cause or context.
    assert caught.value.__suppress_context__
    assert caught.value.__cause__ is None
    for secret in (message.to, PASSWORD, "p%40ssword"):
        assert secret not in str(caught.value)
    return caught.value


@dataclass(frozen=True)
class Certificate:
    server: ssl.SSLContext
    client: ssl.SSLContext


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    if shutil.which("openssl") is None:
        pytest.skip("needs the program openssl to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    key, file = folder / "key.pem", folder / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    make += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*make, "-keyout", key, "-out", file], check=True, capture_output=True)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(file, key)
    return Certificate(server, ssl.create_default_context(cafile=file))


async def test_a_mail_arrives_as_it_was_written() -> None:
    postbox = Postbox()
    async with mail_server(postbox) as port:
        await provider(f"smtp://127.0.0.1:{port}").send(MESSAGE)
    (mail,) = postbox.mails
    assert mail["From"] == SENDER
    assert mail["To"] == MESSAGE.to
    assert mail["Subject"] == MESSAGE.subject
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Date"].datetime.tzinfo is not None
    assert mail["Message-ID"] == f"<{MESSAGE.id}@example.com>"
    text, html = mail.iter_parts()
    assert text.get_content_type() == "text/plain"
    assert text.get_content().splitlines() == MESSAGE.text.splitlines()
    assert html.get_content_type() == "text/html"
    assert html.get_content().rstrip() == MESSAGE.html
    (envelope,) = postbox.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == ("no-reply@example.com", [MESSAGE.to])


async def test_a_repeated_mail_carries_the_same_message_id() -> None:
    postbox = Postbox()
    async with mail_server(postbox) as port:
        await provider(f"smtp://127.0.0.1:{port}").send(MESSAGE)
        await provider(f"smtp://127.0.0.1:{port}").send(MESSAGE)
    assert len(postbox.mails) == 2
    assert len(set(postbox.ids())) == 1


@pytest.mark.parametrize(
    ("address", "known_as"),
    [
        ("ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("jürgen@example.com", "jürgen@example.com"),
        ("o'neil+tag@example.com", "o'neil+tag@example.com"),
    ],
    ids=["domain", "local part", "punctuation"],
)
async def test_unusual_addresses(address: str, known_as: str) -> None:
    postbox = Postbox()
    message = Message(to=address, subject="Hello", text="a", html="<p>a</p>", id="a")
    async with mail_server(postbox) as port:
        await provider(f"smtp://127.0.0.1:{port}").send(message)
    assert postbox.envelopes[0].rcpt_tos == [known_as]
    assert postbox.mails[0]["To"] == known_as


async def test_implicit_tls_and_a_password(certificate: Certificate) -> None:
    postbox = Postbox()
    options: Options = {
        "ssl": certificate.server,
        "authenticator": authenticator("app", PASSWORD),
    }
    async with mail_server(postbox, **options, auth_require_tls=False) as port:
        url = f"smtps://{CREDENTIALS}@localhost:{port}"
        await provider(url, tls=certificate.client).send(MESSAGE)
    assert postbox.sessions[0].authenticated


async def test_starttls_is_used_where_it_is_offered(certificate: Certificate) -> None:
    postbox = Postbox()
    async with mail_server(postbox, tls_context=certificate.server) as port:
        await provider(f"smtp://localhost:{port}", tls=certificate.client).send(MESSAGE)
    assert postbox.sessions[0].ssl is not None


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_a_certificate_nobody_vouches_for(scheme: str, certificate: Certificate) -> None:
    context = certificate.server
    options: Options = {"tls_context": context} if scheme == "smtp" else {"ssl": context}
    postbox = Postbox()
    async with mail_server(postbox, **options) as port:
        error = await refusal(provider(f"{scheme}://localhost:{port}"))
    assert str(error) == "The mail server's certificate is not trusted."
    assert not error.permanent
    assert postbox.mails == []


async def test_a_password_never_leaves_this_machine_in_the_clear() -> None:
    server = parse_smtp_url(f"smtp://app:{PASSWORD.replace('@', '%40')}@mail.example.com")
    assert server.needs_tls
    assert PASSWORD not in repr(server)
    assert not parse_smtp_url("smtp://mail.example.com").needs_tls
    assert not parse_smtp_url("smtp://app:secret@localhost").needs_tls
    postbox = Postbox()
    options: Options = {
        "authenticator": authenticator("app", PASSWORD),
        "auth_require_tls": False,
    }
    async with mail_server(postbox, **options) as port:
        # Another spelling of localhost, treated as a remote host, which has to offer STARTTLS.
        error = await refusal(provider(f"smtp://{CREDENTIALS}@127.1:{port}"))
        assert str(error) == (
            "The mail server cannot be used: SMTP STARTTLS extension not supported by server."
        )
        assert not error.permanent
        assert postbox.mails == []
        await provider(f"smtp://{CREDENTIALS}@127.0.0.1:{port}").send(MESSAGE)
    assert postbox.sessions[0].authenticated


async def test_a_server_that_knows_no_passwords() -> None:
    async with mail_server(Postbox()) as port:
        error = await refusal(provider(f"smtp://{CREDENTIALS}@127.0.0.1:{port}"))
    assert str(error).startswith("The mail server cannot be used: The SMTP AUTH extension is not")
    assert not error.permanent


async def test_a_server_that_knows_only_ascii() -> None:
    message = Message(to="jürgen@example.com", subject="Hello", text="a", html="<p>a</p>", id="a")
    async with mail_server(Postbox(), enable_SMTPUTF8=False) as port:
        error = await refusal(provider(f"smtp://127.0.0.1:{port}"), message)
    assert str(error) == "The mail server takes only addresses in ASCII."
    assert error.permanent


async def test_a_wrong_password_can_be_mended() -> None:
    options: Options = {
        "authenticator": authenticator("app", "another"),
        "auth_require_tls": False,
    }
    async with mail_server(Postbox(), **options) as port:
        error = await refusal(provider(f"smtp://{CREDENTIALS}@127.0.0.1:{port}"))
    assert str(error) == "The mail server refused SMTP_URL's password (535 5.7.8)."
    assert not error.permanent


@pytest.mark.parametrize(
    ("postbox", "text", "permanent"),
    [
        (lambda: Postbox([ADDRESS_IN_ANSWER]), "recipient (550 5.1.1)", True),
        (
            lambda: Postbox(["450 4.2.0 <ada@example.com> greylisted"]),
            "recipient (450 4.2.0)",
            False,
        ),
        (lambda: Postbox(["530 Sign in, ada@example.com"]), "recipient (530)", False),
        (
            lambda: Postbox(contents=["554 5.6.0 malformed, ada@example.com"]),
            "message (554 5.6.0)",
            True,
        ),
        (
            # The sender may be at fault: its address is on a block list, or a password is missing.
            lambda: Postbox(contents=["554 5.7.1 spam from ada@example.com"]),
            "message (554 5.7.1)",
            False,
        ),
        (lambda: Postbox(contents=["451 later"]), "message (451)", False),
        (lambda: Postbox(contents=["421 4.3.2 going down"]), "message (421 4.3.2)", False),
    ],
    ids=["unknown", "greylisted", "not signed in", "malformed", "spam", "later", "going down"],
)
async def test_refusals_tell_for_good_from_for_now(
    postbox: Any, text: str, permanent: bool
) -> None:
    box: Postbox = postbox()
    async with mail_server(box) as port:
        sender = provider(f"smtp://127.0.0.1:{port}")
        error = await refusal(sender)
        assert str(error) == f"The mail server refused the {text}."
        assert error.permanent is permanent
        await sender.send(MESSAGE)
    assert len(box.mails) == 1


async def greet_and(answer: bytes, reader: asyncio.StreamReader, writer: Any) -> None:
    writer.write(answer)
    await reader.read()


@pytest.mark.parametrize(
    ("talk", "text"),
    [
        (never_respond, "The mail server did not answer in time."),
        (
            lambda *io: greet_and(b"421 4.3.2 closed\r\n", *io),
            "The mail server refused (421 4.3.2).",
        ),
        (lambda *io: greet_and(b"220 hello\r\n", *io), "The mail server did not answer in time."),
        (lambda *io: greet_and(b"HTTP/1.1 400 Bad\r\n", *io), None),
        (lambda _, writer: asyncio.sleep(0, writer.close()), None),
    ],
    ids=["silent", "421", "silent later", "not smtp", "hangs up"],
)
async def test_a_server_out_of_order_is_for_later(talk: Any, text: str | None) -> None:
    async with scripted_server(talk) as port:
        error = await refusal(provider(f"smtp://127.0.0.1:{port}", step_seconds=0.2))
    assert not error.permanent
    assert text is None or str(error) == text


async def test_no_server_at_all_is_for_later() -> None:
    async with scripted_server(never_respond) as port:
        pass
    assert not (await refusal(provider(f"smtp://127.0.0.1:{port}"))).permanent


async def test_a_server_that_drips_does_not_hold_a_worker_for_ever() -> None:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"220-still here\r\n")
            await asyncio.sleep(0.02)

    async with scripted_server(drip) as port:
        error = await refusal(provider(f"smtp://127.0.0.1:{port}", whole_seconds=0.3))
    assert str(error) == "The mail server did not answer in time."


@pytest.mark.parametrize("hangs_up", [True, False])
async def test_a_goodbye_that_fails_does_not_send_again(hangs_up: bool) -> None:
    said = asyncio.get_running_loop().create_future()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        while (line := await reader.readline()) and not line.startswith(b"DATA"):
            writer.write(b"250 fine\r\n")
        writer.write(b"354 go on\r\n")
        await reader.readuntil(b"\r\n.\r\n")
        writer.write(b"250 taken\r\n")
        said.set_result(await reader.readline())
        if not hangs_up:
            await asyncio.Event().wait()

    async with scripted_server(take) as port:
        # Less than the timeout of a step: sending must not wait for the response to QUIT.
        async with asyncio.timeout(5):
            await provider(f"smtp://127.0.0.1:{port}").send(MESSAGE)
            assert await said == b"QUIT\r\n"


@pytest.mark.parametrize(
    "character", ["\n", "\r", "\r\nBcc: eve@example.com", "\0", "\u2028", "\x85", "\ud800"]
)
@pytest.mark.parametrize("member", ["to", "subject"])
def test_nothing_breaks_out_of_a_header(member: str, character: str) -> None:
    values = {"to": "ada@example.com", "subject": "Hello"}
    values[member] += character
    with pytest.raises(MailError, match="holds control characters") as caught:
        Message(**values, text="", html="", id="a")
    assert caught.value.permanent


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ada",
        "ada@",
        "@example.com",
        "a@b@c",
        "a b@example.com",
        "a@example.com, b@example.com",
        "Ada <a@example.com>",
        "<a@example.com>",
        '"a"@example.com',
        "a@[127.0.0.1]",
        "a@-ü-.example",
    ],
)
async def test_only_one_plain_address_is_sent_to(address: str) -> None:
    message = Message(to=address, subject="Hello", text="", html="", id="a")
    async with mail_server(Postbox()) as port:
        with pytest.raises(MailError, match=r"^The address is invalid\.$") as caught:
            await provider(f"smtp://127.0.0.1:{port}").send(message)
    assert caught.value.permanent


@pytest.mark.parametrize("id", ["", "a b", "a\n", "<a>", "a@b", "ä", ".a", "a..b", "a" * 201])
def test_an_id_is_a_name(id: str) -> None:
    with pytest.raises(MailError, match="id is invalid"):
        Message(to="ada@example.com", subject="", text="", html="", id=id)


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail.example.com", SmtpServer("mail.example.com", 587, False)),
        ("smtps://mail.example.com", SmtpServer("mail.example.com", 465, True)),
        ("smtp://[::1]:25/", SmtpServer("::1", 25, False)),
        ("smtp://a%40b:c%2Fd%3A@h:1", SmtpServer("h", 1, False, "a@b", "c/d:")),
        ("smtps://a@h", SmtpServer("h", 465, True, "a", "")),
    ],
)
def test_urls(url: str, server: SmtpServer) -> None:
    assert parse_smtp_url(url) == server


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mail.example.com:587",
        "http://h",
        "smtp://",
        "smtp://:secret@h",
        "smtp://h:port",
        "smtp://h:99999",
        "smtp://h/path",
        "smtp://h?tls=no",
        "smtp://u:se#cret@h",
        "smtp://[::1",
    ],
)
def test_bad_urls(url: str) -> None:
    with pytest.raises(
        ValueError, match=r"^must look like smtp://user:password@host:587"
    ) as caught:
        parse_smtp_url(url)
    assert "secret" not in str(caught.value)
