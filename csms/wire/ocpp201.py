"""OCPP 2.0.1: what stations ask. The station gives the transaction id, events are numbered."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

import msgspec

from csms.domain.events import (
    Booted,
    Decision,
    Ended,
    Event,
    Metered,
    Outcome,
    Reported,
    Started,
    StatusChanged,
    TokenShown,
    Updated,
)
from csms.domain.metering import Reading, SampleKind
from csms.domain.station import STATUSES
from csms.wire import power201
from csms.wire.common import (
    EMPTY,
    answer_boot,
    answer_fixed,
    answer_granted,
    answer_heartbeat,
    answer_nothing,
    answer_told,
    ask_outside,
    read_heartbeat,
    read_report,
)
from csms.wire.context import (
    NAN,
    Context,
    OwnOrder,
    Request,
    array_literal,
    bounded_id,
    encode,
    optional_place_id,
    place_id,
    plain,
    reading_digest,
    stated,
    texts_json,
    time_text,
    whole,
)
from csms.wire.outside import CERTIFICATE_STATUS, CONTRACT
from csms.wire.schema import PayloadError
from csms.wire.variables import report_rows

PROTOCOL: Final = "ocpp2.0.1"
ERROR_CODES: Final[dict[str, str]] = {}
CENT: Final = Decimal("0.01")


# --- Readers ------------------------------------------------------------------------------------


def read_readings(meter_values: Any, place: str, context: Context) -> tuple[Reading, ...]:
    """The readings of a list of MeterValueType; `place` names EVSE and transaction."""
    readings = []
    for meter_value in meter_values or ():
        samples = meter_value.sampledValue
        if not samples:
            continue
        key = tuple(
            [
                (
                    s.measurand,
                    s.phase,
                    None if (unit := s.unitOfMeasure) is None else (unit.unit, unit.multiplier),
                    s.context,
                    s.location,
                    s.signedMeterValue is not None,
                )
                for s in samples
            ]
        )
        profile = context.profiles.get(key, _kinds)
        numbers = [NAN if s.value is None else s.value for s in samples]
        stored = _signed_texts(samples) if profile.proved else None
        literal = array_literal(numbers)
        digest = reading_digest(place, literal, stored, profile)
        at = stated(meter_value.timestamp)
        readings.append(Reading(at, profile, numbers, stored, digest, literal))
    return tuple(readings)


def _kinds(key: tuple[Any, ...]) -> tuple[SampleKind, ...]:
    return tuple(
        SampleKind(
            measurand=measurand or "Energy.Active.Import.Register",
            phase=phase or "",
            unit=unit or "",
            context=context or "",
            location=location or "",
            factor=max(-9, min(9, int(multiplier or 0))),
            proved=proved,
        )
        for measurand, phase, (unit, multiplier), context, location, proved in (
            (m, p, u or (None, None), c, place, proved) for m, p, u, c, place, proved in key
        )
    )


def _signed_texts(samples: Any) -> str:
    """The signed meter values of a reading, by position."""
    return texts_json(
        {
            str(at): _signed_text(s.signedMeterValue)
            for at, s in enumerate(samples)
            if s.signedMeterValue is not None
        }
    )


def _signed_text(signed: Any) -> str:
    """A signed meter value, kept whole as JSON: proof that only its maker can read."""
    return msgspec.json.encode(plain(signed)).decode()


def _token(id_token: Any) -> tuple[str | None, str | None]:
    """(uid, type) of an idToken; NoAuthorization is nobody's."""
    if id_token is None or id_token.type == "NoAuthorization":
        return None, None
    return bounded_id(id_token.idToken or ""), id_token.type


def _authorize(message: Any, context: Context) -> Event:
    uid, kind = _token(message.idToken)
    return TokenShown(uid or "", kind)


def _boot(message: Any, context: Context) -> Event:
    station = message.chargingStation
    return Booted(
        vendor=getattr(station, "vendorName", None) or "",
        model=getattr(station, "model", None) or "",
        serial=getattr(station, "serialNumber", None),
        firmware=getattr(station, "firmwareVersion", None),
        reason=message.reason,
    )


def _status(message: Any, context: Context) -> Event:
    word = message.connectorStatus.lower()
    evse_id = place_id(message.evseId)
    return StatusChanged(
        evse_id=evse_id,
        connector_id=None if evse_id == 0 else (optional_place_id(message.connectorId) or 1),
        status=word if word in STATUSES else "unknown",
        error_code=None,
        detail=None,
        stated_at=stated(message.timestamp),
    )


def _transaction_id(raw: str | None) -> str:
    """The station's id, bounded."""
    if not raw:
        raise PayloadError(
            "OccurrenceConstraintViolation", "transactionInfo.transactionId is missing"
        )
    return bounded_id(raw)


def _transaction_event(message: Any, context: Context) -> Event:
    info = message.transactionInfo
    transaction_id = _transaction_id(info.transactionId)
    uid, token_type = _token(message.idToken)
    evse = message.evse
    evse_id = None if evse is None else optional_place_id(evse.id)
    connector_id = None if evse is None else optional_place_id(evse.connectorId)
    readings = (
        read_readings(message.meterValue, transaction_id, context) if message.meterValue else ()
    )
    offline = bool(message.offline)
    match message.eventType:
        case "Updated":
            return Updated(
                transaction_id=transaction_id,
                stated_at=stated(message.timestamp),
                readings=readings,
                seq_no=whole(message.seqNo),
                offline=offline,
                charging_state=info.chargingState,
                evse_id=evse_id,
                connector_id=connector_id,
                token_uid=uid,
                token_type=token_type,
                trigger=message.triggerReason,
            )
        case "Started":
            return Started(
                evse_id=evse_id,
                connector_id=connector_id,
                transaction_id=transaction_id,
                token_uid=uid,
                token_type=token_type,
                stated_at=stated(message.timestamp),
                register_wh=None,
                readings=readings,
                seq_no=whole(message.seqNo),
                offline=offline,
                charging_state=info.chargingState,
                remote_start_id=whole(info.remoteStartId),
                reservation_id=whole(message.reservationId),
            )
        case "Ended":
            return Ended(
                transaction_id=transaction_id,
                stated_at=stated(message.timestamp),
                register_wh=None,
                readings=readings,
                reason=info.stoppedReason or "Local",
                seq_no=whole(message.seqNo),
                offline=offline,
                evse_id=evse_id,
                connector_id=connector_id,
                token_uid=uid,
                token_type=token_type,
            )
    raise PayloadError(
        "PropertyConstraintViolation", f"eventType {message.eventType[:50]!r} is unknown"
    )


def _meter_values(message: Any, context: Context) -> Event:
    evse_id = place_id(message.evseId)
    return Metered(
        evse_id=evse_id,
        connector_id=None,
        transaction_id=None,
        readings=read_readings(message.meterValue, f"{evse_id}/", context),
    )


def _device_report(message: Any, context: Context) -> Event:
    content = plain(message)
    return Reported("report", content, stated(message.generatedAt), tuple(report_rows(content)))


# --- Answers ------------------------------------------------------------------------------------


def _id_token_info(decision: Decision) -> dict[str, Any]:
    info: dict[str, Any] = {"status": decision.status}
    if decision.valid_until is not None:
        info["cacheExpiryDateTime"] = time_text(decision.valid_until)
    if decision.group_uid is not None and len(decision.group_uid) <= 36:
        info["groupIdToken"] = {"idToken": decision.group_uid, "type": "Central"}
    return info


def _answer_authorize(event: Event, outcome: Outcome) -> str:
    assert outcome.decision is not None
    return encode({"idTokenInfo": _id_token_info(outcome.decision)})


def _answer_transaction(event: Event, outcome: Outcome) -> str:
    if outcome.decision is None and outcome.cost is None:
        return EMPTY
    answer: dict[str, Any] = {}
    if outcome.cost is not None:
        answer["totalCost"] = float(outcome.cost.quantize(CENT, ROUND_HALF_UP))
    if outcome.decision is not None:
        answer["idTokenInfo"] = _id_token_info(outcome.decision)
    return encode(answer)


# --- Orders that follow ---------------------------------------------------------------------------


def _ask_for_the_rest(event: Event, outcome: Outcome) -> OwnOrder | None:
    """Ask whether messages of a transaction that ended with gaps are still to come (E14)."""
    if not outcome.messages_missing:
        return None
    assert isinstance(event, Ended)
    payload = {"transactionId": event.transaction_id}
    return OwnOrder("GetTransactionStatus", payload, "messages_missing")


def _report(kind: str, *essential: str, time_field: str = "timestamp") -> Request:
    return Request(read_report(kind, time_field), answer_nothing, essential)


REQUESTS: Final[dict[str, Request]] = {
    "Authorize": Request(_authorize, _answer_authorize, ("idToken.idToken",)),
    "BootNotification": Request(_boot, answer_boot),
    "ClearedChargingLimit": _report("charging_limit_cleared", "chargingLimitSource"),
    "DataTransfer": Request(
        read_report("data_transfer"), answer_fixed({"status": "UnknownVendorId"}), ("vendorId",)
    ),
    "FirmwareStatusNotification": _report("firmware", "status"),
    "Get15118EVCertificate": Request(
        read_report("get_15118_certificate"),
        answer_told({"status": "Failed", "exiResponse": ""}),
        outside=ask_outside(CONTRACT),
    ),
    "GetCertificateStatus": Request(
        read_report("get_certificate_status"),
        answer_told({"status": "Failed"}),
        outside=ask_outside(CERTIFICATE_STATUS),
    ),
    "Heartbeat": Request(read_heartbeat, answer_heartbeat),
    "LogStatusNotification": _report("log", "status"),
    "MeterValues": Request(
        _meter_values, answer_nothing, ("evseId", "meterValue"), transaction=True
    ),
    "NotifyChargingLimit": _report("charging_limit"),
    "NotifyCustomerInformation": _report("customer_information", time_field="generatedAt"),
    "NotifyDisplayMessages": _report("display_messages"),
    "NotifyEVChargingNeeds": power201.NEEDS,
    "NotifyEVChargingSchedule": power201.PLAN,
    "NotifyEvent": _report("event", "eventData", time_field="generatedAt"),
    "NotifyMonitoringReport": _report("monitoring_report", time_field="generatedAt"),
    "NotifyReport": Request(_device_report, answer_nothing),
    "PublishFirmwareStatusNotification": _report("publish_firmware", "status"),
    "ReportChargingProfiles": _report("charging_profiles"),
    "ReservationStatusUpdate": _report("reservation", "reservationId", "reservationUpdateStatus"),
    "SecurityEventNotification": _report("security", "type"),
    "SignCertificate": Request(read_report("sign_certificate"), answer_granted, ("csr",)),
    "StatusNotification": Request(_status, answer_nothing, ("evseId", "connectorStatus")),
    "TransactionEvent": Request(
        _transaction_event,
        _answer_transaction,
        ("eventType", "transactionInfo.transactionId"),
        transaction=True,
        follow=_ask_for_the_rest,
    ),
}
