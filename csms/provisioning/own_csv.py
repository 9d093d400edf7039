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
| evse_id, evse_uid | number within the station; AFIREV identifier, with or without * |
| connector_id | number within the EVSE, default 1 |
| connector_type | OCPP 2.0.1 name (sType2, cCCS2, ...) or type2, ef, ccs, chademo |
| power_w_max | in W |
| public | true or false: of the EVSE when evse_id is there, else of the station |
| static_... | static data of the station, by the name after static_ |
| site_static_..., evse_static_... | static data of the site, of the EVSE |

Static data are the members of csms.static_data; what they do not have is kept under `other`.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from csms import passwords, registry, static_data
from csms.domain import point_rules
from csms.domain.point_rules import Broken
from csms.provisioning import reading
from csms.provisioning.plan import Plan, StationPlan
from csms.provisioning.reading import Record, Table, cell
from csms.provisioning.static_cells import Model, check_together, from_columns, value_of
from csms.static_data import EvseStatic, SiteStatic, StationStatic

Value = TypeVar("Value")

GENERATE = "generate"

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
_STATIC = re.compile(r"(site_|evse_)?static_\w+")


def read(table: Table, plan: Plan, password_length_min: int) -> None:
    """Put the rows into the plan, and what is wrong with them."""
    for column in table.header:
        if column not in _COLUMNS and not _STATIC.fullmatch(column):
            plan.refuse(1, column, "", "is no column of ours; static_... takes what you like")
    if "station_id" not in table.header:
        plan.refuse(1, "station_id", "", "this column is missing")
        return
    for record in table.records:
        _read_row(record, plan, password_length_min)
    for site in plan.sites.values():
        check_together(SiteStatic, {}, site.static, site.line, plan)
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
    _merge_static(station.static, StationStatic, "static_", record, plan, station.line)
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
        column: cell(record, column, plan, partial(value_of, SiteStatic, column))
        for column in _SITE_STATIC
    }
    static["longitude"] = cell(record, "longitude", plan, reading.number(-180, 180))
    static["latitude"] = cell(record, "latitude", plan, reading.number(-90, 90))
    more = from_columns(SiteStatic, "site_static_", record, plan)
    if site_id is None:
        static |= {f"site_static_{name}": value for name, value in more.items()}
        for name, value in (values | static).items():
            if value is not None:
                column = _SITE_COLUMNS.get(name, name)
                plan.refuse(record.line, column, str(value), "needs a site_id in its row")
        return None
    site = plan.site(site_id, record.line)
    plan.merge(site.values, values, record.line, site.line, _SITE_COLUMNS)
    plan.merge(site.static, static, record.line, site.line)
    _merge_static(site.static, SiteStatic, "site_static_", record, plan, site.line)
    return site_id


def _merge_static(
    known: dict[str, Any], model: Model, prefix: str, record: Record, plan: Plan, line: int
) -> None:
    """Put the row's static data beside what earlier rows said of the same thing."""
    values = from_columns(model, prefix, record, plan)
    other = values.pop("other", {})
    columns = {name: f"{prefix}{name}" for name in values | other}
    plan.merge(known, values, record.line, line, columns)
    if other:
        plan.merge(known.setdefault("other", {}), other, record.line, line, columns)


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
        static = [column for column in record.cells if column.startswith("evse_static_")]
        for column in ("evse_uid", "connector_id", "connector_type", "power_w_max", *static):
            if record[column] and not record["evse_id"]:
                plan.refuse(record.line, column, record[column], "needs an evse_id in its row")
        return
    evse = station.evse(evse_id, record.line)
    values = {
        "evse_uid": cell(record, "evse_uid", plan, by_rule(point_rules.point_id)),
        "public": cell(record, "public", plan, reading.truth),
    }
    if values["evse_uid"] is not None and "evse_uid" not in evse.values:
        plan.claim_uid(str(values["evse_uid"]), "evse_uid", record.line)
    plan.merge(evse.values, values, record.line, evse.line)
    _merge_static(evse.static, EvseStatic, "evse_static_", record, plan, evse.line)
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
    check_together(StationStatic, {}, station.static, station.line, plan)
    for evse in station.evses:
        check_together(EvseStatic, {}, evse.static, evse.line, plan)


def by_rule(rule: Callable[[Value], Value]) -> Callable[[Value], Value]:
    """A parser from a rule of points: its refusal is the rule's sentence."""

    def parse(value: Value) -> Value:
        try:
            return rule(value)
        except Broken as broken:
            raise ValueError(static_data.message(broken.code, "en", **broken.parts)) from None

    return parse


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
    return by_rule(point_rules.power_w)(power_w)
