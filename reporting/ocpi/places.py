"""Places as partners are told of them: a site is a Location, a point an EVSE. Pure.

A point that lacks what OCPI or the hub's guide demands is left out; the report of static data says
what it lacks (csms.static_data.declaring). Statuses are told apart, as they change.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from csms.domain import opening_hours
from csms.domain.point_rules import Broken
from csms.static_data import (
    ConnectorStatic,
    EvseFacts,
    EvseStatic,
    PointTerms,
    SiteFacts,
    SiteStatic,
    StationFacts,
    declarable,
    lenient,
    terms_of,
)
from csms.static_data.models import FRANCE
from reporting.ocpi.cdrs import Party
from reporting.ocpi.kinds import Capability, EvseStatus
from reporting.ocpi.objects import (
    BusinessDetails,
    CdrLocation,
    Connector,
    Coordinates,
    DisplayText,
    EnergyMix,
    Evse,
    Hours,
    Location,
    RegularHours,
)

STANDARDS: Final[Mapping[str, str]] = {
    "cCCS1": "IEC_62196_T1_COMBO",
    "cCCS2": "IEC_62196_T2_COMBO",
    "cG105": "CHADEMO",
    "cTesla": "TESLA_S",
    "cType1": "IEC_62196_T1",
    "cType2": "IEC_62196_T2",
    "sType2": "IEC_62196_T2",
    "sType3": "IEC_62196_T3C",
    "sBS1361": "DOMESTIC_G",
    "sCEE-7-7": "DOMESTIC_E",
    "s309-1P-16A": "IEC_60309_2_single_16",
    "s309-3P-16A": "IEC_60309_2_three_16",
    "s309-3P-32A": "IEC_60309_2_three_32",
    "Pan": "PANTOGRAPH_BOTTOM_UP",
}
"""OCPI ConnectorType of our connector types (ConnectorEnumType of OCPP 2.0.1)."""

STATUSES: Final[Mapping[str, EvseStatus]] = {
    "available": "AVAILABLE",
    "preparing": "BLOCKED",  # a car stands there and does not charge
    "charging": "CHARGING",
    "suspended_ev": "CHARGING",
    "suspended_evse": "CHARGING",
    "occupied": "CHARGING",
    "finishing": "BLOCKED",
    "reserved": "RESERVED",
    "unavailable": "INOPERATIVE",
    "faulted": "OUTOFORDER",
}
ADDRESS_LENGTH_MAX: Final = 45
POSTAL_CODE_LENGTH_MAX: Final = 10
LABEL_LENGTH_MAX: Final = 16
ID_LENGTH_MAX: Final = 36
FACILITY_LENGTH_MAX: Final = 36
DAY_MINUTES: Final = 1440
_CANONICAL: Final = re.compile(r"([A-Z]{2})([A-Z0-9]{3})(E[A-Z0-9]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A point of a place, as it is stored; `tariff_ids` are those that hold there now."""

    station_key: int
    evse_id: int
    evse_uid: str
    power_w_max: int | None
    station_static: Mapping[str, Any]
    evse_static: Mapping[str, Any]
    connectors: Sequence[Mapping[str, Any]]  # connector_id, type, power_w_max
    is_public: bool
    status: str
    is_connected: bool
    tariff_ids: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A site and those of its points that have an identifier."""

    site_id: str
    client_id: int
    name: str
    static: Mapping[str, Any]
    time_zone: str
    points: Sequence[Point]
    is_whole: bool  # its sessions are told without drivers, those at private points among them

    @property
    def told_points(self) -> Sequence[Point]:
        """Those that the partner is told of: a private point beside public ones is nobody's
        business, for OCPI publishes places as a whole."""
        public = [point for point in self.points if point.is_public]
        return self.points if self.is_whole or not public else public


def status_of(status: str, is_connected: bool) -> EvseStatus:
    """How a point stands; that of a station that is away is not known."""
    return STATUSES.get(status, "UNKNOWN") if is_connected else "UNKNOWN"


def location(party: Party, place: Place, now: datetime, today: date) -> Location | None:
    """The place with the points that lack nothing; None: there are none, or its id is too long."""
    site, _ = lenient(SiteStatic, place.static)
    facts = SiteFacts(place.name, place.static)
    evses = [
        found for point in place.told_points if (found := _evse(site, facts, point, now, today))
    ]
    if not evses or len(place.site_id) > ID_LENGTH_MAX:
        return None
    assert site.address is not None and site.city is not None  # else every point would lack it
    return Location(
        country_code=party.country_code,
        party_id=party.party_id,
        id=place.site_id,
        publish=all(point.is_public for point in place.told_points),
        name=place.name or None,
        address=site.address[:ADDRESS_LENGTH_MAX],
        city=site.city[:ADDRESS_LENGTH_MAX],
        postal_code=(site.postal_code or "")[:POSTAL_CODE_LENGTH_MAX] or None,
        country=site.country or FRANCE,
        coordinates=_coordinates(site),
        parking_type=_word(site.parking_type),
        evses=evses,
        directions=_texts(site.directions),
        operator=_business(site.operator_name),
        owner=_business(site.owner_name),
        facilities=_facilities(site.facilities or ()),
        time_zone=place.time_zone,
        opening_times=opening_times(site.opening_hours),
        energy_mix=_energy(site),
        last_updated=now,
    )


def cdr_location(place: Location, evse: Evse, connector_id: str) -> CdrLocation:
    """Where a session was; of an unknown connector the first one."""
    connector = next((c for c in evse.connectors if c.id == connector_id), evse.connectors[0])
    assert evse.evse_id is not None  # all of ours have one
    return CdrLocation(
        id=place.id,
        name=place.name,
        address=place.address,
        city=place.city,
        postal_code=place.postal_code,
        country=place.country,
        coordinates=place.coordinates,
        evse_uid=evse.uid,
        evse_id=evse.evse_id,
        connector_id=connector.id,
        connector_standard=connector.standard,
        connector_format=connector.format,
        connector_power_type=connector.power_type,
    )


def rendered(evse_uid: str) -> str:
    """An identifier as OCPI has it: FRT2PE1234 is FR*T2P*E1234."""
    found = _CANONICAL.fullmatch(evse_uid)
    return evse_uid if found is None else "*".join(found.groups())


def opening_times(text: str | None) -> Hours | None:
    """Opening hours as they are kept. What ends on the next day is told as two; days off are not
    told, for OCPI names holidays by their dates. None: not known."""
    if text is None:
        return None
    if text.strip() == opening_hours.ALWAYS:
        return Hours(twentyfourseven=True)
    try:
        periods = opening_hours.periods(text)
    except Broken:
        return None
    found = [
        hours
        for period in periods
        if period.day != opening_hours.HOLIDAYS
        for hours in _hours(period)
    ]
    return Hours(twentyfourseven=False, regular_hours=found) if found else None


def _hours(period: opening_hours.Period) -> list[RegularHours]:
    if period.begin_minute < period.end_minute:
        spans = [(period.day, period.begin_minute, period.end_minute)]
    else:
        spans = [
            (period.day, period.begin_minute, DAY_MINUTES),
            (period.day % 7 + 1, 0, period.end_minute),
        ]
    return [
        RegularHours(weekday=day, period_begin=_clock(begin), period_end=_clock(end))
        for day, begin, end in spans
        if begin < end
    ]


def _clock(minute: int) -> str:
    """OCPI's day ends at 23:59."""
    return "{:02}:{:02}".format(*divmod(min(minute, DAY_MINUTES - 1), 60))


def _evse(
    site: SiteStatic, facts: SiteFacts, point: Point, now: datetime, today: date
) -> Evse | None:
    lacks = declarable(
        facts,
        StationFacts(point.station_static),
        EvseFacts(
            point.evse_uid,
            point.power_w_max,
            {c["connector_id"]: c["type"] for c in point.connectors},
            point.evse_static,
        ),
        today,
    )
    static, _ = lenient(EvseStatic, point.evse_static)
    known = {connector.connector_id: connector for connector in static.connectors}
    connectors = [
        made
        for stored in point.connectors
        if (made := _connector(stored, known.get(stored["connector_id"]), point, now))
    ]
    if any("ocpi" in lack.needed_by for lack in lacks) or not connectors:
        return None
    return Evse(
        uid=point.evse_uid,
        evse_id=rendered(point.evse_uid),
        status=status_of(point.status, point.is_connected),
        capabilities=_capabilities(terms_of(site, static)),
        connectors=connectors,
        floor_level=None if static.floor is None else str(static.floor)[:4],
        physical_reference=(static.label or static.local_id or "")[:LABEL_LENGTH_MAX] or None,
        directions=_texts(static.directions),
        last_updated=now,
    )


def _connector(
    stored: Mapping[str, Any], static: ConnectorStatic | None, point: Point, now: datetime
) -> Connector | None:
    standard = STANDARDS.get(stored["type"] or "")
    if standard is None or static is None:
        return None
    if static.format is None or static.current is None:
        return None
    return Connector(
        id=str(stored["connector_id"]),
        standard=standard,
        format="CABLE" if static.format == "cable" else "SOCKET",
        power_type=_word(static.current),
        max_voltage=static.voltage_max_v or 0,
        max_amperage=static.current_max_a or 0,
        max_electric_power=stored["power_w_max"] or point.power_w_max,
        tariff_ids=list(point.tariff_ids) or None,
        last_updated=now,
    )


def _capabilities(terms: PointTerms) -> list[Capability]:
    found: list[Capability] = ["RFID_READER", "REMOTE_START_STOP_CAPABLE"]
    if terms.pays_card:
        found.append("CREDIT_CARD_PAYABLE")
    if terms.pays_card_contactless:
        found.append("CONTACTLESS_CARD_SUPPORT")
    return found


def _coordinates(site: SiteStatic) -> Coordinates:
    assert site.latitude is not None and site.longitude is not None
    return Coordinates(latitude=f"{site.latitude:.6f}", longitude=f"{site.longitude:.6f}")


def _business(name: str | None) -> BusinessDetails | None:
    return BusinessDetails(name=name[:100]) if name else None


def _texts(text: str | None) -> list[DisplayText] | None:
    return [DisplayText(language="fr", text=text[:512])] if text else None


def _facilities(words: Iterable[str]) -> list[str] | None:
    return [word.upper()[:FACILITY_LENGTH_MAX] for word in words] or None


def _energy(site: SiteStatic) -> EnergyMix | None:
    if site.green_energy is None:
        return None
    return EnergyMix(
        is_green_energy=site.green_energy, supplier_name=(site.energy_supplier or "")[:64] or None
    )


def _word(ours: str | None) -> Any:
    """Our small letters are OCPI's capitals."""
    return None if ours is None else ours.upper()
