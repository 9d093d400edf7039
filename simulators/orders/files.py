"""Orders about files: logs and diagnostics sent, firmware fetched, installed, and passed on.

No file really moves. Each step is told in its order, as stations do that have the file at hand;
with the fault `fail_transfers` the first transfer fails. Firmware is fetched at its time, installed
when no car charges, and is in force after the reboot that ends it.
"""

from datetime import datetime
from urllib.parse import urlsplit

from simulators import telling
from simulators.certificates import is_certificate
from simulators.orders.answer import Answer, Handler, Payload, moment, status
from simulators.station import Station

PUBLISHED_MAX = 10


# ---- logs


def _diagnostics(station: Station, payload: Payload, now: datetime) -> Answer:
    name = f"{station.config.identity}-diagnostics.log"[:255]

    def effect(now: datetime) -> None:
        done = "UploadFailed" if station.faults.fail_transfers else "Uploaded"
        for step in ("Uploading", done):
            station.transfers["diagnostics"] = (step, None)
            station.say("DiagnosticsStatusNotification", {"status": step})

    return Answer({"fileName": name}, effect)


def _log(station: Station, payload: Payload, now: datetime) -> Answer:
    answer = status("Accepted")
    answer.response["filename"] = f"{station.config.identity}-{payload['logType']}.log"[:255]

    def effect(now: datetime) -> None:
        done = "UploadFailure" if station.faults.fail_transfers else "Uploaded"
        for step in ("Uploading", done):
            telling.tell_log(station, step, payload["requestId"])

    answer.effect = effect
    return answer


# ---- firmware


class _Update:
    """One update on its way. request_id None: the plain one of 1.6, told in fewer steps."""

    def __init__(self, station: Station, firmware: Payload, request_id: int | None) -> None:
        self._station = station
        self._request_id = request_id
        self._is_signed = "signature" in firmware
        name = urlsplit(firmware["location"]).path.rsplit("/", 1)[-1]
        self._version = (name or "unnamed")[:50]
        self._fetch_at = moment(firmware.get("retrieveDateTime") or firmware["retrieveDate"])
        install = firmware.get("installDateTime")
        self._install_at = None if install is None else moment(install)

    def begin(self, now: datetime) -> None:
        """Fetch now, or when it is time."""
        if self._fetch_at > now:
            self._tell("DownloadScheduled")
            self._station.agenda.at(self._fetch_at, self._fetch)
            self._station.notify()
        else:
            self._fetch(now)

    def _fetch(self, now: datetime) -> None:
        self._tell("Downloading")
        if self._station.faults.fail_transfers:
            self._tell("DownloadFailed")
            return
        self._tell("Downloaded")
        if self._is_signed:
            self._tell("SignatureVerified")
        busy = any(evse.session is not None for evse in self._station.evses.values())
        if busy or (self._install_at is not None and self._install_at > now):
            self._tell("InstallScheduled")
        if self._install_at is not None and self._install_at > now:
            self._station.agenda.at(self._install_at, self._wait_until_idle)
            self._station.notify()
        else:
            self._wait_until_idle(now)

    def _wait_until_idle(self, now: datetime) -> None:
        self._station.agenda.when_idle(self._install)
        self._station.pass_time(now)

    def _install(self, now: datetime) -> None:
        station = self._station
        self._tell("Installing")
        self._tell("InstallRebooting")
        station.firmware = self._version
        signed = self._request_id is not None
        installed = telling.firmware_wire(station, "Installed", self._request_id, signed=signed)
        station.after_boot.append(installed)
        station.transfers["firmware"] = ("Installed", self._request_id)
        station.leave("firmware")

    def _tell(self, step: str) -> None:
        plain = self._request_id is None
        if plain and step in ("DownloadScheduled", "InstallScheduled", "InstallRebooting"):
            return  # 1.6 has no words for these
        telling.tell_firmware(self._station, step, self._request_id, signed=not plain)


def _update16(station: Station, payload: Payload, now: datetime) -> Answer:
    return Answer({}, _Update(station, payload, None).begin)


def _update_signed(station: Station, payload: Payload, now: datetime) -> Answer:
    """SignedUpdateFirmware of 1.6, UpdateFirmware of 2.0.1."""
    firmware = payload["firmware"]
    if "signingCertificate" in firmware and not is_certificate(firmware["signingCertificate"]):
        kind = "InvalidFirmwareSigningCertificate"
        return status(
            "InvalidCertificate",
            lambda then: telling.tell_security_event(station, kind, then),
        )
    return status("Accepted", _Update(station, firmware, payload["requestId"]).begin)


def _publish(station: Station, payload: Payload, now: datetime) -> Answer:
    """Firmware for other stations of the same network."""
    checksum = payload["checksum"]
    if len(station.published) >= PUBLISHED_MAX and checksum not in station.published:
        return status("Rejected")
    where = f"http://{station.config.identity}.local/{checksum}"[:512]

    def tell(step: str, **more: object) -> None:
        station.transfers["publish"] = (step, payload["requestId"])
        station.say(
            "PublishFirmwareStatusNotification",
            {"status": step, "requestId": payload["requestId"], **more},
        )

    def effect(now: datetime) -> None:
        tell("Downloading")
        if station.faults.fail_transfers:
            tell("DownloadFailed")
            return
        tell("Downloaded")
        tell("ChecksumVerified")
        station.published[checksum] = where
        tell("Published", location=[where])

    return status("Accepted", effect)


def _unpublish(station: Station, payload: Payload, now: datetime) -> Answer:
    gone = station.published.pop(payload["checksum"], None)
    return status("NoFirmware" if gone is None else "Unpublished")


HANDLERS_16: dict[str, Handler] = {
    "GetDiagnostics": _diagnostics,
    "GetLog": _log,
    "SignedUpdateFirmware": _update_signed,
    "UpdateFirmware": _update16,
}
HANDLERS_201: dict[str, Handler] = {
    "GetLog": _log,
    "PublishFirmware": _publish,
    "UnpublishFirmware": _unpublish,
    "UpdateFirmware": _update_signed,
}
