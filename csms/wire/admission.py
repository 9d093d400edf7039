"""Who may connect: the handshake's decision, apart from the socket.

Stations are looked up in batches at the moment they knock, so that what people changed a second
ago counts and a boot storm costs one query for hundreds. Passwords of high entropy are checked on
the loop, those that people chose in a bounded pool of threads; neither holds up another station.
"""

import asyncio
import base64
import binascii
import contextlib
import hashlib
import hmac
import logging
import secrets
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, Final, NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit

import psycopg
from psycopg import AsyncConnection

from csms import db, metrics, passwords, pki
from csms.config import Settings
from csms.store import connections, lookup, security
from csms.store.columns import safe
from csms.store.lookup import StationRow
from csms.wire.dispatch import VERSIONS

log = logging.getLogger(__name__)

BATCH_MAX: Final = 500
LOOKUP_TIMEOUT_S: Final = 5.0
CROWD: Final = 8  # in one look-up: then the next one waits a little, for more to come
CROWD_WAIT_S: Final = 0.01
PASSWORD_BYTES_MAX: Final = 255
VERIFICATIONS_MAX: Final = (
    200  # waiting for argon2, about 10 s of work: more are told to come later
)
ACCEPTED_MAX: Final = 100_000


class Knock(NamedTuple):
    """What a handshake says: all that the decision needs."""

    path: str
    remote_address: str
    authorization: str | None  # the header
    subprotocols: tuple[str, ...]
    tls: bool
    certificate: bytes | None = None  # DER, checked by TLS against the CAs of the settings


class Refusal(NamedTuple):
    """Why a handshake is answered with an HTTP error; `reason` is the word on the list."""

    status: int
    reason: str
    text: str


class Found(NamedTuple):
    """A station that knocks, and the generation that its connection would have."""

    row: StationRow
    generation: int


class Welcome(NamedTuple):
    """The station, and the protocol to speak; None: to be seen from its first frame."""

    row: StationRow
    protocol: str | None
    generation: int


BUSY: Final = Refusal(503, "busy", "Too many connections are waiting; try again later.\n")
AWAY: Final = Refusal(503, "database", "The central system is not ready; try again later.\n")


def identity_of(path: str) -> str | None:
    """The station's identity in the path of its URL: the last segment, percent-decoded.

    Takes what the field sends: doubled slashes, a slash at the end, a whole URL as the path or
    within it (field case 28). None when there is none.
    """
    segments = [segment for segment in urlsplit(f"//host{path}").path.split("/") if segment]
    if "ocpp" not in segments[:-1]:
        return None
    try:
        identity = unquote_to_bytes(segments[-1]).decode()
    except UnicodeDecodeError:
        return None
    return identity if 0 < len(identity) <= 255 and identity.isprintable() else None


def credentials_of(header: str | None) -> tuple[bytes, bytes] | None:
    """User and password of an Authorization header, as bytes; None when there are none."""
    if header is None:
        return None
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return (user, password) if colon and len(password) <= PASSWORD_BYTES_MAX else None


def password_forms(password: bytes) -> list[bytes]:
    """The forms in which a station may send the password that was set: text, or decoded hex.

    The white paper sets it as hex and leaves open which of the two goes over the wire (case 35).
    A text that is no hex has one form only: every further one costs an argon2.
    """
    if not (password.isascii() and password.decode().isprintable()):
        return [password, password.hex().upper().encode(), password.hex().encode()]
    with contextlib.suppress(ValueError):
        return [password, bytes.fromhex(password.decode())]
    return [password]


def choose_protocol(
    row: StationRow, offered: tuple[str, ...], default: str | None
) -> str | Refusal | None:
    """The subprotocol: the station's expected one, else its first that we speak (case 26)."""
    if not offered:
        return row.protocol or default
    if row.protocol is not None:
        if row.protocol in offered:
            return row.protocol
        text = f"This station is expected to speak {row.protocol}.\n"
        return Refusal(400, "subprotocol", text)
    for protocol in offered:
        if protocol in VERSIONS:
            return protocol
    text = f"We speak {', '.join(VERSIONS)}; offered was {', '.join(offered)[:100]}.\n"
    return Refusal(400, "subprotocol", text)


class Admission:
    """Decides handshakes. `run` must be running."""

    def __init__(self, database: db.Database, settings: Settings) -> None:
        self.database = database
        self.settings = settings
        self._waiting: dict[str, list[asyncio.Future[Found | None]]] = {}
        self._wake = asyncio.Event()
        self._pool = ThreadPoolExecutor(settings.argon2_workers, "password")
        #: passwords that argon2 has accepted, by keyed digest, so that a storm costs it once
        self._accepted: dict[str, bytes] = {}
        self._verifying = 0
        self._room = float(settings.handshakes_burst_max)  # handshakes that may come now
        self._room_at_s = asyncio.get_running_loop().time()
        self._pepper = secrets.token_bytes(32)
        self._refused: dict[tuple[str, str], dict[str, Any]] = {}
        self._proved: dict[int, dict[str, Any]] = {}

    async def decide(self, knock: Knock, now: datetime) -> Welcome | Refusal:
        """Whether the station may come in. Refusals are counted for the operator's list."""
        identity = identity_of(knock.path)
        if identity is None:
            return self._refuse(
                safe(knock.path)[:255], Refusal(404, "path", "No such place.\n"), knock, now
            )
        if not self._has_room(asyncio.get_running_loop().time()):
            return self._refuse(identity, BUSY, knock, now)
        try:
            async with asyncio.timeout(LOOKUP_TIMEOUT_S):
                found = await self.fetch(identity)
        except (psycopg.Error, OSError, TimeoutError):
            return self._refuse(identity, AWAY, knock, now)
        if found is None:
            text = f"There is no station {identity}.\n"
            return self._refuse(identity, Refusal(404, "unknown", text), knock, now)
        row = found.row
        refusal = await self._authenticate(row, knock)
        if refusal is not None:
            return self._refuse(identity, refusal, knock, now)
        protocol = choose_protocol(row, knock.subprotocols, self.settings.default_protocol)
        if isinstance(protocol, Refusal):
            return self._refuse(identity, protocol, knock, now)
        return Welcome(row, protocol, found.generation)

    def _has_room(self, now_s: float) -> bool:
        """Whether one more may be looked at: few enough wait, and the rate allows it.

        Those refused come back at a moment of chance (`Retry-After`): a storm that a node could
        not take at once becomes one that it can.
        """
        settings = self.settings
        self._room = min(
            float(settings.handshakes_burst_max),
            self._room + (now_s - self._room_at_s) * settings.handshakes_per_s_max,
        )
        self._room_at_s = now_s
        if self._room < 1 or len(self._waiting) >= settings.handshakes_waiting_max:
            return False
        self._room -= 1
        return True

    async def fetch(self, identity: str) -> Found | None:
        """The station as the database holds it now; None when there is none.

        Raises: psycopg.Error, OSError while the database is away.
        """
        future: asyncio.Future[Found | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(identity, []).append(future)
        self._wake.set()
        return await future

    async def _authenticate(self, row: StationRow, knock: Knock) -> Refusal | None:
        """Whether the station proves itself as its profile asks, or the one it was told to use."""
        rising = row.security_profile_next or 0
        if rising > row.security_profile and not await self._check_profile(rising, row, knock):
            self._prove(row, security_profile_next=rising)
            return None
        return await self._check_profile(row.security_profile, row, knock)

    async def _check_profile(self, profile: int, row: StationRow, knock: Knock) -> Refusal | None:
        if profile >= 3:
            return self._check_certificate(row, knock)
        if profile == 2 and not knock.tls:
            return Refusal(401, "tls", "This station must connect over TLS.\n")
        return await self._check_password(profile, row, knock)

    async def _check_password(self, profile: int, row: StationRow, knock: Knock) -> Refusal | None:
        hashes = [h for h in (row.password_hash, row.password_hash_next) if h is not None]
        given = credentials_of(knock.authorization)
        if profile == 0 and (given is None or not hashes):
            return None
        if given is None or not hashes:
            return Refusal(401, "no_password", "A password is needed.\n")
        user, password = given
        if not hmac.compare_digest(user, row.id.encode()):
            return Refusal(401, "wrong_user", "The user must be the station's identity.\n")
        if self._verifying >= VERIFICATIONS_MAX:
            return BUSY
        for password_hash in hashes:
            if await self._verify(row.id, password_hash, password):
                if password_hash == row.password_hash_next:
                    self._prove(row, password_hash_next=password_hash)
                return None
        return Refusal(401, "wrong_password", "Wrong password.\n")

    def _prove(self, row: StationRow, **proved: Any) -> None:
        """The station came in with what it was told to use: from now on it must use that."""
        known = self._proved.setdefault(row.station_key, {"station_key": row.station_key})
        known.update(proved)

    async def _verify(self, identity: str, password_hash: str, password: bytes) -> bool:
        forms = password_forms(password)
        if passwords.is_fast(password_hash):
            return any(passwords.verify(password_hash, form) for form in forms)
        digest = hmac.digest(
            self._pepper, password_hash.encode() + b"\0" + password, hashlib.sha256
        )
        if hmac.compare_digest(self._accepted.get(identity, b""), digest):
            return True
        loop = asyncio.get_running_loop()
        self._verifying += 1
        try:
            for form in forms:
                if await loop.run_in_executor(self._pool, passwords.verify, password_hash, form):
                    if len(self._accepted) >= ACCEPTED_MAX:
                        self._accepted.clear()
                    self._accepted[identity] = digest
                    return True
        finally:
            self._verifying -= 1
        return False

    def _check_certificate(self, row: StationRow, knock: Knock) -> Refusal | None:
        """Profile 3: TLS has proved that the certificate is good; here, that it is the station's
        own (field case 34). Its CN is the identity, or the serial number (2.0.1 A00.FR.511) that
        people wrote: what a station says of itself proves nothing."""
        if knock.certificate is None:
            text = "This station must connect over TLS with its certificate.\n"
            return Refusal(401, "certificate", text)
        try:
            facts = pki.facts_of(pki.load(knock.certificate))
        except ValueError:
            return Refusal(401, "certificate", "The certificate cannot be read.\n")
        if facts.common_name not in (row.id, row.serial or row.id):
            return Refusal(401, "certificate", "The certificate is that of another station.\n")
        organization = self.settings.certificate_organization
        if organization is not None and facts.organization != organization:
            return Refusal(401, "certificate", "The certificate is not that of our station.\n")
        if facts.fingerprint_sha256 in row.revoked_certificates:
            return Refusal(401, "certificate", "The certificate is revoked.\n")
        return None

    def _refuse(self, identity: str, refusal: Refusal, knock: Knock, now: datetime) -> Refusal:
        metrics.HANDSHAKES.labels(refusal.reason).inc()
        key = (identity, refusal.reason)
        row = self._refused.get(key)
        if row is None:
            if len(self._refused) >= self.settings.refused_connections_max:
                return refusal
            row = self._refused[key] = {
                "identity": identity,
                "reason": refusal.reason,
                "detail": ", ".join(knock.subprotocols)[:200],
                "first_seen_at": now,
                "count": 0,
            }
        row |= {"remote_address": knock.remote_address, "last_seen_at": now}
        row["count"] += 1
        return refusal

    async def run(self) -> None:
        """Look stations up in batches until cancelled."""
        crowded = False
        async with db.Line(self.database) as line:
            while True:
                db.raise_if_cancelled()
                await self._wake.wait()
                if crowded:  # many are coming: let them gather
                    await asyncio.sleep(CROWD_WAIT_S)
                self._wake.clear()
                identities = list(self._waiting)[:BATCH_MAX]
                if not identities:
                    continue
                crowded = len(identities) >= CROWD
                batch = {identity: self._waiting.pop(identity) for identity in identities}
                try:
                    knocks = sum(map(len, batch.values()))
                    _give(batch, *await self._look_up(line, identities, knocks))
                except (psycopg.Error, OSError, TimeoutError) as error:
                    db.raise_if_cancelled()
                    _fail(batch, error)
                    await line.drop()
                if self._waiting:
                    self._wake.set()

    async def _look_up(
        self, line: db.Line, identities: list[str], knocks: int
    ) -> tuple[dict[str, StationRow], Iterator[int]]:
        """The rows of the stations, and a generation for each knock. A connection that died
        unnoticed is tried once more, anew."""
        async with asyncio.timeout(LOOKUP_TIMEOUT_S):
            try:
                return await self._read(await line.get(), identities, knocks)
            except psycopg.OperationalError:
                db.raise_if_cancelled()
                await line.drop()
                return await self._read(await line.get(), identities, knocks)

    async def _read(
        self, connection: AsyncConnection, identities: list[str], knocks: int
    ) -> tuple[dict[str, StationRow], Iterator[int]]:
        rows = await self._rows(connection, identities)
        return rows, iter(await connections.next_generations(connection, knocks))

    async def _rows(
        self, connection: AsyncConnection, identities: list[str]
    ) -> dict[str, StationRow]:
        rows = {row.id: row for row in await lookup.fetch_stations(connection, identities)}
        if self.settings.unknown_stations == "pending":
            missing = [identity for identity in identities if identity not in rows]
            for identity in missing:
                await connections.create_pending_station(connection, identity)
            if missing:
                created = await lookup.fetch_stations(connection, missing)
                rows |= {row.id: row for row in created}
        return rows

    @property
    def has_news(self) -> bool:
        """Whether there is something to write."""
        return bool(self._refused or self._proved)

    async def flush(self, connection: AsyncConnection) -> None:
        """Write the list of refused connections, and what stations have proved."""
        proved, self._proved = self._proved, {}
        if proved:
            await security.write_proved(connection, list(proved.values()))
        if not self._refused:
            return
        refused, self._refused = self._refused, {}
        await connections.upsert_refused(
            connection, list(refused.values()), self.settings.refused_connections_max
        )


def _give(
    batch: Mapping[str, list[asyncio.Future[Found | None]]],
    rows: Mapping[str, StationRow],
    generations: Iterator[int],
) -> None:
    for identity, futures in batch.items():
        row = rows.get(identity)
        for future in futures:
            generation = next(generations)
            if not future.done():
                future.set_result(None if row is None else Found(row, generation))


def _fail(batch: Mapping[str, list[asyncio.Future[Found | None]]], error: Exception) -> None:
    for futures in batch.values():
        for future in futures:
            if not future.done():
                future.set_exception(error)
