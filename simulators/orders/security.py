"""Orders about certificates: roots installed, listed, deleted; the station's own, signed."""

from datetime import datetime

from simulators import telling
from simulators.certificates import STATION, V2G
from simulators.orders.answer import Answer, Effect, Handler, Payload, status
from simulators.station import Station


def ask_to_sign(station: Station, kind: str) -> Effect:
    """Make a key and send SignCertificate for it."""

    def effect(now: datetime) -> None:
        organization = station.settings.text("organization")
        csr = station.certificates.request(kind, station.config.identity, organization)
        payload = {"csr": csr}
        if station.is_201:
            payload["certificateType"] = kind
        station.say("SignCertificate", payload)

    return effect


def _signed(station: Station, payload: Payload, now: datetime) -> Answer:
    """Used from the next connection on; in profile 3 at once."""
    kind = payload.get("certificateType", STATION)
    assert kind in (STATION, V2G)
    if not station.certificates.signed(kind, payload["certificateChain"]):
        word = (
            "InvalidChargingStationCertificate"
            if station.is_201
            else "InvalidChargePointCertificate"
        )
        return status("Rejected", lambda then: telling.tell_security_event(station, word, then))
    in_use = kind == STATION and station.access.security_profile == 3
    return status("Accepted", (lambda then: station.leave("reconnect")) if in_use else None)


def _install(station: Station, payload: Payload, now: datetime) -> Answer:
    """Failed: it cannot be kept. Rejected: it is no certificate."""
    store = station.certificates
    if store.count >= station.settings.number("certificates_max"):
        return status("Failed")
    try:
        store.install(payload["certificateType"], payload["certificate"])
    except ValueError:
        return status("Rejected")
    return status("Accepted")


def _ids16(station: Station, payload: Payload, now: datetime) -> Answer:
    found = [data for _, data in station.certificates.ids([payload["certificateType"]])]
    if not found:
        return status("NotFound")
    return Answer({"status": "Accepted", "certificateHashData": found})


def _ids201(station: Station, payload: Payload, now: datetime) -> Answer:
    found = station.certificates.ids(payload.get("certificateType"))
    if not found:
        return status("NotFound")
    chains = [{"certificateType": kind, "certificateHashData": data} for kind, data in found]
    return Answer({"status": "Accepted", "certificateHashDataChain": chains})


def _delete(station: Station, payload: Payload, now: datetime) -> Answer:
    found = station.certificates.delete(payload["certificateHashData"])
    return status("Accepted" if found else "NotFound")


_BOTH: dict[str, Handler] = {
    "CertificateSigned": _signed,
    "DeleteCertificate": _delete,
    "InstallCertificate": _install,
}
HANDLERS_16: dict[str, Handler] = _BOTH | {"GetInstalledCertificateIds": _ids16}
HANDLERS_201: dict[str, Handler] = _BOTH | {"GetInstalledCertificateIds": _ids201}
