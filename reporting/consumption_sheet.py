"""The consumption report as people see it, and as programs do."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from billing import formats
from reporting import pictures
from reporting import sheet as sheets
from reporting.consumption import Habits, Load, Named, Sum, User
from reporting.consumption_reading import ConsumptionReport
from reporting.consumption_texts import TEXTS
from reporting.load_curve import mean_power_w
from reporting.sheet import Column, Figure, Kind, Section, Sheet, Table

USERS_SHOWN: Final = 60
SITES_DRAWN: Final = 6
EXCESSES_SHOWN: Final = 40


def sheet_of(report: ConsumptionReport, language: str) -> Sheet:
    """The report in one language, with its pictures: some seconds."""
    return _Maker(report, language).sheet()


def as_json(report: ConsumptionReport) -> dict[str, Any]:
    """The report for programs: Wh, W, cents, seconds; quarters that are not named had no energy."""
    figures, costs = report.figures, report.with_costs

    def plain(one: Sum) -> dict[str, Any]:
        return {
            "sessions": one.sessions,
            "energy_wh": one.energy_wh,
            "duration_s": one.duration_s,
            "cost_incl_cents": one.cost_cents if costs else None,
            "sessions_of_unknown_energy": one.unknown,
            "sessions_without_price": one.unpriced,
        }

    def place(one: Named) -> dict[str, Any]:
        return {"client": one.client, "site_id": one.site_id, "site": one.site} | plain(one.sum)

    return {
        "from_on": str(report.span.first),
        "to_on": str(report.span.last),
        "made_at": _utc(report.made_at),
        "rules": list(_Maker(report, "en").rules()),
        "total": plain(figures.total),
        "clients": [{"client": one.client} | plain(one.sum) for one in figures.clients],
        "sites": [place(one) for one in figures.sites],
        "points": [place(one) | {"point": one.point} for one in figures.points],
        "users": [
            _user(one.user)
            | {"client": one.client}
            | plain(one.sum)
            | (_habits(one.habits) if report.with_profiles else {})
            for one in figures.users
        ],
        "days": [
            {"on": str(day), "energy_wh": energy_wh} for day, energy_wh in figures.days_wh.items()
        ],
        "hours": [
            {"hour": hour, "energy_wh": _wh(mwh)} for hour, mwh in enumerate(figures.hours_mwh)
        ],
        "loads": [_load(site_id, load) for site_id, load in figures.loads.items()],
    }


class _Maker:
    """One report in one language, while it is put together."""

    def __init__(self, report: ConsumptionReport, language: str) -> None:
        self._report = report
        self._figures = report.figures
        self._language = language
        self._words = TEXTS[language]
        self._several_clients = len(self._figures.clients) > 1
        self._several_sites = len(self._figures.sites) > 1
        self._sites = {one.site_id: one.site or "–" for one in self._figures.sites}

    def sheet(self) -> Sheet:
        words, report = self._words, self._report
        return Sheet(
            title=words["title"],
            of=self._of(),
            span=report.span.shown(self._language),
            made_at=report.made_at,
            made=words["made"].format(moment=formats.moment(report.made_at, self._language)),
            language=self._language,
            figures=tuple(self._main_figures()),
            rules_title=words["rules_title"],
            rules=self.rules(),
            sections=tuple(self._sections()),
        )

    def rules(self) -> tuple[str, ...]:
        """What the figures mean."""
        total = self._figures.total
        names = ["span", "energy", "cost", "load", "hours", "subscribed", "habits"]
        if not self._report.with_costs:
            names.remove("cost")
        if not self._report.with_profiles:
            names.remove("habits")
        return tuple(
            self._words[f"rule_{name}"].format(
                span=self._report.span.shown(self._language),
                unknown=total.unknown,
                unpriced=total.unpriced,
            )
            for name in names
        )

    def _of(self) -> str:
        names = {one.client for one in self._figures.clients} or set(self._report.clients)
        return next(iter(names)) if len(names) == 1 else self._words["all"]

    def _main_figures(self) -> Iterator[Figure]:
        words, total, language = self._words, self._figures.total, self._language
        yield Figure(words["energy"], formats.energy(total.energy_wh, language, places=1))
        mean_wh = total.energy_wh // max(total.sessions - total.unknown, 1)
        mean = words["sessions_note"].format(energy=formats.energy(mean_wh, language, places=1))
        yield Figure(words["sessions"], sheets.number(total.sessions, language), mean)
        if self._report.with_costs:
            each = total.cost_cents // max(total.sessions, 1)
            note = words["cost_note"].format(cost=formats.money(each, language))
            if total.unpriced:
                key = "cost_unpriced_one" if total.unpriced == 1 else "cost_unpriced"
                note = words[key].format(number=sheets.number(total.unpriced, language))
            yield Figure(words["cost"], formats.money(total.cost_cents, language), note)
        yield Figure(words["users"], sheets.number(len(self._figures.users), language))
        peaks = [(load.peak, site) for site, load in self._figures.loads.items()]
        found = max(
            ((peak[1], peak[0], site) for peak, site in peaks if peak is not None),
            key=lambda one: one[0],
            default=None,
        )
        if found is not None:
            note = words["peak_note" if self._several_sites else "peak_note_one"].format(
                site=self._sites.get(found[2], "–"), moment=formats.moment(found[1], language)
            )
            yield Figure(words["peak"], sheets.power(found[0], language), note)
        known = any(load.steps for load in self._figures.loads.values())
        above = sum(len(load.above) for load in self._figures.loads.values())
        yield Figure(
            words["above_count"],
            sheets.number(above, language) if known else sheets.NONE,
            words["above_note" if known else "above_unknown"],
        )

    # --- Parts ------------------------------------------------------------------------------------

    def _sections(self) -> Iterator[Section]:
        words, figures = self._words, self._figures
        if not figures.total.sessions:
            yield Section(words["by_point"], words["nothing"])
        if self._several_clients:
            yield self._sums("client", "by_client", figures.clients, lambda one: one.client)
        if self._several_sites:
            yield self._sums("site", "by_site", figures.sites, lambda one: one.site or "–")
        if figures.total.sessions:
            yield self._sums("point", "by_point", figures.points, self._point)
            yield self._users()
            if self._report.with_profiles:
                yield self._profiles()
            yield self._days()
        if any(figures.hours_mwh):
            yield self._hours()
        yield from self._loads()

    def _sums(self, head: str, title: str, rows: Sequence[Named], name: Any) -> Section:
        words = self._words
        columns = (Column(words[head], Kind.TEXT, 3.0), *self._columns())
        table = Table(
            words[title],
            columns,
            tuple((name(one), *self._cells(one.sum)) for one in rows),
            (words["total"], *self._cells(self._figures.total)),
        )
        return Section(words[title], table=table)

    def _columns(self) -> tuple[Column, ...]:
        words = self._words
        found = [
            Column(words["sessions"], Kind.NUMBER, 0.9),
            Column(words["energy"], Kind.ENERGY, 1.4),
            Column(words["mean"], Kind.ENERGY, 1.2),
            Column(words["duration"], Kind.DURATION, 1.3),
        ]
        if self._report.with_costs:
            found.append(Column(words["cost"], Kind.MONEY, 1.2))
        return tuple(found)

    def _cells(self, one: Sum) -> tuple[int, ...]:
        mean_wh = one.energy_wh // max(one.sessions - one.unknown, 1)
        cells = (one.sessions, one.energy_wh, mean_wh, one.duration_s)
        return (*cells, one.cost_cents) if self._report.with_costs else cells

    def _users(self) -> Section:
        words, users = self._words, self._figures.users
        section = self._sums("user", "by_user", users, self._name)
        assert section.table is not None
        table = section.table
        if len(users) <= USERS_SHOWN:
            return section
        cut = Table(
            table.name,
            table.columns,
            table.rows[:USERS_SHOWN],
            table.total,
            table.rows[USERS_SHOWN:],
        )
        intro = words["by_user_more"].format(shown=USERS_SHOWN, total=len(users))
        return Section(section.title, intro, table=cut)

    def _profiles(self) -> Section:
        words = self._words
        columns = (
            Column(words["user"], Kind.TEXT, 2.6),
            Column(words["sessions"], Kind.NUMBER, 0.9),
            Column(words["mean"], Kind.ENERGY, 1.2),
            Column(words["duration"], Kind.DURATION, 1.3),
            Column(words["usual_hours"], Kind.TEXT, 1.6),
            Column(words["usual_days"], Kind.TEXT, 2.0),
        )
        rows = tuple(
            (
                self._name(one),
                *self._cells(one.sum)[0:4:2],
                one.sum.duration_s // max(one.sum.sessions, 1),
                self._usual_hours(one.habits),
                self._usual_days(one.habits),
            )
            for one in self._figures.users
        )
        table = Table(words["profiles"], columns, rows[:USERS_SHOWN], more=rows[USERS_SHOWN:])
        return Section(words["profiles"], table=table)

    def _days(self) -> Section:
        words, report = self._words, self._report
        columns = (Column(words["day"], Kind.DAY, 1.0), Column(words["energy"], Kind.ENERGY, 1.0))
        rows = tuple((day, self._figures.days_wh.get(day, 0)) for day in report.span.days)
        picture = pictures.days(self._figures.days_wh, report.span, words)
        table = Table(words["by_day"], columns, (), more=rows)
        return Section(words["by_day"], pictures=(picture,), table=table)

    def _hours(self) -> Section:
        words, hours = self._words, self._figures.hours_mwh
        total = sum(hours)
        columns = (
            Column(words["hour"], Kind.TEXT, 1.0),
            Column(words["energy"], Kind.ENERGY, 1.0),
            Column(words["share"], Kind.PERCENT, 1.0),
        )
        rows = tuple(
            (
                words["hours_from_to"].format(first=hour, last=hour + 1),
                _wh(mwh),
                (20_000 * mwh + total) // (2 * total),
            )
            for hour, mwh in enumerate(hours)
        )
        drawn = (pictures.hours(hours, words), pictures.week(self._figures.week_mwh, words))
        table = Table(words["by_hour"], columns, (), more=rows)
        return Section(words["by_hour"], pictures=drawn, table=table)

    def _loads(self) -> Iterator[Section]:
        words, language = self._words, self._language
        loads = sorted(
            self._figures.loads.items(),
            key=lambda pair: -(pair[1].peak[1] if pair[1].peak is not None else 0),
        )
        for number, (site_id, load) in enumerate(loads, start=1):
            peak = load.peak
            if number > SITES_DRAWN or peak is None:
                break
            site = self._sites.get(site_id, site_id or "–")
            notes: tuple[str, ...] = ()
            if number == SITES_DRAWN and len(loads) > SITES_DRAWN:
                notes = (words["load_others"].format(number=len(loads) - SITES_DRAWN),)
            yield Section(
                f"{words['load_curve']} – {site}" if self._several_sites else words["load_curve"],
                words["load_intro"].format(
                    peak=sheets.power(peak[1], language),
                    moment=formats.moment(peak[0], language),
                    subscribed=self._against(load),
                ),
                (pictures.load(load, site, self._report.span, words),),
                notes=notes,
            )
        yield from self._above()
        columns = (
            Column(words["site"], Kind.TEXT, 2.0),
            Column(words["quarter"], Kind.MOMENT, 1.5),
            Column(words["power"], Kind.POWER, 1.2),
            Column(words["subscribed"], Kind.POWER, 1.2),
        )
        rows = tuple(
            (self._sites.get(site_id, site_id or "–"), at, mean_power_w(mwh), load.subscribed_w(at))
            for site_id, load in loads
            for at, mwh in load.quarters_mwh.items()
        )
        table = Table(words["load_curve"], columns, (), more=rows)
        yield Section(words["load_curve"], table=table, for_workbook=True)

    def _against(self, load: Load) -> str:
        words, language = self._words, self._language
        if not load.steps:
            return words["load_unknown"]
        powers = sorted({step.power_w for step in load.steps})
        shown = " / ".join(sheets.power(power, language) for power in powers)
        told = words["load_subscribed"].format(power=shown)
        above = load.above
        if not above:
            return f"{told} {words['load_below']}"
        most = sheets.power(max(one.excess_w for one in above), language)
        key = "load_above_one" if len(above) == 1 else "load_above"
        number = sheets.number(len(above), language)
        return f"{told} {words[key].format(number=number, excess=most)}"

    def _above(self) -> Iterator[Section]:
        words = self._words
        found = sorted(
            (
                (one, self._sites.get(site_id, site_id or "–"))
                for site_id, load in self._figures.loads.items()
                for one in load.above
            ),
            key=lambda pair: (-pair[0].excess_w, pair[0].at),
        )
        if not found:
            return
        columns: tuple[Column, ...] = (
            Column(words["quarter"], Kind.MOMENT, 1.5),
            Column(words["power"], Kind.POWER, 1.3),
            Column(words["subscribed"], Kind.POWER, 1.3),
            Column(words["excess"], Kind.POWER, 1.2),
        )
        rows: tuple[tuple[object, ...], ...] = tuple(
            (one.at, one.power_w, one.subscribed_w, one.excess_w) for one, _ in found
        )
        if self._several_sites:
            columns = (Column(words["site"], Kind.TEXT, 2.0), *columns)
            rows = tuple((site, *row) for (_, site), row in zip(found, rows, strict=True))
        intro = ""
        if len(rows) > EXCESSES_SHOWN:
            intro = words["above_more"].format(shown=EXCESSES_SHOWN, total=len(rows))
        table = Table(
            words["above_list"], columns, rows[:EXCESSES_SHOWN], more=rows[EXCESSES_SHOWN:]
        )
        yield Section(words["above_title"], intro, table=table)

    # --- Names ------------------------------------------------------------------------------------

    def _point(self, one: Named) -> str:
        return f"{one.point} ({one.site})" if self._several_sites and one.site else one.point

    def _name(self, one: Named) -> str:
        user, words = one.user, self._words
        assert user is not None
        if user.person_id is not None:
            name = user.name or words["user_number"].format(number=user.person_id)
        elif user.badge_uid:
            name = words["badge"].format(uid=user.badge_uid)
        else:
            name = words["nobody"]
        return f"{name} ({one.client})" if self._several_clients else name

    def _usual_hours(self, habits: Habits | None) -> str:
        found = habits.usual_hours if habits is not None else None
        if found is None:
            return sheets.NONE
        return self._words["hours_from_to"].format(first=found[0], last=found[1])

    def _usual_days(self, habits: Habits | None) -> str:
        names = self._words["weekdays"].split()
        found = habits.usual_days if habits is not None else ()
        return ", ".join(names[day] for day in found) or sheets.NONE


# --- JSON -----------------------------------------------------------------------------------------


def _user(user: User | None) -> dict[str, Any]:
    assert user is not None
    return {"person_id": user.person_id, "name": user.name, "badge_uid": user.badge_uid}


def _habits(habits: Habits | None) -> dict[str, Any]:
    assert habits is not None
    hours = habits.usual_hours
    return {
        "usual_hours": None if hours is None else {"from": hours[0], "to": hours[1]},
        "usual_weekdays": [day + 1 for day in habits.usual_days],
        "starts_by_hour": habits.by_hour,
        "starts_by_weekday": habits.by_weekday,
    }


def _load(site_id: str | None, load: Load) -> dict[str, Any]:
    peak = load.peak
    return {
        "site_id": site_id,
        "peak": None if peak is None else {"at": _utc(peak[0]), "power_w": peak[1]},
        "subscribed": [
            {"from_on": str(step.from_on), "subscribed_power_w": step.power_w}
            for step in load.steps
        ],
        "above": [
            {
                "at": _utc(one.at),
                "power_w": one.power_w,
                "subscribed_power_w": one.subscribed_w,
                "excess_w": one.excess_w,
            }
            for one in load.above
        ],
        "quarters": [
            {"at": _utc(at), "power_w": mean_power_w(mwh)} for at, mwh in load.quarters_mwh.items()
        ],
    }


def _wh(mwh: int) -> int:
    return (mwh + 500) // 1_000


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
