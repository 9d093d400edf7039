"""Deliveries are sent: claimed one by one, tried, and what came of it recorded.

Any number of workers may do so at once. Each lane (one for mails over one connection, several for
webhooks) holds at most one delivery, under a lease that is longer than an attempt can take; what
a dead worker held is taken up when its lease is over. Back-off doubles, with chance in it so that
what failed together is not tried together; after a day it is a dead letter, which a person can let
wait again.
"""

import asyncio
import hashlib
import hmac
import json
import logging
import secrets as chance
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import psycopg
from jinja2 import TemplateError
from psycopg_pool import AsyncConnectionPool

from csms import db, metrics, secrets
from csms.config import SettingError, Settings
from csms.domain.back_off import back_off_s
from csms.domain.quiet_hours import end_of_quiet
from csms.domain.values import UTC
from csms.notifications import webhooks
from csms.notifications.catalogue import CATALOGUE, CATEGORIES
from csms.notifications.mail import Away, Deferred, MailServer, Refused, compose, masked
from csms.notifications.recipients import resolve
from csms.notifications.rendering import LANGUAGES, ZONE, render
from csms.store import deliveries as store
from csms.store.deliveries import Claimed
from csms.whole import whole

log = logging.getLogger(__name__)

EMAIL: Final = "email"
WEBHOOK: Final = "webhook"
CHOICES_PATH: Final = "/account#notifications"  # the page where a person chooses
WEBHOOK_LANES: Final = 4
AWAY_S: Final = 60.0  # a server that takes nothing is asked again at least so often, by one mail
GIVE_UP_BATCH: Final = 1_000

Moment = Callable[[], datetime]


class _Address(NamedTuple):
    """Where a delivery goes, as it is kept: masked, and as a digest under our key."""

    masked: str | None = None
    digest: bytes | None = None


def moment_now() -> datetime:
    """The time, for whoever does not bring another clock."""
    return datetime.now(UTC)


async def run(pool: AsyncConnectionPool, settings: Settings) -> None:
    """Deliver what is due until cancelled; what fails is told and tried again."""
    if settings.smtp_host is None:
        log.warning("no mail server is set (T2P_SMTP_HOST): mails wait")
    while True:
        try:
            await deliver_due(pool, settings)
        except (psycopg.Error, SettingError, OSError, TimeoutError) as error:
            db.raise_if_cancelled()
            log.warning("notifications could not be delivered: %s", str(error).strip())
        await asyncio.sleep(settings.notification_poll_s)


async def deliver_due(
    pool: AsyncConnectionPool, settings: Settings, moment: Moment = moment_now
) -> int:
    """Make the deliveries of new notifications, and send all that is due; how many were sent."""
    while True:
        async with pool.connection() as connection:
            if not await resolve(connection, settings, moment()):
                break
    await _give_up(pool, settings, moment())
    lanes: list[_Lane] = [_Webhooks(pool, settings, moment) for _ in range(WEBHOOK_LANES)]
    if settings.smtp_host is not None:
        lanes.append(_Mails(pool, settings, moment))
    # None is cut off by the failure of another: what it is sending would be in doubt.
    sent = await asyncio.gather(*(lane.drain() for lane in lanes), return_exceptions=True)
    for outcome in sent:
        if isinstance(outcome, BaseException):
            raise outcome
    await _measure(pool, settings, moment())
    return sum(outcome for outcome in sent if isinstance(outcome, int))


class _Lane(ABC):
    """Claims and sends one delivery after the other, until none is due."""

    channel: str

    def __init__(self, pool: AsyncConnectionPool, settings: Settings, moment: Moment) -> None:
        self._pool = pool
        self._settings = settings
        self._moment = moment

    async def drain(self) -> int:
        """Send what is due; how many were."""
        sent = 0
        try:
            while (went := await whole(self._step(), self._settings.drain_timeout_s)) is not None:
                sent += went
        except Away as error:
            log.warning("the mail server takes no mail: %s", error)
            metrics.MAIL_SERVER.set(0)
        finally:
            await self._close()
        return sent

    async def _step(self) -> bool | None:
        """Send what is due first; whether it went, None when nothing is due. Raises: Away."""
        lease = uuid4()
        claimed = await self._claim(lease)
        return None if claimed is None else await self._handle(claimed, lease)

    async def _claim(self, lease: UUID) -> Claimed | None:
        now = self._moment()
        until = now + timedelta(seconds=self._settings.notification_lease_s)
        async with db.transaction(self._pool) as connection:
            return await store.claim(connection, self.channel, lease, now, until)

    async def _handle(self, claimed: Claimed, lease: UUID) -> bool:
        """Send one; whether it went. Raises: Away, recorded as every outcome is."""
        address = _Address()
        try:
            waits_until = self._waits_until(claimed)
            if waits_until is not None:
                await self._postpone(claimed, lease, waits_until)
                return False
            address = self._address(claimed)
            async with asyncio.timeout(self._settings.notification_attempt_s):
                reply = await self._send(claimed)
        except Refused as error:
            dropped = isinstance(error, _Nowhere)
            status = "dropped" if dropped else "dead"
            await self._finish(claimed, lease, status, str(error), None, address)
            return False
        except (Deferred, Away, TimeoutError) as error:
            wait_s = self._wait_s(claimed)
            if isinstance(error, Away):
                wait_s = min(wait_s, AWAY_S)
            told = str(error) or "it took too long"
            await self._try_later(claimed, lease, wait_s, told, address)
            if isinstance(error, Away):
                raise
            return False
        await self._finish(claimed, lease, "sent", None, reply, address)
        return True

    def _waits_until(self, claimed: Claimed) -> datetime | None:
        return None

    @abstractmethod
    def _address(self, claimed: Claimed) -> _Address:
        """Where it goes. Raises: Refused."""

    @abstractmethod
    async def _send(self, claimed: Claimed) -> str:
        """The reply to what was taken. Raises: Refused, Deferred, Away."""

    async def _close(self) -> None:
        """Let go of what is kept between two deliveries; most keep nothing."""
        return

    def _secret(self, claimed: Claimed) -> dict[str, str]:
        """Raises: Refused when the key is another by now."""
        if claimed.secret is None:
            return {}
        try:
            opened: dict[str, str] = json.loads(secrets.unseal(self._settings, claimed.secret))
        except secrets.Unreadable as error:
            raise Refused(f"its secret cannot be read: {error}") from None
        return opened

    # What came of it. These are tried until the database has taken them: a mail that went must not
    # go again because the database was away in that moment.

    async def _finish(
        self,
        claimed: Claimed,
        lease: UUID,
        status: str,
        reason: str | None,
        reply: str | None,
        address: _Address,
    ) -> None:
        metrics.NOTIFICATIONS.labels(self.channel, status).inc()
        if status == "dead":
            log.warning("delivery %s of %s is given up", claimed.id, claimed.event)
        await self._record(
            lambda connection: store.finish(
                connection,
                claimed,
                lease,
                status=status,
                reason=reason and _without_addresses(reason, claimed),
                reply=reply and _without_addresses(reply, claimed),
                address_masked=address.masked,
                address_digest=address.digest,
                now=self._moment(),
            )
        )

    def _wait_s(self, claimed: Claimed) -> float:
        return back_off_s(
            self._settings.notification_back_off_s,
            self._settings.notification_back_off_longest_s,
            claimed.attempts,
            chance.randbelow(1_000_000) / 1_000_000,
        )

    async def _try_later(
        self, claimed: Claimed, lease: UUID, wait_s: float, reply: str, address: _Address
    ) -> None:
        metrics.NOTIFICATIONS.labels(self.channel, "deferred").inc()
        await self._record(
            lambda connection: store.try_later(
                connection,
                claimed,
                lease,
                next_at=self._moment() + timedelta(seconds=wait_s),
                reply=_without_addresses(reply, claimed),
                address_masked=address.masked,
                address_digest=address.digest,
            )
        )

    async def _postpone(self, claimed: Claimed, lease: UUID, until: datetime) -> None:
        give_up_at = until + timedelta(seconds=self._settings.notification_give_up_s)
        await self._record(
            lambda connection: store.postpone(connection, claimed, lease, until, give_up_at)
        )

    async def _record(self, statement: Callable[[psycopg.AsyncConnection], Any]) -> None:
        while True:
            try:
                async with db.transaction(self._pool) as connection:
                    await statement(connection)
                    return
            except (psycopg.OperationalError, OSError) as error:
                db.raise_if_cancelled()
                log.warning("what came of a delivery waits for the database: %s", error)
                await asyncio.sleep(self._settings.database_retry_s)


class _Nowhere(Refused):
    """There is nobody to send it to: no dead letter, nothing to try again."""


class _Mails(_Lane):
    channel = EMAIL

    def __init__(self, pool: AsyncConnectionPool, settings: Settings, moment: Moment) -> None:
        super().__init__(pool, settings, moment)
        self._server = MailServer(settings)

    def _waits_until(self, claimed: Claimed) -> datetime | None:
        begin, end = claimed.quiet_from_minute, claimed.quiet_to_minute
        if begin is None or end is None or not CATALOGUE[claimed.event].waits:
            return None
        return end_of_quiet(self._moment(), begin, end, ZoneInfo(claimed.quiet_time_zone or ZONE))

    def _recipient(self, claimed: Claimed) -> str:
        """Raises: Refused."""
        address = self._secret(claimed).get("address")
        if not address and claimed.person_id is not None:
            address = claimed.email
        elif not address and not CATALOGUE[claimed.event].elsewhere:
            address = self._settings.notification_operator_address
        if not address:
            raise _Nowhere("no address")
        return address

    def _address(self, claimed: Claimed) -> _Address:
        address = self._recipient(claimed)
        return _Address(masked(address), address_digest(self._settings, address))

    async def _send(self, claimed: Claimed) -> str:
        optional = CATEGORIES[CATALOGUE[claimed.event].category].optional
        choices_url = None
        if optional and claimed.person_id is not None:
            choices_url = self._settings.base_url + CHOICES_PATH
        language = claimed.language or self._settings.notification_operator_language
        values = {**claimed.data, **self._secret(claimed), "at": claimed.at}
        try:
            mail = render(
                claimed.event,
                language,
                values,
                name=claimed.given_name or "",
                choices_url=choices_url,
            )
        except (ValueError, TypeError, KeyError, TemplateError) as error:
            log.error("delivery %s: no text: %s", claimed.id, type(error).__name__)
            raise Refused(f"its text cannot be made: {type(error).__name__}") from None
        address = self._recipient(claimed)
        attached = await self._attached(claimed)
        message = compose(
            self._settings,
            address,
            mail,
            message_id=claimed.message_id,
            at=claimed.at,
            language=language if language in LANGUAGES else LANGUAGES[0],
            choices_url=choices_url,
            attached=attached,
        )
        reply = await self._server.send(message, address)
        metrics.MAIL_SERVER.set(1)
        return reply

    async def _attached(self, claimed: Claimed) -> tuple[str, bytes] | None:
        """The name and bytes of the PDF that goes with it. Raises: Deferred: it is not made."""
        if not CATALOGUE[claimed.event].attaches:
            return None
        async with self._pool.connection() as connection:
            found = await store.get_statement_pdf(
                connection, claimed.client_id, int(claimed.data["statement_id"])
            )
        if found is None:
            raise Deferred("its file is not there yet")
        return f"releve-{str(claimed.data['month'])[:7]}.pdf", found

    async def _close(self) -> None:
        await self._server.close()


class _Webhooks(_Lane):
    channel = WEBHOOK

    def __init__(self, pool: AsyncConnectionPool, settings: Settings, moment: Moment) -> None:
        super().__init__(pool, settings, moment)
        self._trust: ssl.SSLContext | None = None  # made at the first message: it takes a while

    def _address(self, claimed: Claimed) -> _Address:
        if claimed.webhook_retired_at is not None:
            raise _Nowhere("the webhook is no more")
        assert claimed.webhook_url is not None
        return _Address(claimed.webhook_url[:255])

    async def _send(self, claimed: Claimed) -> str:
        assert claimed.webhook_secret is not None
        try:
            secret = secrets.unseal(self._settings, claimed.webhook_secret)
        except secrets.Unreadable as error:
            raise Refused(f"the secret of the webhook cannot be read: {error}") from None
        if self._trust is None:
            self._trust = await asyncio.to_thread(_trust, self._settings)
        return await webhooks.send(self._settings, self._trust, claimed, secret, self._moment())


def address_digest(settings: Settings, address: str) -> bytes:
    """What is kept of an address as proof: whoever has our key and the address finds it again."""
    key = secrets.derive(settings, "address")
    return hmac.new(key, address.strip().lower().encode(), hashlib.sha256).digest()


def _without_addresses(text: str, claimed: Claimed) -> str:
    """Servers repeat the address in their answers."""
    words = text.split()
    hidden = [masked(word.strip("<>:;,()")) if "@" in word else word for word in words]
    return " ".join(hidden)


def _trust(settings: Settings) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if settings.outside_trust is not None:
        context.load_verify_locations(settings.outside_trust)
    return context


async def _give_up(pool: AsyncConnectionPool, settings: Settings, now: datetime) -> None:
    """Mails keep their place while there is no server: nobody has tried them yet."""
    channels = [WEBHOOK] if settings.smtp_host is None else [EMAIL, WEBHOOK]
    async with db.transaction(pool) as connection:
        given_up = await store.give_up_overdue(connection, now, channels, GIVE_UP_BATCH)
    if given_up:
        log.warning("%d deliveries were given up: they could not be made in time", given_up)


async def _measure(pool: AsyncConnectionPool, settings: Settings, now: datetime) -> None:
    async with pool.connection() as connection:
        for backlog in await store.backlogs(connection):
            oldest = backlog.oldest_at
            age_s = 0.0 if oldest is None else max(0.0, (now - oldest).total_seconds())
            metrics.NOTIFICATIONS_WAITING.labels(backlog.channel).set(backlog.waiting)
            metrics.NOTIFICATIONS_OLDEST.labels(backlog.channel).set(age_s)
            metrics.NOTIFICATIONS_DEAD.labels(backlog.channel).set(backlog.dead)
    if settings.smtp_host is None:
        metrics.MAIL_SERVER.set(0)
