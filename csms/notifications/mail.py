"""Mails: a message of what was rendered, and the connection to the server that takes it.

What comes of an attempt is one of four: the server's final word (`str`), or

    Refused   it will not take this mail, now or later
    Deferred  it did not take this mail, or its word never came: try later
    Away      it takes no mail at all for now (not reached, no log-in, no TLS)
"""

import asyncio
import ssl
from datetime import datetime
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Final
from uuid import UUID

import aiosmtplib

from csms.config import Settings
from csms.notifications.rendering import Mail

ADDRESS_LENGTH_MAX: Final = 254
REPLY_LENGTH_MAX: Final = 500
_PERMANENT: Final = 500


class Refused(Exception):
    """This mail is not taken, now or later; the text says why."""


class Deferred(Exception):
    """This mail was not taken, or the word never came."""


class Away(Exception):
    """The server takes no mail for now."""


def compose(
    settings: Settings,
    address: str,
    mail: Mail,
    *,
    message_id: UUID,
    at: datetime,
    language: str,
    choices_url: str | None,
    attached: tuple[str, bytes] | None = None,
) -> EmailMessage:
    """The message as it goes out: both bodies, and headers that no value can add to. `attached`:
    the name and bytes of a PDF.

    Raises: Refused for an address that is none.
    """
    assert settings.mail_from is not None
    sender = _address(settings.mail_from, settings.mail_from_name)
    message = EmailMessage(policy=SMTP.clone(max_line_length=76))
    message["From"] = sender
    message["To"] = _address(address)
    message["Subject"] = " ".join(mail.subject.split())
    message["Date"] = format_datetime(at)
    message["Message-ID"] = f"<{message_id}@{sender.domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    if choices_url is not None:
        message["List-Unsubscribe"] = f"<{choices_url}>"
    message.set_content(mail.text, cte="quoted-printable")
    message.add_alternative(mail.html, subtype="html", cte="quoted-printable")
    if attached is not None:
        name, content = attached
        message.add_attachment(content, maintype="application", subtype="pdf", filename=name)
    message["Content-Language"] = language  # after the bodies, which take such headers with them
    return message


def masked(address: str) -> str:
    """An address that its owner recognises and nobody else learns: c***@e***.org."""
    local, _, domain = address.rpartition("@")
    host, _, top = domain.rpartition(".")
    return f"{local[:1]}***@{host[:1]}***.{top}"


def _address(text: str, name: str = "") -> Address:
    """Raises: Refused."""
    try:
        if len(text) > ADDRESS_LENGTH_MAX or not text.isascii() or not text.isprintable():
            raise Refused("the address cannot be used")
        return Address(display_name=name, addr_spec=text)
    except (ValueError, IndexError, HeaderParseError):
        raise Refused("the address cannot be used") from None


class MailServer:
    """The server of the settings, one connection kept for several mails."""

    def __init__(self, settings: Settings) -> None:
        assert settings.smtp_host is not None
        self._settings = settings
        self._client: aiosmtplib.SMTP | None = None

    async def send(self, message: EmailMessage, address: str) -> str:
        """The server's final word to a mail that it took. Raises: Refused, Deferred, Away."""
        client = await self._connected()
        assert self._settings.mail_from is not None
        try:
            _, reply = await client.sendmail(
                self._settings.mail_from, [address], message.as_bytes()
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            first = error.recipients[0]
            raise _judged(first.code, first.message) from None
        except aiosmtplib.SMTPDataError as error:
            raise _judged(error.code, error.message) from None
        except aiosmtplib.SMTPResponseException as error:  # the sender, or the whole of us
            await self.close()
            raise Away(_told(error.code, error.message)) from None
        except (aiosmtplib.SMTPException, OSError) as error:
            self._drop()
            raise Deferred(f"the connection was lost: {error}"[:REPLY_LENGTH_MAX]) from None
        except BaseException:
            self._drop()
            raise
        return reply[:REPLY_LENGTH_MAX]

    async def close(self) -> None:
        """Say goodbye, if it still listens."""
        client, self._client = self._client, None
        if client is None:
            return
        try:
            async with asyncio.timeout(2):
                await client.quit()
        except (aiosmtplib.SMTPException, OSError, TimeoutError):
            pass
        finally:
            client.close()

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    async def _connected(self) -> aiosmtplib.SMTP:
        """Raises: Away."""
        if self._client is not None and self._client.is_connected:
            return self._client
        self._drop()
        settings = self._settings
        client = aiosmtplib.SMTP(
            hostname=settings.smtp_host,
            port=settings.smtp_port,
            username=settings.smtp_user,
            password=settings.smtp_password,
            timeout=settings.smtp_timeout_s,
            use_tls=settings.smtp_security == "tls",
            start_tls=settings.smtp_security == "starttls",
            tls_context=self._trust(),
        )
        try:
            await client.connect()
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            client.close()
            raise Away(str(error)[:REPLY_LENGTH_MAX] or type(error).__name__) from None
        except BaseException:
            client.close()
            raise
        self._client = client
        return client

    def _trust(self) -> ssl.SSLContext | None:
        if self._settings.smtp_security == "none":
            return None
        context = ssl.create_default_context()
        if self._settings.smtp_trust is not None:
            context.load_verify_locations(self._settings.smtp_trust)
        return context


def _judged(code: int, message: str) -> Exception:
    kind = Refused if code >= _PERMANENT else Deferred
    return kind(_told(code, message))


def _told(code: int, message: str) -> str:
    return f"{code} {message}"[:REPLY_LENGTH_MAX]
