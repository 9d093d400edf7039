"""Orders of 2.0.1 whose result comes in several messages, and what they report.

The device model, the variable monitors, what is known of a customer, the messages shown.
"""

import itertools
from datetime import datetime

from simulators import telling
from simulators.orders.answer import Answer, Handler, Payload, status, too_many
from simulators.orders.configuration import name_of, parts_of, refresh
from simulators.settings import READ_ONLY, WRITE_ONLY, Setting
from simulators.station import Station

MONITORS_MAX = 100
SHOWN_MAX = 20
CUSTOMER_PART_CHARS = 100
SEVERITY_MAX = 9
_CRITERIA = {
    "ThresholdMonitoring": ("UpperThreshold", "LowerThreshold"),
    "DeltaMonitoring": ("Delta",),
    "PeriodicMonitoring": ("Periodic", "PeriodicClockAligned"),
}


# ---- device model


def _base_report(station: Station, payload: Payload, now: datetime) -> Answer:
    """Full: everything; configuration: what can be set; summary: what is available."""
    refresh(station)
    rows = list(station.settings)
    if payload["reportBase"] == "ConfigurationInventory":
        rows = [row for row in rows if row.mutability != READ_ONLY]
    elif payload["reportBase"] == "SummaryInventory":
        rows = [row for row in rows if row.name.endswith(".AvailabilityState")]
    return _report(station, payload["requestId"], rows)


def _get_report(station: Station, payload: Payload, now: datetime) -> Answer:
    """Of the components asked for, all variables or the one named; nothing has a problem."""
    most = station.settings.number("report_items_max")
    asked = payload.get("componentVariable", [])
    if len(asked) > most:
        raise too_many(station, "components", most)
    refresh(station)
    rows = list(station.settings)
    if asked:
        rows = [row for row in rows if any(_matches(row, entry) for entry in asked)]
    criteria = payload.get("componentCriteria")
    if criteria is not None and set(criteria) == {"Problem"}:
        faulty = any(evse.error_code != "NoError" for evse in station.evses.values())
        rows = [row for row in rows if faulty and row.name.startswith("EVSE/")]
    return _report(station, payload["requestId"], rows)


def _matches(row: Setting, entry: Payload) -> bool:
    component, variable = parts_of(row.name)
    wanted, wanted_variable = entry["component"], entry.get("variable", {})
    return bool(
        component["name"].lower() == wanted["name"].lower()
        and wanted.get("evse", component.get("evse")) == component.get("evse")
        and wanted_variable.get("name", variable["name"]).lower() == variable["name"].lower()
        and wanted_variable.get("instance", variable.get("instance")) == variable.get("instance")
    )


def _report(station: Station, request_id: int, rows: list[Setting]) -> Answer:
    if not rows:
        return status("EmptyResultSet")
    data = [_row(row) for row in rows]
    size = station.settings.number("report_items_max")

    def effect(now: datetime) -> None:
        telling.tell_parts(station, "NotifyReport", request_id, "reportData", data, now, size=size)

    return status("Accepted", effect)


def _row(row: Setting) -> Payload:
    component, variable = parts_of(row.name)
    attribute: Payload = {"type": "Actual", "mutability": row.mutability}
    if row.mutability != WRITE_ONLY:
        attribute["value"] = row.value
    characteristics: Payload = {"dataType": row.kind, "supportsMonitoring": _is_monitorable(row)}
    if row.unit is not None:
        characteristics["unit"] = row.unit
    if row.kind in ("integer", "decimal") and row.high is not None:
        characteristics |= {"minLimit": row.low or 0, "maxLimit": row.high}
    if row.options:
        characteristics["valuesList"] = ",".join(row.options)
    return {
        "component": component,
        "variable": variable,
        "variableAttribute": [attribute],
        "variableCharacteristics": characteristics,
    }


# ---- monitors


def _is_monitorable(row: Setting) -> bool:
    return row.kind in ("integer", "decimal")


def _set_monitoring(station: Station, payload: Payload, now: datetime) -> Answer:
    """Monitors are kept and reported; an id that was given replaces that monitor."""
    asked, most = payload["setMonitoringData"], station.settings.number("monitor_items_max")
    if len(asked) > most:
        raise too_many(station, "monitors", most)
    return Answer({"setMonitoringResult": [_set_monitor(station, entry) for entry in asked]})


def _set_monitor(station: Station, entry: Payload) -> Payload:
    result = {name: entry[name] for name in ("type", "severity", "component", "variable")}
    row = station.settings.get(name_of(entry))
    number = entry.get("id")
    same = [
        key
        for key, other in station.monitors.items()
        if key != number
        and all(other[name] == entry[name] for name in ("type", "severity"))
        and name_of(other) == name_of(entry)
    ]
    if row is None:
        prefix = name_of(entry).partition(".")[0].lower() + "."
        known = any(other.name.lower().startswith(prefix) for other in station.settings)
        result["status"] = "UnknownVariable" if known else "UnknownComponent"
    elif not _is_monitorable(row):
        result["status"] = "UnsupportedMonitorType"
    elif same:
        result["status"] = "Duplicate"
    elif (
        not 0 <= entry["severity"] <= SEVERITY_MAX
        or (number is not None and number not in station.monitors)
        or (number is None and len(station.monitors) >= MONITORS_MAX)
    ):
        result["status"] = "Rejected"
    else:
        if number is None:
            number = max(station.monitors, default=0) + 1
        station.monitors[number] = {**entry, "id": number}
        result |= {"status": "Accepted", "id": number}
    return result


def _clear_monitoring(station: Station, payload: Payload, now: datetime) -> Answer:
    results = []
    for number in payload["id"]:
        gone = station.monitors.pop(number, None)
        results.append({"status": "NotFound" if gone is None else "Accepted", "id": number})
    return Answer({"clearMonitoringResult": results})


def _monitoring_report(station: Station, payload: Payload, now: datetime) -> Answer:
    wanted = payload.get("monitoringCriteria")
    kinds = None if wanted is None else {kind for word in wanted for kind in _CRITERIA[word]}
    names = [entry for entry in payload.get("componentVariable", []) if "variable" in entry]
    found = sorted(
        (
            monitor
            for monitor in station.monitors.values()
            if (kinds is None or monitor["type"] in kinds)
            and (not names or any(name_of(entry) == name_of(monitor) for entry in names))
        ),
        key=name_of,
    )
    if not found:
        return status("EmptyResultSet")
    data = [_monitored(list(group)) for _, group in itertools.groupby(found, key=name_of)]

    def effect(now: datetime) -> None:
        telling.tell_parts(
            station,
            "NotifyMonitoringReport",
            payload["requestId"],
            "monitor",
            data,
            now,
            size=station.settings.number("report_items_max"),
        )

    return status("Accepted", effect)


def _monitored(monitors: list[Payload]) -> Payload:
    return {
        "component": monitors[0]["component"],
        "variable": monitors[0]["variable"],
        "variableMonitoring": [
            {
                "id": monitor["id"],
                "transaction": monitor.get("transaction", False),
                "value": monitor["value"],
                "type": monitor["type"],
                "severity": monitor["severity"],
            }
            for monitor in monitors
        ],
    }


def _monitoring_base(station: Station, payload: Payload, now: datetime) -> Answer:
    """There are no monitors but those that were set: any other base takes them away."""
    if payload["monitoringBase"] != "All":
        station.monitors.clear()
    return status("Accepted")


def _monitoring_level(station: Station, payload: Payload, now: datetime) -> Answer:
    return status("Accepted" if 0 <= payload["severity"] <= SEVERITY_MAX else "Rejected")


# ---- customer


def _customer_information(station: Station, payload: Payload, now: datetime) -> Answer:
    """What list, cache and sessions hold of a badge; `clear` takes it out of the cache."""
    token = payload.get("idToken", {}).get("idToken")
    asked = [n for n in ("idToken", "customerIdentifier", "customerCertificate") if n in payload]
    if len(asked) != 1 or not (payload["report"] or payload["clear"]):
        return status("Invalid")
    text = "" if token is None else _known_of(station, token)

    def effect(now: datetime) -> None:
        if payload["clear"] and token is not None:
            station.badges.cached.pop(token.lower(), None)
        telling.tell_parts(
            station,
            "NotifyCustomerInformation",
            payload["requestId"],
            "data",
            text or " ",  # one message even when nothing is known
            now,
            size=CUSTOMER_PART_CHARS,
        )

    return status("Accepted", effect if payload["report"] else None)


def _known_of(station: Station, badge: str) -> str:
    lines = []
    for place, known in (("list", station.badges.listed.known), ("cache", station.badges.cached)):
        if badge.lower() in known:
            lines.append(f"{place}: {known[badge.lower()].status}")
    lines += [
        f"session: {session.transaction_id or '-'} {session.energy_wh or 0} Wh"
        for session in station.sessions
        if session.badge.lower() == badge.lower()
    ]
    return "\n".join(lines)


# ---- displays


def _show(station: Station, payload: Payload, now: datetime) -> Answer:
    """One id is shown once; of an unknown transaction nothing is."""
    message = payload["message"]
    transaction = message.get("transactionId")
    running = [e.session.transaction_id for e in station.evses.values() if e.session is not None]
    if message["message"]["format"] == "HTML":
        return status("NotSupportedMessageFormat")
    if transaction is not None and transaction not in running:
        return status("UnknownTransaction")
    if message["id"] not in station.shown and len(station.shown) >= SHOWN_MAX:
        return status("Rejected")
    station.shown[message["id"]] = message
    return status("Accepted")


def _hide(station: Station, payload: Payload, now: datetime) -> Answer:
    return status("Unknown" if station.shown.pop(payload["id"], None) is None else "Accepted")


def _shown(station: Station, payload: Payload, now: datetime) -> Answer:
    found = [
        message
        for number, message in station.shown.items()
        if ("id" not in payload or number in payload["id"])
        and payload.get("priority") in (None, message["priority"])
        and payload.get("state") in (None, message.get("state"))
    ]
    if not found:
        return status("Unknown")
    size = station.settings.number("report_items_max")

    def effect(now: datetime) -> None:
        for start in range(0, len(found), size):
            report = {
                "requestId": payload["requestId"],
                "messageInfo": found[start : start + size],
                "tbc": start + size < len(found),
            }
            station.say("NotifyDisplayMessages", report)

    return status("Accepted", effect)


HANDLERS_201: dict[str, Handler] = {
    "ClearDisplayMessage": _hide,
    "ClearVariableMonitoring": _clear_monitoring,
    "CustomerInformation": _customer_information,
    "GetBaseReport": _base_report,
    "GetDisplayMessages": _shown,
    "GetMonitoringReport": _monitoring_report,
    "GetReport": _get_report,
    "SetDisplayMessage": _show,
    "SetMonitoringBase": _monitoring_base,
    "SetMonitoringLevel": _monitoring_level,
    "SetVariableMonitoring": _set_monitoring,
}
