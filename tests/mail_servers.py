"""Mail servers for tests: real ones, on a free port of this machine, in the loop of the test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

TAKEN = "250 Taken"


class Postbox:
    """What a mail server has taken, and what it says instead of taking it.

    `recipients` and `contents` are answers to give, one after the other, before it
    takes everything; None takes that one.
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
        return TAKEN

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
        return TAKEN

    async def reach(self, count: int) -> None:
        """Wait until so many mails have been taken."""
        async with asyncio.timeout(60):
            while len(self.mails) < count:
                self._arrived.clear()
                await self._arrived.wait()

    def ids(self) -> Iterator[str]:
        return (str(mail["Message-ID"]) for mail in self.mails)


def only(username: str, password: str) -> Callable[..., AuthResult]:
    """An authenticator of one user."""

    def check(_: SMTP, __: Session, ___: Envelope, ____: str, data: LoginPassword) -> AuthResult:
        good = (data.login, data.password) == (username.encode(), password.encode())
        return AuthResult(success=good, handled=False, auth_data=data)

    return check


@asynccontextmanager
async def mail_server(postbox: Postbox, *, port: int = 0, **options: Any) -> AsyncIterator[int]:
    """An SMTP server until the end of the block; its port. `options` are those of aiosmtpd."""
    ssl_of_the_port = options.pop("ssl", None)

    def speak() -> SMTP:
        return SMTP(postbox, **{"enable_SMTPUTF8": True, **options})

    server = await asyncio.get_running_loop().create_server(
        speak, "127.0.0.1", port, ssl=ssl_of_the_port
    )
    async with server:
        yield server.sockets[0].getsockname()[1]


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def scripted_server(talk: Talk, *, port: int = 0) -> AsyncIterator[int]:
    """A server that does what `talk` does with each connection; its port."""
    open_now: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_now.add(task)
        with suppress(asyncio.CancelledError, ConnectionError):
            await talk(reader, writer)
        open_now.discard(task)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    async with server:
        yield server.sockets[0].getsockname()[1]
        ending = list(open_now)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending)


async def silence(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    """Take the connection and say nothing."""
    await asyncio.Event().wait()
