"""May a partner's driver charge here: asked while the station waits, or known from before.

All partners that are told of the site are asked at once; the first that allows it has the driver,
and nobody waits for the others. What each said is kept (`roaming_grant`), and a badge that was
allowed may begin to charge for some minutes: a Start that follows asks nobody again.

While a partner is away, what it told us of the token decides (whitelist): ALWAYS, ALLOWED and
ALLOWED_OFFLINE let it charge, NEVER does not, nor a token that we know nothing of. ALWAYS is not
asked at all. A driver who charges already may always end it, whatever her partner says by then.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import psycopg
from psycopg_pool import AsyncConnectionPool
from pydantic import ValidationError

from csms import db, services
from csms.config import Settings
from csms.db import transaction
from csms.domain.services import Option
from csms.domain.values import uid_key
from csms.exchange import Question
from reporting import store_ocpi as store
from reporting.ocpi.client import UNKNOWN_TOKEN, Client, Peer, SaidNo, join
from reporting.ocpi.objects import AuthorizationInfo, LocationReferences, Token
from reporting.ocpi.partners import own_party, peer_of
from reporting.outlet import Away, Lost, Moment, Refused, moment_now

log = logging.getLogger(__name__)

ALLOWED: Final = "ALLOWED"
OFFLINE_LISTS: Final = frozenset({"ALWAYS", "ALLOWED", "ALLOWED_OFFLINE"})
REFUSED_FOR: Final = timedelta(seconds=5)  # then the same badge is asked about again
#: OCPI TokenType of our types (IdTokenEnumType of OCPP 2.0.1)
TYPES: Final[Mapping[str, str]] = {"Central": "APP_USER", "eMAID": "OTHER", "KeyCode": "OTHER"}
RFID: Final = "RFID"


@dataclass(frozen=True, slots=True)
class Said:
    """What a partner says of a token, or said before."""

    partner_id: int
    allowed: str
    method: str
    token: Token
    reference: str | None = None
    is_to_end: bool = False  # what goes on; nothing else is to begin with it


class Authorizer:
    """Asks partners; one for the process. `run` keeps what it knows of them up to date."""

    def __init__(
        self, pool: AsyncConnectionPool, settings: Settings, moment: Moment = moment_now
    ) -> None:
        self._pool = pool
        self._settings = settings
        self._moment = moment
        self._own = own_party(settings)
        self._client: Client | None = None
        self._peers: dict[int, Peer] = {}
        self._partners_at: dict[str, list[int]] = {}

    async def run(self) -> None:
        """Look partners up again and again, until cancelled; nothing to do where OCPI is off."""
        if self._own is None:
            return
        async with Client(self._settings, self._own) as client:
            self._client = client
            while True:
                try:
                    await self.refresh()
                except (psycopg.Error, OSError, TimeoutError) as error:
                    db.raise_if_cancelled()
                    log.warning("partners could not be looked up: %s", str(error).strip())
                await asyncio.sleep(self._settings.ocpi_refresh_s)

    async def refresh(self) -> None:
        """Whose drivers may charge where, as it is now."""
        now = self._moment()
        async with self._pool.connection() as connection:
            rows = {row.id: row for row in await store.list_partners(connection)}
            sites = await store.list_roaming_sites(connection, now)
            feeds = await store.list_feeds(connection, now=now)
            clients = {feed.site_id: feed.client_id for feed in feeds}
            closed = await services.closed_clients(
                connection, set(clients.values()), Option.GIREVE, now
            )
        peers: dict[int, Peer] = {}
        found: dict[str, list[int]] = {}
        for partner_id, site_ids in sites:
            peer = peer_of(self._settings, rows[partner_id]) if partner_id in rows else None
            if peer is None:
                continue
            peers[partner_id] = peer
            for site_id in site_ids:
                if clients.get(site_id) not in closed:
                    found.setdefault(site_id, []).append(partner_id)
        self._peers, self._partners_at = peers, found

    def is_at(self, site_id: str | None) -> bool:
        """Whether a partner's drivers may charge at the site."""
        return site_id in self._partners_at

    async def ask(self, question: Question) -> None:
        """Ask about the badge of a question (csms.intake) and keep what is said; the station's
        frame is then handled with it."""
        content = question.content
        said = await self._said(content)
        if said is None:
            return
        now = self._moment()
        lasts = REFUSED_FOR
        if said.allowed == ALLOWED and not said.is_to_end:
            lasts = timedelta(seconds=self._settings.ocpi_grant_s)
        async with transaction(self._pool) as connection:
            await store.insert_grant(
                connection,
                partner_id=said.partner_id,
                client_id=content["client_id"],
                station_key=content["station_key"],
                evse_id=content["evse_id"],
                uid_key=uid_key(content["uid"]),
                allowed=said.allowed,
                method=said.method,
                reference=said.reference,
                token=cdr_token(said.token),
                at=content["at"],  # when it was shown: what it lets begin may have come then
                valid_until=now + lasts,
            )
            if said.method == "AUTH_REQUEST":
                await store.write_token(
                    connection, said.partner_id, said.token.wire(), said.token.last_updated, now
                )

    async def _said(self, content: Mapping[str, Any]) -> Said | None:
        """The answer that counts; None: nobody knows the badge, or the point."""
        partner_ids = self._partners_at.get(content["site_id"], [])
        key = uid_key(content["uid"])
        async with self._pool.connection() as connection:
            known = [
                (row.partner_id, Token.model_validate(row.content))
                for row in await store.find_tokens(connection, partner_ids, key)
            ]
            uids = await store.list_evse_uids(
                connection, content["station_key"], content["evse_id"], partner_ids
            )
            charges = await store.is_charging(connection, content["station_key"], key)
        if not uids:
            return None  # nobody could be told of what she charges there
        for partner_id, token in known:
            if token.valid and token.whitelist == "ALWAYS" and self._settings.ocpi_whitelist:
                return Said(partner_id, ALLOWED, "WHITELIST", token)
        place = LocationReferences(location_id=content["site_id"], evse_uids=uids)
        answers = await self._ask_all(partner_ids, content, place)
        told = [answer for answer in answers.values() if answer is not None]
        for answer in told:
            if answer.allowed == ALLOWED:
                return answer
        for partner_id, token in known:
            may = self._settings.ocpi_whitelist and token.valid and token.whitelist in OFFLINE_LISTS
            if partner_id not in answers and may:
                return Said(partner_id, ALLOWED, "WHITELIST", token)
            if charges:
                return Said(partner_id, ALLOWED, "WHITELIST", token, is_to_end=True)
        return told[0] if told else None

    async def _ask_all(
        self, partner_ids: Sequence[int], content: Mapping[str, Any], place: LocationReferences
    ) -> dict[int, Said | None]:
        """What partners answer in time, in their order; without those that are away, and where one
        allows it without those that have not answered yet."""
        asked = {
            partner_id: asyncio.create_task(self._ask(partner_id, content, place))
            for partner_id in partner_ids
        }
        if not asked:
            return {}
        is_in_time = await _until_one_allows(
            asked.values(), self._settings.ocpi_authorize_timeout_s
        )
        answers: dict[int, Said | None] = {}
        for partner_id, task in asked.items():
            if not task.done():
                task.cancel()
                if not is_in_time:
                    log.warning("partner %d did not answer in time", partner_id)
                continue
            try:
                answers[partner_id] = task.result()
            except (Away, Lost, Refused) as error:
                log.warning("partner %d: %s", partner_id, str(error)[:300])
        return answers

    async def _ask(
        self, partner_id: int, content: Mapping[str, Any], place: LocationReferences
    ) -> Said | None:
        """One partner's answer; None: it does not know the token. Raises: Away, Lost, Refused."""
        peer = self._peers.get(partner_id)  # it may have gone since the question was begun
        url = None if peer is None else peer.url_of("tokens", "SENDER")
        if peer is None or url is None or self._client is None:
            raise Refused("it has no tokens to ask about")
        kind = TYPES.get(content["type"] or "", RFID)
        address = join(url, content["uid"].upper(), "authorize") + f"?type={kind}"
        try:
            answer = await self._client.call(
                peer,
                "POST",
                address,
                place.wire(),
                timeout_s=self._settings.ocpi_authorize_timeout_s,
            )
        except SaidNo as error:
            if error.code in (UNKNOWN_TOKEN, 404):
                return None
            raise
        try:
            info = AuthorizationInfo.model_validate(answer)
        except ValidationError:
            raise Lost("an answer that is no AuthorizationInfo") from None
        return Said(
            partner_id,
            info.allowed,
            "AUTH_REQUEST",
            info.token,
            info.authorization_reference,
        )


async def _until_one_allows(asked: Iterable[asyncio.Task[Said | None]], timeout_s: float) -> bool:
    """Wait until one allows it, or all have answered; False: neither came in time."""
    waiting = set(asked)
    try:
        async with asyncio.timeout(timeout_s):
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if any(map(_allows, done)):
                    break
    except TimeoutError:
        return False
    return True


def _allows(task: asyncio.Task[Said | None]) -> bool:
    said = task.result() if task.exception() is None else None
    return said is not None and said.allowed == ALLOWED


def cdr_token(token: Token) -> dict[str, str]:
    """What of a token stands in sessions and CDRs."""
    return {
        "country_code": token.country_code,
        "party_id": token.party_id,
        "uid": token.uid,
        "type": token.type,
        "contract_id": token.contract_id,
    }
