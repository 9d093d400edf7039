"""The availability report as people see it, and as programs do."""

from datetime import UTC, datetime
from typing import Any, Final

from billing import formats
from reporting import sheet as sheets
from reporting.availability import Availability, State
from reporting.availability_reading import AvailabilityReport
from reporting.availability_report import GroupFigures, Outage, Place, PointFigures
from reporting.availability_texts import TEXTS
from reporting.sheet import Column, Figure, Kind, Section, Sheet, Table
from reporting.store_windows import WindowRow

OUTAGES_SHOWN: Final = 60


def sheet_of(report: AvailabilityReport, language: str, of: str | None = None) -> Sheet:
    """The report in one language; `of`: whose it is, where it is not that of all clients."""
    words, figures = TEXTS[language], report.figures
    total = figures.total
    running = figures.measured_to < figures.period.ends_at
    outages = sum(len(one.outages) for one in figures.points)
    sites = len(figures.sites)
    rate = total.hundredths_of_percent
    return Sheet(
        title=words["title"],
        of=of or _of(report, words),
        span=report.span.shown(language),
        made_at=report.made_at,
        made=words["made_running" if running else "made"].format(
            moment=formats.moment(report.made_at, language)
        ),
        language=language,
        figures=(
            Figure(
                words["availability"],
                sheets.shown(rate, Kind.PERCENT, language),
                words["none_counts"] if rate is None else "",
            ),
            Figure(
                words["points"],
                sheets.number(len(figures.points), language),
                words["points_note_one" if sites == 1 else "points_note"].format(sites=sites),
            ),
            Figure(words["outages"], sheets.number(outages, language)),
            Figure(words["down_time"], sheets.duration(total.down_s, language)),
            Figure(
                words["left_out"],
                sheets.duration(total.left_out_s, language),
                words["left_out_note"],
            ),
            Figure(words["unknown_time"], sheets.duration(total.unknown_s, language)),
        ),
        rules_title=words["rules_title"],
        rules=_rules(report, language, running=running),
        sections=tuple(_sections(report, language)),
    )


def as_json(report: AvailabilityReport) -> dict[str, Any]:
    """The report for programs: durations in seconds, rates in hundredths of a percent."""
    figures = report.figures
    return {
        "from_on": str(report.span.first),
        "to_on": str(report.span.last),
        "starts_at": _utc(figures.period.starts_at),
        "ends_at": _utc(figures.period.ends_at),
        "measured_to": _utc(figures.measured_to),
        "made_at": _utc(report.made_at),
        "rules": list(_rules(report, "en", running=figures.measured_to < figures.period.ends_at)),
        "total": _availability(figures.total),
        "clients": [_group(one) for one in figures.clients],
        "sites": [
            {"site_id": one.site_id, "site": one.site} | _group(one) for one in figures.sites
        ],
        "points": [_point(one) for one in figures.points],
        "windows": [
            {
                "id": one.id,
                "site_id": one.site_id,
                "station_id": one.station_id,
                "evse_id": one.evse_id,
                "kind": one.kind,
                "starts_at": _utc(one.starts_at),
                "ends_at": _utc(one.ends_at),
                "cause": one.cause,
                "created_at": _utc(one.created_at),
                "created_by": one.created_by,
                "revoked_for": one.revoked_for,
                "contradicts": one.contradicts,
            }
            for one in report.windows
        ],
    }


def _of(report: AvailabilityReport, words: dict[str, str]) -> str:
    clients = {one.client for one in report.figures.clients}
    return next(iter(clients)) if len(clients) == 1 else words["all"]


def _rules(report: AvailabilityReport, language: str, *, running: bool) -> tuple[str, ...]:
    words = TEXTS[language]
    hours = report.figures.measured_to - report.figures.period.starts_at
    span = words["rule_span"].format(
        span=report.span.shown(language),
        hours=sheets.number(int(hours.total_seconds()) // 3_600, language),
        running=words["rule_running"] if running else "",
    )
    others = ("up", "offline", "windows", "unknown", "rate", "station", "again")
    return (span, *(words[f"rule_{name}"] for name in others))


# --- Parts ----------------------------------------------------------------------------------------

_RATE: Final = ("availability", Kind.PERCENT, 1.1)
_SECONDS: Final = (
    ("up_s", Kind.DURATION, 1.1),
    ("down_s", Kind.DURATION, 1.15),
    ("unknown_s", Kind.DURATION, 1.0),
    ("left_out_s", Kind.DURATION, 1.0),
    ("count", Kind.NUMBER, 1.15),
)


def _columns(words: dict[str, str], *columns: tuple[str, Kind, float]) -> tuple[Column, ...]:
    return tuple(Column(words[name], kind, width) for name, kind, width in columns)


def _sections(report: AvailabilityReport, language: str) -> list[Section]:
    words, figures = TEXTS[language], report.figures
    several_clients, several_sites = len(figures.clients) > 1, len(figures.sites) > 1
    total = (*_cells(figures.total), sum(one.outages for one in figures.clients))
    found = []
    if several_clients:
        columns = _columns(
            words, ("client", Kind.TEXT, 2.4), ("points", Kind.NUMBER, 0.8), _RATE, *_SECONDS
        )
        rows = tuple((one.client, one.points, *_group_cells(one)) for one in figures.clients)
        last = (words["total"], len(figures.points), *total)
        found.append(
            Section(words["by_client"], table=Table(words["by_client"], columns, rows, last))
        )
    if several_sites:
        columns = _columns(
            words, ("site", Kind.TEXT, 2.4), ("points", Kind.NUMBER, 0.8), _RATE, *_SECONDS
        )
        rows = tuple((one.site or "–", one.points, *_group_cells(one)) for one in figures.sites)
        last = (words["total"], len(figures.points), *total)
        found.append(Section(words["by_site"], table=Table(words["by_site"], columns, rows, last)))
    columns = _columns(words, ("point", Kind.TEXT, 3.0), _RATE, *_SECONDS)
    rows = tuple(
        (_name(one.place, several_sites), *_cells(one.availability), len(one.outages))
        for one in figures.points
    )
    found.append(
        Section(
            words["by_point"],
            table=Table(words["by_point"], columns, rows, (words["total"], *total)),
        )
    )
    return [
        *found,
        _states(report, words, several_sites),
        _outages(report, words, several_sites),
        _windows(report, words),
    ]


def _states(report: AvailabilityReport, words: dict[str, str], with_site: bool) -> Section:
    points = report.figures.points
    columns = _columns(
        words,
        ("point", Kind.TEXT, 2.8),
        *((state.value, Kind.DURATION, 1.05) for state in State),
    )
    rows = tuple(
        (_name(one.place, with_site), *(one.seconds[state] for state in State)) for one in points
    )
    total = (words["total"], *(sum(one.seconds[state] for one in points) for state in State))
    table = Table(words["by_state"], columns, rows, total)
    return Section(words["by_state"], words["by_state_intro"], table=table)


def _outages(report: AvailabilityReport, words: dict[str, str], with_site: bool) -> Section:
    figures = report.figures
    listed = sorted(
        ((outage, one.place) for one in figures.points for outage in one.outages),
        key=lambda pair: (-pair[0].duration_s, pair[0].starts_at),
    )
    if not listed:
        return Section(words["outage_list"], words["outage_none"])

    def row(outage: Outage, place: Place) -> tuple[object, ...]:
        causes = ", ".join(words[state.value].lower() for state in outage.states)
        name = _name(place, with_site)
        return (name, outage.starts_at, outage.ends_at, outage.duration_s, causes)

    columns = _columns(
        words,
        ("point", Kind.TEXT, 2.4),
        ("from", Kind.MOMENT, 1.5),
        ("to", Kind.MOMENT, 1.5),
        ("duration", Kind.DURATION, 1.1),
        ("causes", Kind.TEXT, 2.0),
    )
    rows = tuple(row(*pair) for pair in listed)
    intro = words["outage_order"]
    if len(rows) > OUTAGES_SHOWN:
        intro = words["outage_more"].format(shown=OUTAGES_SHOWN, total=len(rows))
    table = Table(words["outage_list"], columns, rows[:OUTAGES_SHOWN], more=rows[OUTAGES_SHOWN:])
    return Section(words["outage_list"], intro, table=table)


def _windows(report: AvailabilityReport, words: dict[str, str]) -> Section:
    if not report.windows:
        return Section(words["window_list"], words["window_none"])
    columns = _columns(
        words,
        ("place", Kind.TEXT, 1.8),
        ("kind", Kind.TEXT, 1.2),
        ("from", Kind.MOMENT, 1.15),
        ("to", Kind.MOMENT, 1.15),
        ("cause", Kind.TEXT, 1.9),
        ("entered_at", Kind.MOMENT, 1.15),
        ("standing", Kind.TEXT, 1.3),
    )
    sites = {one.site_id: one.site for one in report.figures.sites}
    in_order = sorted(report.windows, key=lambda one: (one.starts_at, one.id))
    rows = tuple(
        (
            _place(one, sites, words),
            words[one.kind],
            one.starts_at,
            one.ends_at,
            one.cause,
            one.created_at,
            _standing(one, words),
        )
        for one in in_order
    )
    notes = (words["window_contradicts"],) if any(one.contradicts for one in in_order) else ()
    return Section(
        words["window_list"], table=Table(words["window_list"], columns, rows), notes=notes
    )


def _place(window: WindowRow, sites: dict[str | None, str], words: dict[str, str]) -> str:
    if window.station_id is None:
        site = sites.get(window.site_id) or window.site_id
        return words["whole_site"].format(site=site)
    if window.evse_id is None:
        return words["whole_station"].format(station=window.station_id)
    return f"{window.station_id} · {window.evse_id}"


def _standing(window: WindowRow, words: dict[str, str]) -> str:
    parts = []
    if window.revoked_for is not None:
        parts.append(words["revoked"].format(reason=window.revoked_for))
    if window.created_at > window.starts_at:
        parts.append(words["afterwards"])
    if window.contradicts:
        numbers = ", ".join(map(str, window.contradicts))
        parts.append(words["contradicts"].format(numbers=numbers))
    return "\u202f; ".join(parts)


def _name(place: Place, with_site: bool) -> str:
    return f"{place.label} ({place.site})" if with_site and place.site else place.label


def _cells(found: Availability) -> tuple[int | None, ...]:
    return (
        found.hundredths_of_percent,
        found.up_s,
        found.down_s,
        found.unknown_s,
        found.left_out_s,
    )


def _group_cells(one: GroupFigures) -> tuple[int | None, ...]:
    return (*_cells(one.availability), one.outages)


# --- JSON -----------------------------------------------------------------------------------------


def _availability(found: Availability) -> dict[str, Any]:
    return {
        "availability_hundredths_of_percent": found.hundredths_of_percent,
        "up_s": found.up_s,
        "down_s": found.down_s,
        "unknown_s": found.unknown_s,
        "left_out_s": found.left_out_s,
    }


def _group(one: GroupFigures) -> dict[str, Any]:
    return {
        "client": one.client,
        "points": one.points,
        "outages": one.outages,
        **_availability(one.availability),
    }


def _point(one: PointFigures) -> dict[str, Any]:
    return {
        "client": one.place.client,
        "site_id": one.place.site_id,
        "station_id": one.place.station_id,
        "evse_id": one.place.evse_id,
        "label": one.place.label,
        "evse_uid": one.place.evse_uid,
        **_availability(one.availability),
        "seconds": {state.value: length for state, length in one.seconds.items()},
        "outages": [
            {
                "starts_at": _utc(outage.starts_at),
                "ends_at": _utc(outage.ends_at),
                "duration_s": outage.duration_s,
                "states": [state.value for state in outage.states],
            }
            for outage in one.outages
        ],
    }


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
