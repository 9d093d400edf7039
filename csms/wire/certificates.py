"""Certificates of stations: requests looked at, signed, sent; ends foreseen.

Jobs of the worker. A request (SignCertificate) is kept as it came, in the transaction of its
answer; here it is checked and put on the list, then signed as soon as a person approves it, or at
once where the setting says so, and goes to the station as an order (CertificateSigned). Every step
is a row, so that each can be run twice.

The CA is our own, in two files, or somebody else's at an HTTPS address: that is sent the request
in PEM by POST (application/pkcs10, with a Bearer token where the setting has one), and answers 200
with the certificate in PEM, its own first, then those above it without the root; 400 or 422 when it
will never sign that. Any other answer, or none, is trouble that passes: the request stays on the
list and is tried again with the next pass, behind those that have not been tried.
"""

import logging
import ssl
from datetime import datetime, timedelta
from typing import Any, Final

import httpx
from psycopg import AsyncConnection

from csms import metrics, pki
from csms.commands import order_unasked
from csms.config import Settings
from csms.domain.values import UTC
from csms.pki import Authority, Csr, RequestRefused
from csms.store import security as store
from csms.store.security import Ending, NewRequest, Signable
from csms.wire import ocpp16

log = logging.getLogger(__name__)

PER_PASS_MAX: Final = 100
WHY: Final = "certificate"
ANSWER_BYTES_MAX: Final = 100_000
AWAY_PER_PASS_MAX: Final = 3  # requests that a CA in trouble is sent in a pass
_NEVER: Final = frozenset({400, 422})
CHAIN_LENGTH_MAX: Final = 10_000  # characters of CertificateSigned.certificateChain


class _AuthorityAway(Exception):
    """The CA does not sign now, with the reason for people."""


async def work(connection: AsyncConnection, settings: Settings, now: datetime) -> int:
    """One pass: new requests onto the list, those that may be out to their stations; how many.

    Raises: SettingError for a CA that cannot be used.
    """
    for new in await store.fetch_new_requests(connection, PER_PASS_MAX):
        await _enlist(connection, settings, new)
    if not settings.signs_certificates:
        return 0
    done, tried = 0, list[int]()
    while done < PER_PASS_MAX and len(tried) < AWAY_PER_PASS_MAX:
        async with connection.transaction():
            found = await store.fetch_signable(
                connection,
                automatic=settings.certificate_signing == "automatic",
                per_day_max=settings.certificates_per_day_max,
                now=now,
                but=tried,
            )
            if found is None:
                break
            try:
                await _sign(connection, settings, found, now)
                done += 1
            except _AuthorityAway as reason:
                log.warning("the request of %s is not signed yet: %s", found.station_id, reason)
                await store.note_unsigned(connection, found.id, str(reason))
                tried.append(found.id)
    return done


async def _enlist(connection: AsyncConnection, settings: Settings, new: NewRequest) -> None:
    text = str(new.content.get("csr", ""))[: settings.csr_length_max + 1]
    subject, reason = "", None
    try:
        if new.content.get("certificateType") == "V2GCertificate":
            raise RequestRefused("Certificates for plug and charge are not signed by this CA.")
        csr = pki.read_request(text, settings.csr_length_max)
        subject = csr.subject
        names = [new.station_id, *([new.serial] if new.serial else [])]
        pki.check_request(csr, names, settings.certificate_organization)
        if not settings.signs_certificates:
            raise RequestRefused("There is no CA: see T2P_STATION_CA_CERT and T2P_STATION_CA_URL.")
    except RequestRefused as refusal:
        reason = str(refusal)
    await store.insert_request(
        connection,
        new,
        csr=text,
        subject=subject,
        status="waiting" if reason is None else "rejected",
        reason=reason,
    )


async def _sign(
    connection: AsyncConnection, settings: Settings, request: Signable, now: datetime
) -> None:
    """Sign one request and send the certificate, or reject it with the reason.

    Raises: _AuthorityAway, with nothing written.
    """
    try:
        csr = pki.read_request(request.csr, settings.csr_length_max)
        chain = await _certify(settings, csr, request, now)
    except RequestRefused as refusal:
        await store.reject_request(connection, request.id, str(refusal), None, now)
        return
    facts = pki.facts_of(pki.read_chain(chain)[0])
    await store.insert_certificate(
        connection,
        {
            "station_key": request.station_key,
            "request_id": request.id,
            "serial": facts.serial,
            "fingerprint_sha256": facts.fingerprint_sha256,
            "subject": facts.subject,
            "issuer": facts.issuer,
            "not_before": facts.not_before,
            "not_after": facts.not_after,
            "chain": chain,
        },
    )
    protocol = request.protocol or ocpp16.PROTOCOL
    payload: dict[str, Any] = {"certificateChain": chain}
    if protocol != ocpp16.PROTOCOL:
        payload["certificateType"] = "ChargingStationCertificate"
    command_id = await order_unasked(
        connection,
        settings,
        request.station_key,
        protocol,
        "CertificateSigned",
        payload,
        why=WHY,
        now=now,
    )
    await store.write_signed(connection, request.id, command_id, now)


async def _certify(settings: Settings, csr: Csr, request: Signable, now: datetime) -> str:
    """The chain for a request, PEM. Raises: RequestRefused, _AuthorityAway,
    SettingError."""
    if settings.station_ca_url is not None:
        chain = await _ask_authority(settings, csr)
        names = [request.station_id, *([request.serial] if request.serial else [])]
        try:
            pki.check_issued(pki.read_chain(chain), csr, names, now)
        except ValueError:
            raise RequestRefused("The CA answered with no certificates in PEM.") from None
    else:
        days = settings.certificate_validity_days
        chain = pki.sign(_authority(settings), csr, validity_days=days, now=now)
    if len(chain) > CHAIN_LENGTH_MAX:
        raise RequestRefused(f"The chain is longer than {CHAIN_LENGTH_MAX} characters.")
    return chain


def _authority(settings: Settings) -> Authority:
    assert settings.station_ca_cert is not None
    assert settings.station_ca_key is not None
    return pki.load_authority(
        settings.station_ca_cert, settings.station_ca_key, settings.station_ca_passphrase
    )


async def _ask_authority(settings: Settings, csr: Csr) -> str:
    assert settings.station_ca_url is not None
    trust = settings.station_ca_trust
    context = ssl.create_default_context(cafile=None if trust is None else str(trust))
    headers = {"Content-Type": "application/pkcs10"}
    if settings.station_ca_token is not None:
        headers["Authorization"] = f"Bearer {settings.station_ca_token}"
    text = pki.pem_of_request(csr)
    try:
        async with (
            httpx.AsyncClient(
                verify=context, timeout=settings.station_ca_timeout_s, trust_env=False
            ) as client,
            client.stream(
                "POST", settings.station_ca_url, content=text.encode(), headers=headers
            ) as answer,
        ):
            if answer.status_code in _NEVER:
                raise RequestRefused(f"The CA refused the request: {answer.status_code}.")
            if answer.status_code != 200:
                raise _AuthorityAway(f"The CA answers {answer.status_code}.")
            body = b""
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > ANSWER_BYTES_MAX:
                    raise RequestRefused("The CA answered more than a chain of certificates.")
    except httpx.HTTPError as error:
        raise _AuthorityAway(f"The CA does not answer: {type(error).__name__}.") from error
    return body.decode("ascii", "replace")


# --- Ends ---------------------------------------------------------------------------------------


async def watch_ends(connection: AsyncConnection, settings: Settings, now: datetime) -> int:
    """Tell of certificates that end soon, once each, and ask their stations to renew; how many."""
    before = now + timedelta(days=settings.certificate_warning_days)
    ending = await store.fetch_ending(connection, before)
    for one in ending:
        log.warning("the certificate of %s ends at %s", one.station_id, one.not_after)
        async with connection.transaction():
            await store.note_warned(connection, one, now)
            if settings.signs_certificates and one.auto_configure:
                await _ask_to_renew(connection, settings, one, now)
    ends = [pki.end_of_file(path) for path in settings.tls_cert]
    ends.append(await store.fetch_earliest_end(connection))
    known = [end for end in ends if end is not None]
    if known:
        left = (min(known).astimezone(UTC) - now).total_seconds() / 86_400
        metrics.CERTIFICATE_DAYS_LEFT.set(left)
    return len(ending)


async def _ask_to_renew(
    connection: AsyncConnection, settings: Settings, one: Ending, now: datetime
) -> None:
    if one.protocol == ocpp16.PROTOCOL:
        action, wanted = "ExtendedTriggerMessage", "SignChargePointCertificate"
    else:
        action, wanted = "TriggerMessage", "SignChargingStationCertificate"
    payload = {"requestedMessage": wanted}
    protocol = one.protocol or ocpp16.PROTOCOL
    await order_unasked(
        connection, settings, one.station_key, protocol, action, payload, why=WHY, now=now
    )
