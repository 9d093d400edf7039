"""A real mail server for tests: it takes mails, or does what servers do on bad days.

async with mail_server() as server:
    settings = server.settings(settings)
    ...
    assert server.mails[0]["Subject"] == "..."
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

from csms.config import Settings
from tests.conftest import free_ports


@dataclass
class MailServer:
    """What it took, and how it answers; `rcpt` and `data` take the place of "250 OK"."""

    port: int
    mails: list[EmailMessage] = field(default_factory=list)
    envelopes: list[Envelope] = field(default_factory=list)
    rcpt: str = "250 OK"
    data: str = "250 OK"
    cut_after_data: bool = False  # takes the mail, and is gone before its final word
    connections: int = 0
    on_data: Callable[[], Awaitable[object]] | None = None  # between the mail and the final word
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None
    _open: set[SMTP] = field(default_factory=set)

    def settings(self, base: Settings, **others: Any) -> Settings:
        """Settings that send by this server."""
        return replace(
            base,
            smtp_host="127.0.0.1",
            smtp_port=self.port,
            smtp_security="none",
            mail_from="ne-pas-repondre@example.org",
            public_url="https://supervision.example.org",
            **others,
        )

    async def start(self) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connection, "127.0.0.1", self.port)

    async def stop(self) -> None:
        """Be away: nobody listens on the port, and open connections are cut."""
        if self._server is not None:
            self._server.close()
            for connection in list(self._open):
                if connection.transport is not None:
                    connection.transport.abort()
            await self._server.wait_closed()
            self._server = None

    def _connection(self) -> SMTP:
        self.connections += 1
        made = SMTP(self, hostname="mail.example.org", loop=asyncio.get_running_loop())
        self._open.add(made)
        return made

    # What aiosmtpd calls.

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.rcpt.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.rcpt

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.data.startswith("250"):
            content = envelope.content
            assert isinstance(content, bytes)
            parsed = BytesParser(policy=default).parsebytes(content)
            assert isinstance(parsed, EmailMessage)
            self.mails.append(parsed)
            self.envelopes.append(envelope)
            self.arrived.set()
        if self.on_data is not None:
            await self.on_data()
        if self.cut_after_data:
            assert server.transport is not None
            server.transport.abort()
        return self.data


@asynccontextmanager
async def mail_server() -> AsyncIterator[MailServer]:
    """A mail server on a free port, listening."""
    server = MailServer(free_ports(1)[0])
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def text_of(mail: EmailMessage) -> str:
    """The plain text of a mail."""
    return _body(mail, "plain")


def html_of(mail: EmailMessage) -> str:
    """The HTML of a mail."""
    return _body(mail, "html")


def _body(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    assert part is not None
    content = part.get_content()
    assert isinstance(content, str)
    return content.replace("\r\n", "\n")
