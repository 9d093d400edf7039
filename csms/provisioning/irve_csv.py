"""The static IRVE CSV (etalab schema 2.3) as a plan: public points, one row per point of charge.

| IRVE | here |
|---|---|
| id_station_itinerance, else id_station_local | site_id and station_id |
| nom_station, adresse_station, code_insee_commune, coordonneesXY | the site |
| id_pdc_itinerance | evse_uid |
| puissance_nominale (kW) | power_w_max |
| prise_type_ef, _2, _combo_ccs, _chademo, _autre; cable_t2_attache | connectors 1, 2, ... |
| the other columns of the schema | static data of the site and the EVSE: `SITE`, `POINT` |
| what breaks a rule, date_maj, columns not of the schema | `other.irve` of the EVSE, as written |

EVSEs are numbered in the order of the file; one that is known by its identifier keeps its number.
The points belong to the operator until their site is given a client.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from csms import static_data
from csms.domain import point_rules
from csms.domain.point_rules import Broken
from csms.provisioning import reading
from csms.provisioning.own_csv import by_rule
from csms.provisioning.plan import EvsePlan, Plan, SitePlan
from csms.provisioning.reading import Record, Table, cell
from csms.provisioning.static_cells import value_of
from csms.static_data import EvseStatic, SiteStatic, irve

NOT_CONCERNED = "non concerné"
POWER_KW_ODD = 400.0
POWER_KW_MOST = 1_500.0

_REQUIRED = (
    "id_station_itinerance",
    "nom_station",
    "adresse_station",
    "coordonneesxy",
    "nbre_pdc",
    "id_pdc_itinerance",
    "puissance_nominale",
    "prise_type_ef",
    "prise_type_2",
    "prise_type_combo_ccs",
    "prise_type_chademo",
    "prise_type_autre",
)
_SOCKETS = (
    ("prise_type_ef", "sCEE-7-7"),
    ("prise_type_2", "sType2"),
    ("prise_type_combo_ccs", "cCCS2"),
    ("prise_type_chademo", "cG105"),
    ("prise_type_autre", "Undetermined"),
)


def _word(words: Mapping[str, str]) -> Callable[[str], str]:
    """A parser of the schema's words, whatever their case."""
    by_name = {name.casefold(): ours for name, ours in words.items()}

    def parse(text: str) -> str:
        if text.casefold() not in by_name:
            raise ValueError(f"takes one of: {', '.join(words)}")
        return by_name[text.casefold()]

    return parse


def _as_written(text: str) -> str:
    return text


SITE: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "nom_amenageur": ("owner_name", _as_written),
    "siren_amenageur": ("owner_siren", _as_written),
    "contact_amenageur": ("owner_email", _as_written),
    "nom_operateur": ("operator_name", _as_written),
    "contact_operateur": ("operator_email", _as_written),
    "telephone_operateur": ("operator_phone", _as_written),
    "nom_enseigne": ("brand_name", _as_written),
    "id_station_local": ("local_id", _as_written),
    "implantation_station": ("implantation", _word(irve.IMPLANTATION)),
    "code_insee_commune": ("insee_code", _as_written),
    "condition_acces": ("access", _word(irve.ACCESS)),
    "horaires": ("opening_hours", _as_written),
    "station_deux_roues": ("two_wheelers_only", _as_written),
    "raccordement": ("grid_connection", _word(irve.GRID_CONNECTION)),
    "num_pdl": ("delivery_point", _as_written),
    "date_mise_en_service": ("commissioned_on", _as_written),
}
"""Column: member of the site's static data, and how its words are read."""

POINT: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "id_pdc_local": ("local_id", _as_written),
    "gratuit": ("free", _as_written),
    "paiement_acte": ("pays_ad_hoc", _as_written),
    "paiement_cb": ("pays_card", _as_written),
    "paiement_autre": ("pays_other", _as_written),
    "tarification": ("tariff_text", _as_written),
    "reservation": ("reservation", _as_written),
    "accessibilite_pmr": ("pmr_access", _word(irve.PMR_ACCESS)),
    "restriction_gabarit": ("size_limits", _as_written),
    "observations": ("observations", _as_written),
}
"""Column: member of the EVSE's static data, and how its words are read."""

_ADDRESS = re.compile(r"(?P<address>.+?)[,\s]+(?P<postal_code>\d{5})\s+(?P<city>\D.*)")


def is_irve(header: Sequence[str]) -> bool:
    """Whether the header is that of a static IRVE file."""
    return "id_pdc_itinerance" in header or "id_station_itinerance" in header


def read(table: Table, plan: Plan) -> None:
    """Put the rows into the plan, and what is wrong with them."""
    missing = [column for column in _REQUIRED if column not in table.header]
    for column in missing:
        plan.refuse(1, column, "", "this column of the IRVE schema is missing")
    if missing:
        return
    announced: dict[str, tuple[int, int]] = {}
    for record in table.records:
        station_id = _read_row(record, plan)
        count = cell(record, "nbre_pdc", plan, reading.whole_number(0, 10_000), required=True)
        if station_id is not None and count is not None:
            announced.setdefault(station_id, (count, record.line))
    found = Counter({station.id: len(station.evses) for station in plan.stations.values()})
    for station_id, (count, line) in announced.items():
        if count != found[station_id]:
            reason = f"announced points; the file has {found[station_id]} of this station"
            plan.warn(line, "nbre_pdc", str(count), reason)


def _read_row(record: Record, plan: Plan) -> str | None:
    """The row's station; None when it has none that can be used."""
    station_id = _identifier(record, "id_station_itinerance", "id_station_local", plan)
    uid = _identifier(record, "id_pdc_itinerance", "id_pdc_local", plan)
    power_w_max = _power_w(record, plan)
    connectors = _connectors(record, plan, power_w_max)
    site_name = cell(record, "nom_station", plan, reading.name, required=True)
    address = cell(record, "adresse_station", plan, reading.name, required=True)
    longitude, latitude = _coordinates(record, plan)
    rest: dict[str, str] = {}
    if station_id is None or uid is None:
        return None
    site = plan.site(station_id, record.line)
    plan.merge(site.values, {"name": site_name}, record.line, site.line, {"name": "nom_station"})
    known = _address(address) | {"longitude": longitude, "latitude": latitude}
    known |= _members(record, SITE, SiteStatic, plan, rest)
    if record["id_station_itinerance"].lower() != NOT_CONCERNED:
        known["afirev_station_id"] = station_id
    _add_to_site(site, known, record, plan)
    station = plan.station(station_id, record.line)
    station.values |= {"site_id": station_id, "public": True}
    evse = EvsePlan(record.line, None, {"public": True}, {}, connectors)
    evse.static |= _members(record, POINT, EvseStatic, plan, rest)
    if record["id_pdc_itinerance"].lower() != NOT_CONCERNED:
        evse.values["evse_uid"] = uid
    rest |= {column: text for column, text in record.cells.items() if column not in _USED and text}
    if rest:
        evse.static["other"] = {"irve": rest}
    plan.claim_uid(
        f"{station_id} {uid}" if "evse_uid" not in evse.values else uid,
        "id_pdc_itinerance",
        record.line,
    )
    station.evses.append(evse)
    return station_id


_USED = {*_REQUIRED, *SITE, *POINT, "cable_t2_attache"}


def _members(
    record: Record,
    columns: Mapping[str, tuple[str, Callable[[str], Any]]],
    model: type[SiteStatic] | type[EvseStatic],
    plan: Plan,
    rest: dict[str, str],
) -> dict[str, Any]:
    """The members that the columns fill. What breaks a rule is told, and goes as it is written
    into `rest`: the file is another's, and its other facts are good."""
    values: dict[str, Any] = {}
    for column, (member, read) in columns.items():
        text = record[column]
        if not text:
            continue
        try:
            values[member] = value_of(model, member, read(text))
        except ValueError as error:
            plan.warn(record.line, column, text, f"is kept as written: {error}")
            rest[column] = text
    return values


def _add_to_site(site: SitePlan, known: Mapping[str, Any], record: Record, plan: Plan) -> None:
    """What a row says of its station; a row that says otherwise than an earlier one is told."""
    for member, value in known.items():
        if value is not None and site.static.setdefault(member, value) != value:
            reason = (
                f"is not the {member} of the station's first row, line {site.line}, which is kept"
            )
            plan.warn(record.line, None, str(value), reason)


def _address(text: str | None) -> dict[str, Any]:
    """Street, postal code and city from one line; the line as a whole where it is not so made."""
    found = _ADDRESS.fullmatch(text or "")
    if found is None:
        return {"address": text}
    return {name: value.strip() for name, value in found.groupdict().items()}


def _identifier(record: Record, column: str, local_column: str, plan: Plan) -> str | None:
    """The roaming identifier in its canonical form, or where there is none the local one."""
    if record[column].lower() != NOT_CONCERNED:
        rule = point_rules.station_id if "station" in column else point_rules.point_id
        return cell(record, column, plan, by_rule(rule), required=True)
    if not record[local_column]:
        reason = f"needs {local_column} where there is no roaming identifier"
        plan.refuse(record.line, local_column, "", reason)
    return cell(record, local_column, plan, reading.name)


def _power_w(record: Record, plan: Plan) -> int | None:
    power_kw = cell(
        record, "puissance_nominale", plan, reading.number(0.5, POWER_KW_MOST), required=True
    )
    if power_kw is None:
        return None
    if power_kw > POWER_KW_ODD:
        plan.warn(record.line, "puissance_nominale", f"{power_kw:g}", "is much: in kW?")
    return round(power_kw * 1000)


def _connectors(
    record: Record, plan: Plan, power_w_max: int | None
) -> dict[int, dict[str, object]]:
    """The sockets and cables of the point, numbered in the order of the schema."""
    kinds = [
        kind
        for column, kind in _SOCKETS
        if cell(record, column, plan, reading.truth, required=True)
    ]
    if cell(record, "cable_t2_attache", plan, reading.truth):
        kinds = ["cType2" if kind == "sType2" else kind for kind in kinds]
    if not kinds and all(record[column] for column, _ in _SOCKETS):
        plan.refuse(record.line, None, "", "the point has no socket: one prise_type_... is true")
    return {
        number: {"type": kind, "power_w_max": power_w_max}
        for number, kind in enumerate(kinds, start=1)
    }


def _coordinates(record: Record, plan: Plan) -> tuple[float | None, float | None]:
    """Longitude and latitude, from "[7.48, 48.34]"."""
    pair = cell(record, "coordonneesxy", plan, _pair, required=True)
    return pair or (None, None)


def _pair(text: str) -> tuple[float, float]:
    try:
        longitude, latitude = json.loads(text)
        pair = (
            reading.number(-180, 180)(str(longitude)),
            reading.number(-90, 90)(str(latitude)),
        )
    except (TypeError, ValueError, RecursionError):
        raise ValueError("takes [longitude, latitude] in degrees") from None
    try:
        point_rules.region(*pair)
    except Broken as broken:
        raise ValueError(static_data.message(broken.code, "en", **broken.parts)) from None
    return pair
