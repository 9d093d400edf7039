"""OCPP 1.6J with the security extension (white paper, edition 2): what stations ask.

A connector of 1.6 is an EVSE with one connector; connector 0 is the station. The central system
gives the transaction id: the session's own id.
"""

from typing import Any, Final

from csms.domain.events import (
    Booted,
    Decision,
    Ended,
    Event,
    Metered,
    Outcome,
    Started,
    StatusChanged,
    TokenShown,
)
from csms.domain.metering import Reading, SampleKind
from csms.domain.station import STATUSES
from csms.wire.common import (
    EMPTY,
    answer_boot,
    answer_fixed,
    answer_granted,
    answer_heartbeat,
    answer_nothing,
    read_heartbeat,
    read_report,
)
from csms.wire.context import (
    NAN,
    Context,
    Request,
    array_literal,
    bounded_id,
    encode,
    place_id,
    reading_digest,
    stated,
    texts_json,
    time_text,
    whole,
)
from csms.wire.schema import PayloadError

PROTOCOL: Final = "ocpp1.6"
TOKEN_TYPE: Final = "ISO14443"  # noqa: S105 - the kind of badge; 1.6 does not say it

ERROR_CODES: Final = {
    "FormatViolation": "FormationViolation",
    "OccurrenceConstraintViolation": "OccurenceConstraintViolation",  # the spelling of 1.6
    "RpcFrameworkError": "FormationViolation",
    "MessageTypeNotSupported": "FormationViolation",
}

_STATUSES: Final = {
    "Available": "available",
    "Preparing": "preparing",
    "Charging": "charging",
    "SuspendedEV": "suspended_ev",
    "SuspendedEVSE": "suspended_evse",
    "Finishing": "finishing",
    "Reserved": "reserved",
    "Unavailable": "unavailable",
    "Faulted": "faulted",
}
_DECISIONS: Final = {  # what 1.6 has no word for is Invalid: unknown, or not allowed here
    **{name: name for name in ("Accepted", "Blocked", "Expired", "Invalid", "ConcurrentTx")},
    "NoCredit": "Blocked",
}


def status_word(status: str) -> str:
    """Our word for a connector status; a word unknown to us is kept in lower case as `unknown`."""
    word = _STATUSES.get(status, status.lower())
    return word if word in STATUSES else "unknown"


# --- Readers ------------------------------------------------------------------------------------


def read_readings(meter_values: Any, place: str, context: Context) -> tuple[Reading, ...]:
    """The readings of a list of MeterValue; `place` names EVSE and transaction for the digest."""
    readings = []
    for meter_value in meter_values or ():
        samples = meter_value.sampledValue
        if not samples:
            continue
        key = tuple(
            [(s.measurand, s.phase, s.unit, s.context, s.location, s.format) for s in samples]
        )
        profile = context.profiles.get(key, _kinds)
        texts: dict[str, str] = {}
        values = [s.value or "" for s in samples]
        try:
            numbers = [float(value) for value in values]
        except ValueError:
            numbers = [_number(value, at, texts) for at, value in enumerate(values)]
        if profile.signed:
            texts |= {str(at): s.value for at, s in enumerate(samples) if s.format == "SignedData"}
        stored = texts_json(texts) if texts else None
        literal = array_literal(numbers)
        digest = reading_digest(place, literal, stored, profile)
        at = stated(meter_value.timestamp)
        readings.append(Reading(at, profile, numbers, stored, digest, literal))
    return tuple(readings)


def _kinds(key: tuple[tuple[str | None, ...], ...]) -> tuple[SampleKind, ...]:
    return tuple(
        SampleKind(
            measurand=measurand or "Energy.Active.Import.Register",
            phase=phase or "",
            unit=unit or "",
            context=context or "",
            location=location or "",
            signed=format == "SignedData",
        )
        for measurand, phase, unit, context, location, format in key
    )


def _number(value: str, position: int, texts: dict[str, str]) -> float:
    """A value that is not written as JSON would; what is no number at all is kept as text."""
    try:
        return float(value.strip().replace(",", "."))
    except ValueError:
        texts[str(position)] = value
        return NAN


def _register(value: float | None) -> float | None:
    return None if value is None else float(value)


def _id(value: float | None) -> str | None:
    """A transaction id as text; -1 and 0 stay what they are."""
    if value is not None and abs(value) >= 2**63:
        raise PayloadError("PropertyConstraintViolation", "transactionId is out of range")
    return None if value is None else str(int(value))


def _token(id_tag: str | None) -> str | None:
    return None if id_tag is None else bounded_id(id_tag)


def _authorize(message: Any, context: Context) -> Event:
    return TokenShown(bounded_id(message.idTag), TOKEN_TYPE)


def _boot(message: Any, context: Context) -> Event:
    return Booted(
        vendor=message.chargePointVendor or "",
        model=message.chargePointModel or "",
        serial=message.chargePointSerialNumber or message.chargeBoxSerialNumber,
        firmware=message.firmwareVersion,
        reason=None,
    )


def _status(message: Any, context: Context) -> Event:
    details = (message.info, message.vendorId, message.vendorErrorCode)
    error_code = message.errorCode
    connector_id = place_id(message.connectorId)
    return StatusChanged(
        evse_id=connector_id,
        connector_id=1 if connector_id > 0 else None,
        status=status_word(message.status),
        error_code=None if error_code in (None, "NoError") else error_code,
        detail=" / ".join(text for text in details if text) or None,
        stated_at=stated(message.timestamp),
    )


def _start(message: Any, context: Context) -> Event:
    connector_id = place_id(message.connectorId)
    return Started(
        evse_id=connector_id,
        connector_id=connector_id,
        transaction_id=None,
        token_uid=_token(message.idTag),
        token_type=TOKEN_TYPE,
        stated_at=stated(message.timestamp),
        register_wh=_register(message.meterStart),
        reservation_id=whole(message.reservationId),
        stated_register=str(message.meterStart),
        offline=context.is_old(stated(message.timestamp)),
    )


def _stop(message: Any, context: Context) -> Event:
    transaction_id = _id(message.transactionId)
    assert transaction_id is not None
    return Ended(
        transaction_id=transaction_id,
        stated_at=stated(message.timestamp),
        register_wh=_register(message.meterStop),
        readings=read_readings(message.transactionData, transaction_id, context),
        reason=message.reason or "Local",
        token_uid=_token(message.idTag),
        token_type=TOKEN_TYPE if message.idTag is not None else None,
        offline=context.is_old(stated(message.timestamp)),
    )


def _meter_values(message: Any, context: Context) -> Event:
    evse_id = place_id(message.connectorId or 0)
    transaction_id = _id(message.transactionId)
    return Metered(
        evse_id=evse_id,
        connector_id=1 if evse_id > 0 else None,
        transaction_id=transaction_id,
        readings=read_readings(message.meterValue, f"{evse_id}/{transaction_id}", context),
    )


# --- Answers ------------------------------------------------------------------------------------


def _id_tag_info(decision: Decision) -> dict[str, Any]:
    info: dict[str, Any] = {"status": _DECISIONS.get(decision.status, "Invalid")}
    if decision.group_uid is not None and len(decision.group_uid) <= 20:
        info["parentIdTag"] = decision.group_uid
    if decision.valid_until is not None:
        info["expiryDate"] = time_text(decision.valid_until)
    return info


def _answer_authorize(event: Event, outcome: Outcome) -> str:
    assert outcome.decision is not None
    return encode({"idTagInfo": _id_tag_info(outcome.decision)})


def _answer_start(event: Event, outcome: Outcome) -> str:
    assert outcome.transaction_id is not None
    decision = outcome.decision or Decision("Invalid")
    return encode(
        {"idTagInfo": _id_tag_info(decision), "transactionId": int(outcome.transaction_id)}
    )


def _answer_stop(event: Event, outcome: Outcome) -> str:
    if outcome.decision is None:
        return EMPTY
    return encode({"idTagInfo": _id_tag_info(outcome.decision)})


REQUESTS: Final[dict[str, Request]] = {
    "Authorize": Request(_authorize, _answer_authorize, ("idTag",)),
    "BootNotification": Request(_boot, answer_boot),
    # No vendor's messages are known to us; what came is kept and the refusal says so.
    "DataTransfer": Request(
        read_report("data_transfer"), answer_fixed({"status": "UnknownVendorId"}), ("vendorId",)
    ),
    "DiagnosticsStatusNotification": Request(
        read_report("diagnostics"), answer_nothing, ("status",)
    ),
    "FirmwareStatusNotification": Request(read_report("firmware"), answer_nothing, ("status",)),
    "Heartbeat": Request(read_heartbeat, answer_heartbeat),
    "LogStatusNotification": Request(read_report("log"), answer_nothing, ("status",)),
    "MeterValues": Request(_meter_values, answer_nothing, ("meterValue",), transaction=True),
    "SecurityEventNotification": Request(read_report("security"), answer_nothing, ("type",)),
    # Certificates are not signed here yet; the station keeps the one it has.
    "SignCertificate": Request(read_report("sign_certificate"), answer_granted, ("csr",)),
    "SignedFirmwareStatusNotification": Request(
        read_report("firmware"), answer_nothing, ("status",)
    ),
    "StartTransaction": Request(_start, _answer_start, ("connectorId",), transaction=True),
    "StatusNotification": Request(_status, answer_nothing, ("connectorId", "status")),
    "StopTransaction": Request(_stop, _answer_stop, ("transactionId",), transaction=True),
}
