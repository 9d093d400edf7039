"""The static file from what is stored of the public points: one row a point in force.

| IRVE | here |
|---|---|
| station | a site: its columns are the same on all its rows |
| point de recharge | an EVSE |

A point that is not declared public never comes in here. One that is not in service yet, or no more,
is left out; one whose row would be wrong is held back with what to do about it, and `nbre_pdc`
counts the rows that are written.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as member
from datetime import date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from csms.static_data import (
    EvseFacts,
    EvseStatic,
    Language,
    PointTerms,
    SiteFacts,
    SiteStatic,
    StationFacts,
    StationStatic,
    declarable,
    irve,
    lenient,
    life_of,
    terms_of,
)
from csms.static_data import Finding as Lack
from csms.static_data.irve_columns import (
    UNKNOWN_LIMITS,
    degrees,
    limits_in_words,
    site_columns,
    terms_columns,
)
from csms.static_data.reading import Flaw
from csms.static_data.texts import TEXTS as RULES
from reporting.irve.checks import check_row, kilowatts
from reporting.irve.findings import Effect, Finding, shown
from reporting.irve.schema import STATIC, STATIC_NAMES, csv_bytes
from reporting.irve.texts import EXPECTED
from reporting.irve.together import Together

PARIS: Final = ZoneInfo("Europe/Paris")
PLACE_LENGTH_MAX: Final = 200
_NOT_IN_FORCE: Final = frozenset({"decommissioned"})
_DECIDING: Final = frozenset({"decommissioned_on"})  # of no column, but of whether there is a row

MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "nom_amenageur": ("site.owner_name",),
    "siren_amenageur": ("site.owner_siren",),
    "contact_amenageur": ("site.owner_email",),
    "nom_operateur": ("site.operator_name",),
    "contact_operateur": ("site.operator_email",),
    "telephone_operateur": ("site.operator_phone",),
    "nom_enseigne": ("site.brand_name",),
    "id_station_itinerance": ("site.afirev_station_id",),
    "id_station_local": ("site.local_id",),
    "nom_station": ("site.name",),
    "implantation_station": ("site.implantation",),
    "adresse_station": ("site.address", "site.postal_code", "site.city"),
    "code_insee_commune": ("site.insee_code",),
    "coordonneesXY": ("site.longitude", "site.latitude"),
    "id_pdc_itinerance": ("evse.evse_uid",),
    "id_pdc_local": ("evse.local_id",),
    "puissance_nominale": ("evse.power_w_max",),
    "prise_type_ef": ("evse.connectors",),
    "gratuit": ("evse.free",),
    "paiement_acte": ("evse.pays_ad_hoc",),
    "paiement_cb": ("evse.pays_card", "evse.pays_card_contactless"),
    "paiement_autre": ("evse.pays_other", "evse.pays_subscription", "evse.pays_roaming"),
    "tarification": ("evse.tariff_text",),
    "condition_acces": ("site.access",),
    "reservation": ("evse.reservation",),
    "horaires": ("site.opening_hours",),
    "accessibilite_pmr": ("evse.pmr_access",),
    "restriction_gabarit": (
        *("evse.size_limits", "evse.height_max_m", "evse.length_max_m"),
        *("evse.width_max_m", "evse.mass_max_t"),
    ),
    "station_deux_roues": ("site.two_wheelers_only",),
    "raccordement": ("site.grid_connection",),
    "num_pdl": ("site.delivery_point",),
    "date_mise_en_service": ("site.commissioned_on", "evse.commissioned_on"),
    "observations": ("evse.observations",),
}
"""Column: the members that fill it. What a point does not say itself its site may say, or its
station of its life."""
_COLUMN_OF: Final = {name: column for column, names in MEMBERS.items() for name in names}
_CELLS: Final = {column.name: column for column in STATIC}


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A point that is declared public, as it is stored."""

    site_id: str | None
    site_name: str
    site_static: Mapping[str, Any]
    client_id: int
    client: str
    station_id: str
    station_static: Mapping[str, Any]
    evse_id: int
    evse_uid: str | None
    power_w_max: int | None
    evse_static: Mapping[str, Any]
    connectors: Mapping[int, str | None]  # type by number
    changed_at: datetime

    def told(self, language: Language) -> str:
        """Where it is, for people."""
        uid = self.evse_uid or "-"
        if language == "fr":
            return (
                f"site {self.site_id or '-'}, point {uid} (borne {self.station_id}/{self.evse_id})"
            )
        return f"site {self.site_id or '-'}, point {uid} (station {self.station_id}/{self.evse_id})"


@dataclass(frozen=True, slots=True)
class Refused:
    """A point that is held back, or that somebody should look at, and why."""

    point: Point
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Static:
    """The file: its rows in order; what was held back, what is doubtful, what is not in force."""

    rows: tuple[dict[str, str], ...]
    refused: tuple[Refused, ...] = ()
    doubtful: tuple[Refused, ...] = ()
    not_in_force: tuple[Point, ...] = ()

    def content(self) -> bytes:
        """The file itself."""
        return csv_bytes(STATIC_NAMES, self.rows)

    @property
    def identifiers(self) -> frozenset[str]:
        """The points in it."""
        return frozenset(row["id_pdc_itinerance"] for row in self.rows)


@dataclass(slots=True)
class _Draft:
    """A row on its way."""

    point: Point
    row: dict[str, str]
    findings: list[Finding] = member(default_factory=list)

    @property
    def good(self) -> bool:
        return not any(finding.refuses for finding in self.findings)


def build(
    points: Iterable[Point],
    today: date,
    *,
    prefixes: Sequence[str] = (),
    closed_clients: Collection[int] = (),
) -> Static:
    """The file of these points on the day. `closed_clients` are those whose contract does not open
    the declaration; `prefixes` the operator's at AFIREV, none where they are not known."""
    not_in_force: list[Point] = []
    drafts: list[_Draft] = []
    for point in sorted(points, key=lambda p: (p.site_id or "", p.station_id, p.evse_id)):
        lacks = _lacks(point, today)
        if any(_is_not_in_force(lack) for lack in lacks):
            not_in_force.append(point)
            continue
        draft = _Draft(point, _row(point))
        if point.client_id in closed_clients:
            parts = {"client": point.client}
            draft.findings.append(Finding("service_closed", Effect.WRONG, parts=parts))
        draft.findings += _of_store(point, lacks)
        drafts.append(draft)
    _date_stations(drafts)
    for draft in drafts:
        told = {finding.column for finding in draft.findings}
        draft.findings += [
            finding
            for finding in check_row(draft.row, today, prefixes)
            if finding.column not in told
        ]
    _compare(drafts)
    return _finished(drafts, not_in_force)


def _finished(drafts: Sequence[_Draft], not_in_force: Iterable[Point]) -> Static:
    good = [draft for draft in drafts if draft.good]
    counts: dict[str, int] = defaultdict(int)
    for draft in good:
        counts[draft.row["id_station_itinerance"]] += 1
    for draft in good:
        draft.row["nbre_pdc"] = str(counts[draft.row["id_station_itinerance"]])
    rows = sorted(
        (draft.row for draft in good),
        key=lambda row: (row["id_station_itinerance"], row["id_pdc_itinerance"]),
    )
    told = [Refused(d.point, tuple(d.findings)) for d in drafts if d.findings and not d.good]
    doubts = [Refused(d.point, tuple(d.findings)) for d in good if d.findings]
    return Static(tuple(rows), tuple(told), tuple(doubts), tuple(not_in_force))


# --- What is stored -------------------------------------------------------------------------------


def _lacks(point: Point, today: date) -> list[Lack]:
    """What keeps the point from being declared nationally, by the rules of the static data."""
    found = declarable(
        SiteFacts(point.site_name, point.site_static),
        StationFacts(point.station_static),
        EvseFacts(point.evse_uid, point.power_w_max, point.connectors, point.evse_static),
        today,
    )
    return [lack for lack in found if "irve" in lack.needed_by]


def _is_not_in_force(lack: Lack) -> bool:
    return lack.code in _NOT_IN_FORCE or (
        lack.code == "in_future" and lack.field == "evse.commissioned_on"
    )


def _of_store(point: Point, lacks: Iterable[Lack]) -> list[Finding]:
    if point.site_id is None:
        return [Finding("no_site", Effect.FILE)]
    findings = [_of_lack(point, lack) for lack in lacks]
    return [finding for finding in findings if finding is not None]


def _of_lack(point: Point, lack: Lack) -> Finding | None:
    """The finding for people; None where no column of the file needs what is wrong there."""
    column = _column_of(lack.field)
    if lack.code == "missing":
        required = column and _CELLS[column].required
        effect = Effect.FILE if required else Effect.WRONG
        return Finding("stored_missing", effect, column, parts={"member": lack.field})
    if lack.code != "stored_badly":
        parts = {"reason": _Said(lack), "member": lack.field}
        return Finding("stored", Effect.WRONG, column, parts=parts)
    kind, _, name = lack.field.partition(".")
    if not column and name and name not in _DECIDING:
        return None
    parts = {"reason": _Reason(lack.parts["reason"], column), "member": lack.field}
    if not name:  # members that contradict each other
        return Finding("stored", Effect.WRONG, column, parts=parts)
    value = _stored_value(point, kind, name)
    return Finding("stored_badly", Effect.WRONG, column, value, parts=parts)


def _column_of(place: str) -> str:
    """The column that a member fills; a flaw may lie deep within it."""
    parts = place.split(".")
    if parts[:2] == ["evse", "connectors"]:
        return "prise_type_ef" if len(parts) == 2 or parts[-1] == "current" else ""
    name = ".".join(parts[:2])
    found = _COLUMN_OF.get(name)
    if found is None and parts[0] in ("site", "station"):  # where a point's may be said for it
        found = _COLUMN_OF.get(f"evse.{parts[-1]}")
    return found or ""


def _stored_value(point: Point, kind: str, name: str) -> str:
    static = {
        "site": point.site_static,
        "station": point.station_static,
        "evse": point.evse_static,
    }[kind]
    return str(static.get(name.partition(".")[0], ""))


class _Said:
    """What the static data's own rule says, in whichever language."""

    def __init__(self, lack: Lack) -> None:
        self._lack = lack

    def told(self, language: Language) -> str:
        return self._lack.told(language)


class _Reason:
    """Why what is stored cannot be used: its rule's sentence, else what the column takes."""

    def __init__(self, flaw: Flaw, column: str) -> None:
        self._flaw, self._column = flaw, column

    def told(self, language: Language) -> str:
        if self._flaw.code in RULES or not self._column:
            return self._flaw.told(language)
        column = _CELLS[self._column]
        kind = "words" if column.words else str(column.kind)
        return EXPECTED[kind][language].format(words=", ".join(column.words))


# --- A row ----------------------------------------------------------------------------------------


def _row(point: Point) -> dict[str, str]:
    """The point's row; `nbre_pdc` and the station's date are known once all rows are."""
    site, _ = lenient(SiteStatic, point.site_static)
    station, _ = lenient(StationStatic, point.station_static)
    evse, _ = lenient(EvseStatic, point.evse_static)
    terms = terms_of(site, evse)
    commissioned_on = site.commissioned_on or life_of(station, evse).commissioned_on
    cells: dict[str, object] = {
        **site_columns(point.site_name, site),
        "coordonneesXY": _place(site.longitude, site.latitude),
        **_of_terms(terms),
        **irve.sockets(point.connectors.values()),
        "id_pdc_itinerance": point.evse_uid,
        "id_pdc_local": evse.local_id,
        "puissance_nominale": (None if point.power_w_max is None else kilowatts(point.power_w_max)),
        "nbre_pdc": 1,
        "date_mise_en_service": commissioned_on,
        "date_maj": point.changed_at.astimezone(PARIS).date(),
    }
    return {name: _cell(cells[name]) for name in STATIC_NAMES}


def _of_terms(terms: PointTerms) -> dict[str, object]:
    return {
        **terms_columns(terms),
        "paiement_cb": _any(terms.pays_card, terms.pays_card_contactless),
        "paiement_autre": _any(terms.pays_other, terms.pays_subscription, terms.pays_roaming),
        "restriction_gabarit": _limits(terms),
    }


def _cell(value: object) -> str:
    """A value as the schema writes it; text on one line."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return " ".join(str(value).split())


def _any(*truths: bool | None) -> bool | None:
    """Yes where one is, no where one is known and none is yes."""
    known = [truth for truth in truths if truth is not None]
    return any(known) if known else None


def _place(longitude: float | None, latitude: float | None) -> str | None:
    """To a centimetre."""
    if longitude is None or latitude is None:
        return None
    return f"[{degrees(longitude, 7)},{degrees(latitude, 7)}]"


def _limits(terms: PointTerms) -> str:
    if terms.size_limits is not None:
        return terms.size_limits
    text = limits_in_words(terms)
    return text[:1].upper() + text[1:] or UNKNOWN_LIMITS


# --- Rows together --------------------------------------------------------------------------------


def _date_stations(drafts: Iterable[_Draft]) -> None:
    """A station is in service since its first point is, where the site does not say."""
    first: dict[str | None, str] = {}
    for draft in drafts:
        stated = draft.row["date_mise_en_service"]
        if stated:
            known = first.setdefault(draft.point.site_id, stated)
            first[draft.point.site_id] = min(known, stated)
    for draft in drafts:
        draft.row["date_mise_en_service"] = first.get(draft.point.site_id, "")


def _compare(drafts: Sequence[_Draft]) -> None:
    """Hold back what two declare: the consolidation could not decide either, and we know less."""
    points: dict[str, list[_Draft]] = defaultdict(list)
    stations: dict[str, dict[str | None, list[_Draft]]] = defaultdict(lambda: defaultdict(list))
    for draft in drafts:
        if draft.row["id_pdc_itinerance"]:
            points[draft.row["id_pdc_itinerance"]].append(draft)
        if draft.row["id_station_itinerance"]:
            of_station = stations[draft.row["id_station_itinerance"]]
            of_station[draft.point.site_id].append(draft)
    for uid, same in points.items():
        if len(same) > 1:
            others = ", ".join(f"{d.point.station_id}/{d.point.evse_id}" for d in same)
            finding = Finding(
                "duplicate_point", Effect.WRONG, "id_pdc_itinerance", uid, parts={"others": others}
            )
            for draft in same:
                draft.findings.append(finding)
    for name, sites in stations.items():
        if len(sites) > 1:
            others = ", ".join(str(site_id) for site_id in sites)
            finding = Finding(
                "station_shared",
                Effect.WRONG,
                "id_station_itinerance",
                name,
                parts={"others": others},
            )
            for of_site in sites.values():
                for draft in of_site:
                    draft.findings.append(finding)
    _doubt_connectors(drafts)


def _doubt_connectors(drafts: Iterable[_Draft]) -> None:
    good = [draft for draft in drafts if draft.good]
    together = Together()
    for number, draft in enumerate(good):
        together.add(draft.row, number)
    for finding in together.finish():
        if finding.code == "connector_as_point" and finding.line is not None:
            good[finding.line].findings.append(replace(finding, line=None))


def told(refused: Refused, language: Language) -> list[str]:
    """A line a finding: the site and point, the column, what is wrong, what to do."""
    where = shown(refused.point.told(language), PLACE_LENGTH_MAX)
    column = "colonne" if language == "fr" else "column"
    separator = " : " if language == "fr" else ": "
    return [
        f"{where}, {column} {finding.column}{separator}{finding.told(language)}"
        if finding.column
        else f"{where}{separator}{finding.told(language)}"
        for finding in refused.findings
    ]
