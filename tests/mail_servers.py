"""Real SMTP servers and scripted TCP servers, in the event loop of the test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

ACCEPTED = "250 Taken"


class Postbox:
    """The mails that an SMTP server has accepted.

    `recipients` and `contents` are its responses to the first RCPT and DATA commands; None
    accepts one, and so does the end of the sequence.
    """

    def __init__(
        self, recipients: Iterable[str | None] = (), contents: Iterable[str | None] = ()
    ) -> None:
        self.mails: list[EmailMessage] = []
        self.envelopes: list[Envelope] = []
        self.sessions: list[Session] = []
        self.recipients = iter(recipients)
        self.contents = iter(contents)
        self._arrived = asyncio.Event()

    async def handle_RCPT(  # noqa: N802  # aiosmtpd finds it by this name
        self, _: SMTP, __: Session, envelope: Envelope, address: str, ___: list[str]
    ) -> str:
        if refusal := next(self.recipients, None):
            return refusal
        envelope.rcpt_tos.append(address)
        return ACCEPTED

    async def handle_DATA(  # noqa: N802  # aiosmtpd finds it by this name
        self, _: SMTP, session: Session, envelope: Envelope
    ) -> str:
        if refusal := next(self.contents, None):
            return refusal
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, policy=default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        self.envelopes.append(envelope)
        self.sessions.append(session)
        self._arrived.set()
        return ACCEPTED

    async def wait_for_mails(self, count: int) -> None:
        """Wait until `count` mails have been accepted."""
        async with asyncio.timeout(60):
            while len(self.mails) < count:
                self._arrived.clear()
                await self._arrived.wait()

    def ids(self) -> Iterator[str]:
        return (str(mail["Message-ID"]) for mail in self.mails)


def authenticator(username: str, password: str) -> Callable[..., AuthResult]:
    """Return an authenticator for aiosmtpd that accepts one user."""

    def check(_: SMTP, __: Session, ___: Envelope, ____: str, data: LoginPassword) -> AuthResult:
        matches = (data.login, data.password) == (username.encode(), password.encode())
        return AuthResult(success=matches, handled=False, auth_data=data)

    return check


@asynccontextmanager
async def mail_server(postbox: Postbox, *, port: int = 0, **options: Any) -> AsyncIterator[int]:
    """Run an SMTP server and yield its port; `options` are those of aiosmtpd's SMTP."""
    ssl = options.pop("ssl", None)

    def protocol() -> SMTP:
        return SMTP(postbox, **{"enable_SMTPUTF8": True, **options})

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", port, ssl=ssl)
    async with server:
        yield server.sockets[0].getsockname()[1]


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def scripted_server(handle: Handler, *, port: int = 0) -> AsyncIterator[int]:
    """Run a TCP server that calls `handle` for each connection, and yield its port."""
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(asyncio.CancelledError, ConnectionError):
            await handle(reader, writer)
        tasks.discard(task)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    async with server:
        yield server.sockets[0].getsockname()[1]
        ending = list(tasks)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending)


async def never_respond(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    """Accept the connection and send nothing."""
    await asyncio.Event().wait()
