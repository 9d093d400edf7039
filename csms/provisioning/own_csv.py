"""Our own CSV: one row per connector, station columns repeated.

Columns, in any order; all but station_id may be left out, and an empty cell keeps what is there
(or takes the default of a new thing):

| column | what it holds |
|---|---|
| client | name of the site's client; created when new; default: the operator's own |
| site_id, site_name | the site; created when new |
| time_zone | IANA name, default Europe/Paris |
| address, postal_code, city, insee_code, longitude, latitude | where the site is |
| station_id | the OCPP identity: the last part of the station's URL |
| protocol | ocpp1.6 or ocpp2.0.1; default: whatever it speaks |
| security_profile | 0 to 3, the least it must do; a password sets 1 |
| password | HTTP basic password; `generate`: made, and printed once, unless it has one |
| boot_status | accepted, pending or rejected |
| vendor, model, serial | make of the station, until it reports them itself |
| evse_id, evse_uid | number within the station; eMI3 identifier, with or without * |
| connector_id | number within the EVSE, default 1 |
| connector_type | OCPP 2.0.1 name (sType2, cCCS2, ...) or type2, ef, ccs, chademo |
| power_w_max | in W |
| public | true or false: of the EVSE when evse_id is there, else of the station |
| static_... | anything else to be kept with the station, by the name after static_ |
"""

import re
from typing import Any
from zoneinfo import ZoneInfo

from csms import passwords, registry
from csms.provisioning import reading
from csms.provisioning.plan import Plan, StationPlan
from csms.provisioning.reading import Record, Table, cell

GENERATE = "generate"
POWER_W_LEAST = 500  # below it somebody wrote kW
POWER_W_MOST = 1_500_000

_SITE_STATIC = ("address", "postal_code", "city", "insee_code")
_COLUMNS = {
    "client",
    "site_id",
    "site_name",
    "time_zone",
    *_SITE_STATIC,
    "longitude",
    "latitude",
    "station_id",
    "protocol",
    "security_profile",
    "password",
    "boot_status",
    "vendor",
    "model",
    "serial",
    "evse_id",
    "evse_uid",
    "connector_id",
    "connector_type",
    "power_w_max",
    "public",
}
_SITE_COLUMNS = {"name": "site_name"}
_UID = re.compile(r"[A-Z]{2}[A-Z0-9]{4,33}")


def read(table: Table, plan: Plan, password_length_min: int) -> None:
    """Put the rows into the plan, and what is wrong with them."""
    for column in table.header:
        if column not in _COLUMNS and not re.fullmatch(r"static_\w+", column):
            plan.refuse(1, column, "", "is no column of ours; static_... takes what you like")
    if "station_id" not in table.header:
        plan.refuse(1, "station_id", "", "this column is missing")
        return
    for record in table.records:
        _read_row(record, plan, password_length_min)
    for station in plan.stations.values():
        _check_station(station, plan)


def _read_row(record: Record, plan: Plan, password_length_min: int) -> None:
    station_id = cell(record, "station_id", plan, reading.name, required=True)
    site_id = _read_site(record, plan)
    values = _station_values(record, plan, password_length_min)
    if station_id is None:
        return
    station = plan.station(station_id, record.line)
    values["site_id"] = site_id
    if not record["evse_id"]:
        values["public"] = cell(record, "public", plan, reading.truth)
    plan.merge(station.values, values, record.line, station.line)
    static = {
        column.removeprefix("static_"): text
        for column, text in record.cells.items()
        if column.startswith("static_") and text
    }
    columns = {name: f"static_{name}" for name in static}
    plan.merge(station.static, static, record.line, station.line, columns)
    _read_evse(record, plan, station)


def _read_site(record: Record, plan: Plan) -> str | None:
    """The row's site; without an id no other site column may be filled."""
    site_id = cell(record, "site_id", plan, reading.name)
    values = {
        "client": cell(record, "client", plan, reading.name),
        "name": cell(record, "site_name", plan, reading.name),
        "time_zone": cell(record, "time_zone", plan, _time_zone),
    }
    static: dict[str, Any] = {
        column: cell(record, column, plan, reading.name) for column in _SITE_STATIC
    }
    static["longitude"] = cell(record, "longitude", plan, reading.number(-180, 180))
    static["latitude"] = cell(record, "latitude", plan, reading.number(-90, 90))
    if site_id is None:
        for name, value in (values | static).items():
            if value is not None:
                column = _SITE_COLUMNS.get(name, name)
                plan.refuse(record.line, column, str(value), "needs a site_id in its row")
        return None
    site = plan.site(site_id, record.line)
    plan.merge(site.values, values, record.line, site.line, _SITE_COLUMNS)
    plan.merge(site.static, static, record.line, site.line)
    return site_id


def _station_values(record: Record, plan: Plan, password_length_min: int) -> dict[str, Any]:
    return {
        "protocol": cell(record, "protocol", plan, reading.one_of(*registry.PROTOCOLS)),
        "security_profile": cell(record, "security_profile", plan, reading.whole_number(0, 3)),
        "boot_status": cell(record, "boot_status", plan, reading.one_of(*registry.BOOT_STATUSES)),
        "vendor": cell(record, "vendor", plan, reading.name),
        "model": cell(record, "model", plan, reading.name),
        "serial": cell(record, "serial", plan, reading.name),
        "password": _password(record, plan, password_length_min),
    }


def _password(record: Record, plan: Plan, length_min: int) -> str | None:
    """The password; a refusal never repeats it."""
    password = record["password"]
    if not password or password == GENERATE:
        return password or None
    try:
        passwords.check_policy(password, length_min)
    except passwords.PasswordRefused as refusal:
        plan.refuse(record.line, "password", "", str(refusal))
        return None
    return password


def _read_evse(record: Record, plan: Plan, station: StationPlan) -> None:
    evse_id = cell(record, "evse_id", plan, reading.whole_number(1, 1_000))
    if evse_id is None:
        for column in ("evse_uid", "connector_id", "connector_type", "power_w_max"):
            if record[column] and not record["evse_id"]:
                plan.refuse(record.line, column, record[column], "needs an evse_id in its row")
        return
    evse = station.evse(evse_id, record.line)
    values = {
        "evse_uid": cell(record, "evse_uid", plan, evse_uid),
        "public": cell(record, "public", plan, reading.truth),
    }
    if values["evse_uid"] is not None and "evse_uid" not in evse.values:
        plan.claim_uid(str(values["evse_uid"]), "evse_uid", record.line)
    plan.merge(evse.values, values, record.line, evse.line)
    connector_id = cell(record, "connector_id", plan, reading.whole_number(1, 100))
    number = connector_id or 1
    if number in evse.connectors:
        reason = "this connector of this EVSE has a row already"
        plan.refuse(record.line, "connector_id", str(number), reason)
    evse.connectors[number] = {
        "type": cell(record, "connector_type", plan, _connector_type),
        "power_w_max": cell(record, "power_w_max", plan, _power_w),
    }


def _check_station(station: StationPlan, plan: Plan) -> None:
    if station.values.get("security_profile") == 3 and station.values.get("password"):
        reason = "profile 3 takes a certificate, no password"
        plan.refuse(station.line, "password", "", reason)


def evse_uid(text: str) -> str:
    """An eMI3 identifier in its canonical form: capitals, no separators."""
    uid = re.sub(r"[*\s-]", "", text).upper()
    if not _UID.fullmatch(uid):
        raise ValueError("takes an eMI3 identifier like FR*T2P*E1234")
    return uid


def _time_zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (KeyError, ValueError, OSError):  # OSError: the name of a folder of the zone database
        raise ValueError("is no time zone: takes an IANA name like Europe/Paris") from None
    return text


def _connector_type(text: str) -> str:
    found = registry.connector_type(text)
    if found is None:
        raise ValueError(f"takes one of: {', '.join(registry.CONNECTOR_TYPES)}")
    return found


def _power_w(text: str) -> int:
    try:
        power_w = reading.whole_number(0, 10**9)(text)
    except ValueError:
        raise ValueError("takes whole watts: 7.4 kW is 7400") from None
    if power_w < POWER_W_LEAST:
        raise ValueError("takes watts, this looks like kW: 22 kW is 22000")
    if power_w > POWER_W_MOST:
        raise ValueError(f"no connector has more than {POWER_W_MOST} W")
    return power_w
