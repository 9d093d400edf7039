"""What a public point still lacks to be declared: pure, for a report, never a refusal.

Three readers want different things: `irve` is the national file of data.gouv (schema 2.3.1),
`qualicharge` the stricter service of the ministry, `ocpi` a roaming hub (2.2.1, GIREVE's guide).
Where a finding names a member of the site, all its points have it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from dataclasses import field as member
from datetime import date
from typing import Any, Literal, TypeVar

from csms.domain import point_rules
from csms.domain.point_rules import Broken
from csms.static_data import irve
from csms.static_data.models import EvseStatic, SiteStatic, StationStatic
from csms.static_data.reading import Flaw, lenient, life_of, terms_of
from csms.static_data.texts import Language, message

Reader = Literal["irve", "qualicharge", "ocpi"]
READERS: tuple[Reader, ...] = ("irve", "qualicharge", "ocpi")
QUALICHARGE_POWER_W_LEAST = 1_300

_DC_ONLY = frozenset({"cCCS1", "cCCS2", "cG105"})
_BOTH = frozenset({"cTesla", "Other1PhMax16A", "Other1PhOver16A", "Other3Ph", "Pan"})
_NATIONAL: tuple[Reader, ...] = ("irve", "qualicharge")
_QUALICHARGE: tuple[Reader, ...] = ("qualicharge",)
_OCPI: tuple[Reader, ...] = ("ocpi",)
_SITE_NEEDS: Mapping[str, tuple[Reader, ...]] = {
    "owner_name": ("qualicharge", "ocpi"),
    "owner_siren": _QUALICHARGE,
    "owner_email": _QUALICHARGE,
    "operator_name": ("qualicharge", "ocpi"),
    "operator_email": _NATIONAL,
    "operator_phone": _QUALICHARGE,
    "brand_name": _NATIONAL,
    "afirev_station_id": _NATIONAL,
    "implantation": _NATIONAL,
    "address": READERS,
    "postal_code": _NATIONAL,
    "city": READERS,
    "insee_code": _QUALICHARGE,
    "longitude": READERS,
    "latitude": READERS,
    "opening_hours": _NATIONAL,
    "access": _NATIONAL,
    "two_wheelers_only": _NATIONAL,
    "grid_connection": _QUALICHARGE,
}
_TERMS_NEEDS = ("pmr_access", "reservation", "pays_ad_hoc")
_CONNECTOR_NEEDS = ("format", "current", "voltage_max_v", "current_max_a")

Static = TypeVar("Static", SiteStatic, StationStatic, EvseStatic)


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """A site; `static` as it is stored."""

    name: str
    static: Mapping[str, Any] = member(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StationFacts:
    """A station."""

    static: Mapping[str, Any] = member(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EvseFacts:
    """A point: its AFIREV identifier, power, and connectors' types by number."""

    evse_uid: str | None
    power_w_max: int | None
    connectors: Mapping[int, str | None] = member(default_factory=dict)
    static: Mapping[str, Any] = member(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that keeps a point from being declared."""

    code: str
    field: str  # site.address, station.commissioned_on, evse.connectors.1.format
    needed_by: tuple[Reader, ...]
    parts: Mapping[str, Any] = member(default_factory=dict)

    def told(self, language: Language = "en") -> str:
        """The sentence for people."""
        parts = {
            name: part.told(language) if isinstance(part, Flaw) else part
            for name, part in self.parts.items()
        }
        return message(self.code, language, **parts)


def declarable(
    site: SiteFacts, station: StationFacts, evse: EvseFacts, today: date
) -> list[Finding]:
    """What the point lacks, in the order of site, station, point; empty: nothing."""
    findings: list[Finding] = []
    site_static = _load(SiteStatic, site.static, "site", findings)
    station_static = _load(StationStatic, station.static, "station", findings)
    evse_static = _load(EvseStatic, evse.static, "evse", findings)
    flawed = {finding.field for finding in findings}
    for finding in (
        *_of_site(site, site_static, today),
        *_of_terms(site_static, evse_static),
        *_of_life(station_static, evse_static, today),
        *_of_point(site_static, evse),
        *_of_connectors(evse, evse_static),
    ):
        if finding.field not in flawed:
            findings.append(finding)
    return findings


def _load(
    model: type[Static], stored: Mapping[str, Any], name: str, findings: list[Finding]
) -> Static:
    """What is stored, and a finding for each thing in it that is older than the rules."""
    found, flaws = lenient(model, stored)
    findings += [_flawed(name, flaw) for flaw in flaws]
    return found


def _flawed(name: str, flaw: Flaw) -> Finding:
    place = f"{name}.{flaw.field}" if flaw.field else name
    return Finding("stored_badly", place, READERS, {"reason": flaw})


def _of_site(site: SiteFacts, static: SiteStatic, today: date) -> Iterator[Finding]:
    if not site.name:
        yield Finding("missing", "site.name", _NATIONAL)
    for name, readers in _SITE_NEEDS.items():
        if getattr(static, name) is None:
            yield Finding("missing", f"site.{name}", readers)
    if static.grid_connection == "direct" and static.delivery_point is None:
        yield Finding("pdl_direct", "site.delivery_point", _NATIONAL)
    if static.afirev_station_id and not static.afirev_station_id.startswith("FR"):
        yield Finding("not_french", "site.afirev_station_id", _QUALICHARGE)
    if static.commissioned_on and static.commissioned_on > today:
        yield Finding("in_future", "site.commissioned_on", _QUALICHARGE)
    yield from _of_commune(static)


def _of_commune(static: SiteStatic) -> Iterator[Finding]:
    """Whether commune and coordinates lie in the same part of France."""
    if static.insee_code is None or static.longitude is None or static.latitude is None:
        return
    try:
        region = point_rules.region(static.longitude, static.latitude)
    except Broken as broken:  # another country is named: the national register takes none
        yield Finding(broken.code, "site.longitude", _QUALICHARGE, broken.parts)
        return
    if not point_rules.lies_in(static.insee_code, region):
        parts = {"value": static.insee_code, "meant": region.name}
        yield Finding("commune_elsewhere", "site.insee_code", _NATIONAL, parts)


def _of_terms(site: SiteStatic, evse: EvseStatic) -> Iterator[Finding]:
    terms = terms_of(site, evse)
    for name in _TERMS_NEEDS:
        if getattr(terms, name) is None:
            yield Finding("missing", f"evse.{name}", _NATIONAL)
    if terms.free and terms.tariff_text is not None:
        yield Finding("tariff_free_contradiction", "evse.tariff_text", _NATIONAL)


def _of_life(station: StationStatic, evse: EvseStatic, today: date) -> Iterator[Finding]:
    life = life_of(station, evse)
    if life.commissioned_on is not None and life.commissioned_on > today:
        yield Finding("in_future", "evse.commissioned_on", READERS)
    if life.decommissioned_on is not None and life.decommissioned_on <= today:
        yield Finding("decommissioned", "evse.decommissioned_on", READERS)


def _of_point(site: SiteStatic, evse: EvseFacts) -> Iterator[Finding]:
    if evse.evse_uid is None:
        yield Finding("missing", "evse.evse_uid", READERS)
    elif not evse.evse_uid.startswith("FR"):
        yield Finding("not_french", "evse.evse_uid", _QUALICHARGE)
    pool = site.afirev_station_id
    if evse.evse_uid is not None and pool is not None and evse.evse_uid[:5] != pool[:5]:
        parts = {"value": evse.evse_uid[:5], "meant": pool[:5]}
        yield Finding("prefix_differs", "evse.evse_uid", READERS, parts)
    if evse.power_w_max is None:
        yield Finding("missing", "evse.power_w_max", _NATIONAL)
    elif evse.power_w_max < QUALICHARGE_POWER_W_LEAST:
        parts = {"least": str(QUALICHARGE_POWER_W_LEAST)}
        yield Finding("power_too_little", "evse.power_w_max", _QUALICHARGE, parts)


def _of_connectors(evse: EvseFacts, static: EvseStatic) -> Iterator[Finding]:
    if not set(evse.connectors.values()) - irve.NOT_KNOWN - {None}:
        yield Finding("no_connector", "evse.connectors", READERS)
    known = {connector.connector_id: connector for connector in static.connectors}
    for number, kind in evse.connectors.items():
        connector, place = known.get(number), f"evse.connectors.{number}"
        for name in _CONNECTOR_NEEDS:
            if getattr(connector, name, None) is None:
                yield Finding("missing", f"{place}.{name}", _OCPI)
        if connector is None or connector.current is None or kind is None:
            continue
        is_dc = connector.current == "dc"
        if kind in _DC_ONLY and not is_dc:
            yield Finding("current_dc_only", f"{place}.current", READERS, {"value": kind})
        elif kind not in _DC_ONLY | _BOTH | irve.NOT_KNOWN and is_dc:
            yield Finding("current_ac_only", f"{place}.current", READERS, {"value": kind})
