"""Drivers from a CSV file: persons by their e-mail address, their groups and badges.

All of it or nothing, and the same file twice changes nothing. An empty cell keeps what is there.
Columns, all but email optional: given_name, family_name, email, phone, language, client, group,
sites (several with |), badge, valid_from, valid_until (days, both included). With a group the
sites say which client's it is, and have to be sites of it; without one they are those at which the
badge itself is valid. A manager's file is about groups of her clients; who is not hers yet is asked
whether she agrees (`csms.group_requests`), and gets her badge by the same file once she has.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from csms import driver_badges, driver_groups, drivers, group_requests, registry
from csms.clients import Actor
from csms.config import Settings
from csms.domain.access import zone_named
from csms.provisioning import reading
from csms.provisioning.plan import ImportReport, Plan
from csms.provisioning.reading import Record, Table, cell
from csms.registry import Refusal
from csms.store import driver_badges as badge_store
from csms.store import drivers as store
from csms.store import groups, provisioning, sites, tokens
from csms.store.drivers import Known

ROWS_MAX: Final = 5_000
_COLUMNS: Final = (
    "given_name",
    "family_name",
    "email",
    "phone",
    "language",
    "client",
    "group",
    "sites",
    "badge",
    "valid_from",
    "valid_until",
)
_OTHER_NAMES: Final = {"site": "sites", "site(s)": "sites", "e-mail": "email"}
_FIELDS: Final = {  # of refusals, where they are called otherwise here
    "uid": "badge",
    "from": "valid_from",
    "to": "valid_until",
    "site_id": "sites",
    "site_ids": "sites",
    "person_id": "email",
}
_PARIS: Final = "Europe/Paris"


@dataclass(frozen=True, slots=True)
class Row:
    """What a line says; None or empty says nothing."""

    line: int
    email: str
    person: Mapping[str, Any]  # given_name, family_name, phone, language
    client: str | None
    group: str | None
    sites: tuple[str, ...]
    badge: str | None
    first_day: date | None
    last_day: date | None


def is_drivers(data: bytes) -> bool:
    """Whether the file's first line names the columns of drivers."""
    names = re.split(r"[;,]", as_utf8(data[:2_000]).decode("utf-8-sig").split("\n", 1)[0].lower())
    header = {_column(name.strip().strip('"')) for name in names}
    return "email" in header and "station_id" not in header


def as_utf8(data: bytes) -> bytes:
    """The text in UTF-8; what is not is taken for the Latin-1 of spreadsheets (Windows-1252)."""
    try:
        data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace").encode()
    return data


async def import_drivers(
    pool: AsyncConnectionPool,
    data: bytes,
    actor: Actor,
    now: datetime,
    *,
    clients: Collection[int] | None = None,
    dry_run: bool = False,
    settings: Settings | None = None,
    invite: bool = False,
) -> ImportReport:
    """Load the file. `report.problems` says what is refused, line by line; then, and with
    `dry_run`, nothing was written. `clients` are those of the manager whose file it is, None: an
    operator's. With `invite` new drivers are mailed a link to log in. Mails, and a manager's file,
    take the settings."""
    assert settings is not None or (clients is None and not invite)
    plan = Plan()
    rows = read_rows(data, plan)
    if plan.problems:
        return ImportReport(problems=plan.sorted_problems())
    report = ImportReport(dry_run=dry_run)
    async with pool.connection() as connection, connection.transaction() as transaction:
        await provisioning.lock_import(connection)
        writer = _Writer(connection, report, actor, now, clients, settings, invite)
        for row in rows:
            try:
                async with connection.transaction():
                    await writer.write(row)
            except Refusal as refusal:
                column = (
                    None if refusal.field is None else _FIELDS.get(refusal.field, refusal.field)
                )
                plan.refuse(row.line, column, "", str(refusal))
        transaction.force_rollback = dry_run or bool(plan.problems)
    if plan.problems:
        return ImportReport(problems=plan.sorted_problems())
    return report


# --- Reading ------------------------------------------------------------------------------------


def read_rows(data: bytes, plan: Plan) -> list[Row]:
    """The rows, and what is wrong with them in the plan."""
    table = reading.read_table(as_utf8(data), plan)
    if table is None:
        return []
    header = [_column(name) for name in table.header]
    for column in header:
        if column not in _COLUMNS:
            plan.refuse(1, column, "", "is no column of ours")
    if "email" not in header:
        plan.refuse(1, "email", "", "this column is missing")
        return []
    if len(table.records) > ROWS_MAX:
        plan.refuse(1, None, "", f"a file holds at most {ROWS_MAX} drivers: split it")
        return []
    rows = (_read_row(record, plan) for record in _renamed(table))
    return [row for row in rows if row is not None]


def _column(name: str) -> str:
    return _OTHER_NAMES.get(name, name)


def _renamed(table: Table) -> list[Record]:
    return [
        Record(record.line, {_column(name): text for name, text in record.cells.items()})
        for record in table.records
    ]


def _read_row(record: Record, plan: Plan) -> Row | None:
    email = cell(record, "email", plan, _email, required=True)
    person = {
        "given_name": cell(record, "given_name", plan, reading.name),
        "family_name": cell(record, "family_name", plan, reading.name),
        "phone": cell(record, "phone", plan, _phone),
        "language": cell(record, "language", plan, reading.one_of("fr", "en")),
    }
    first_day = cell(record, "valid_from", plan, _day)
    last_day = cell(record, "valid_until", plan, _day)
    badge = cell(record, "badge", plan, _uid)
    site_ids = tuple(filter(None, (part.strip() for part in record["sites"].split("|"))))
    if first_day and last_day and last_day < first_day:
        plan.refuse(record.line, "valid_until", str(last_day), "lies before valid_from")
    if site_ids and not record["group"] and not badge:
        plan.refuse(record.line, "sites", record["sites"], "needs a group or a badge in its row")
    if (first_day or last_day) and not record["group"] and not (badge and last_day):
        column = "valid_from" if first_day else "valid_until"
        plan.refuse(record.line, column, record[column], "needs a group in its row")
    if email is None:
        return None
    return Row(
        record.line,
        email,
        {name: value for name, value in person.items() if value is not None},
        cell(record, "client", plan, reading.name),
        cell(record, "group", plan, reading.name),
        site_ids,
        badge,
        first_day,
        last_day,
    )


def _email(text: str) -> str:
    try:
        return drivers.checked_email(text)
    except Refusal:
        raise ValueError("is no e-mail address") from None


def _phone(text: str) -> str:
    try:
        return drivers.checked_phone(text)
    except Refusal as refusal:
        raise ValueError(str(refusal)) from None


def _uid(text: str) -> str:
    try:
        registry.check_uid(text)
    except Refusal as refusal:
        raise ValueError(str(refusal)) from None
    return text


def _day(text: str) -> date:
    """2026-12-31 or 31/12/2026."""
    french = re.fullmatch(r"(\d{2})/(\d{2})/(\d{4})", text, re.ASCII)
    if french is not None:
        text = "-".join(reversed(french.groups()))
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
        raise ValueError("takes a day like 2026-12-31 or 31/12/2026")
    day = date.fromisoformat(text)  # ValueError: its text says why
    if not 2000 <= day.year <= 2200:
        raise ValueError("takes a day from 2000 to 2200")
    return day


def _midnight(day: date, zone: str) -> datetime:
    """When the day begins there."""
    return datetime.combine(day, time(), zone_named(zone)).astimezone(UTC)


# --- Writing ------------------------------------------------------------------------------------


class _Writer:
    """One import into the database. A row is written whole, or refused."""

    def __init__(
        self,
        connection: AsyncConnection,
        report: ImportReport,
        actor: Actor,
        now: datetime,
        clients: Collection[int] | None,
        settings: Settings | None,
        invite: bool,
    ) -> None:
        self._settings = settings
        self._invite = invite
        self._connection = connection
        self._report = report
        self._actor = actor
        self._now = now
        self._clients = clients

    async def write(self, row: Row) -> None:
        """Raises: Refusal."""
        if row.group is None and self._clients is not None:
            raise Refusal("a manager's drivers belong to a group", "group")
        group_id = None if row.group is None else await self._group(row, row.group)
        if group_id is not None and self._clients is not None:
            own = await group_requests.find_own(
                self._connection, row.email, self._clients, self._now
            )
            if own is None:
                await self._ask(row, group_id)
                return
        known = await store.find_person(self._connection, email=row.email)
        if known is None or not known.is_driver or known.is_closed:
            person_id = await drivers.create(
                self._connection,
                {"email": row.email, **row.person},
                self._actor,
                self._now,
                staff_too=self._clients is None,
            )
            self._report.created["driver"] += 1
            if self._invite and self._settings is not None:
                await drivers.invite(
                    self._connection, self._settings, person_id, self._actor, self._now
                )
        else:
            person_id = known.id
            await self._change(known, row)
        if group_id is not None:
            await self._join(row, group_id, person_id)
        if row.badge is not None:
            await self._give(row, row.badge, person_id)

    async def _group(self, row: Row, name: str) -> int:
        """The group that is meant. Raises: Refusal."""
        clients = None if self._clients is None else set(self._clients)
        if row.client is not None:
            client = await sites.find_client(self._connection, row.client)
            if client is None or (clients is not None and client.id not in clients):
                raise Refusal(f"there is no client {row.client}", "client")
            clients = {client.id}
        for site_id in row.sites:
            owner = await sites.client_of_site(self._connection, site_id)
            if owner is None or (clients is not None and owner not in clients):
                raise Refusal(f"there is no site {site_id} of this client", "sites")
            clients = {owner}
        wanted = None if clients is None else sorted(clients)
        found = await groups.find_groups(self._connection, name, wanted)
        if not found:
            raise Refusal(f"there is no group {name}: create it first", "group")
        if len(found) > 1:
            raise Refusal(f"several clients have a group {name}: name the client", "client")
        group_id: int = found[0][0]
        missing = set(row.sites) - await groups.sites_of_group(self._connection, group_id)
        if missing:
            raise Refusal(f"group {name} has no access to site {min(missing)}", "sites")
        return group_id

    async def _change(self, known: Known, row: Row) -> None:
        """What is told of a person who is known; a manager leaves those of other clients alone."""
        told = {name: value for name, value in row.person.items() if value != getattr(known, name)}
        if told and self._clients is not None:
            theirs = await store.clients_of_driver(self._connection, known.id, self._now)
            if not theirs or theirs - frozenset(self._clients):
                told = {}
        if told:
            await drivers.change(self._connection, known.id, told, self._actor, self._now)
        self._count("driver", changed=bool(told))

    async def _ask(self, row: Row, group_id: int) -> None:
        """Who is not the manager's yet agrees first, whether we know her or not: the row is counted
        the same way each time, and gives no badge."""
        assert self._settings is not None
        begin, end = await self._period(row, group_id)
        await group_requests.ask(
            self._connection,
            self._settings,
            group_id,
            {"email": row.email, **row.person},
            self._actor,
            self._now,
            from_at=begin,
            to_at=end,
        )
        self._report.created["request"] += 1

    async def _period(self, row: Row, group_id: int) -> tuple[datetime | None, datetime | None]:
        """When the membership begins and ends, as the row says. Raises: Refusal."""
        zone = await groups.zone_of_group(self._connection, group_id) or _PARIS
        begin = None if row.first_day is None else _midnight(row.first_day, zone)
        end = None if row.last_day is None else _midnight(row.last_day + timedelta(days=1), zone)
        if end is not None and end <= self._now:
            raise Refusal("this day is over", "valid_until")
        return begin, end

    async def _join(self, row: Row, group_id: int, person_id: int) -> None:
        begin, end = await self._period(row, group_id)
        membership = await groups.find_membership(self._connection, group_id, person_id, self._now)
        if membership is None:
            await driver_groups.add_member(
                self._connection,
                group_id,
                person_id,
                self._actor,
                self._now,
                from_at=begin,
                to_at=end,
            )
            self._report.created["membership"] += 1
            return
        changed = end is not None and end != membership[1]
        if changed:
            await driver_groups.end_member(
                self._connection, group_id, person_id, self._actor, self._now, to_at=end
            )
        self._count("membership", changed=changed)

    async def _give(self, row: Row, uid: str, person_id: int) -> None:
        badge = await badge_store.lock_badge(self._connection, uid, self._now)
        if badge is not None and badge.retired_at is None and badge.person_id == person_id:
            changed = await self._bound(row, uid)
            self._count("badge", changed=changed)
            return
        if badge is not None and badge.person_id is not None and badge.retired_at is None:
            raise Refusal("this badge is another driver's: give it to this one by hand", "badge")
        await driver_badges.assign(
            self._connection,
            person_id,
            uid,
            self._actor,
            self._now,
            clients=self._clients,
            told=False,
        )
        await self._bound(row, uid)
        self._report.created["badge"] += 1

    async def _bound(self, row: Row, uid: str) -> bool:
        """Without a group, the badge itself is valid at the sites, and until the day; whether that
        changed it."""
        if row.group is not None or not (row.sites or row.last_day):
            return False
        former = await tokens.lock_config(self._connection, uid)
        assert former is not None
        values: dict[str, Any] = {}
        if not set(row.sites) <= set(former.site_ids or ()):
            values["site_ids"] = [*(former.site_ids or ()), *row.sites]
        if row.last_day is not None:
            zone = await sites.zone_of_site(self._connection, row.sites[0]) if row.sites else None
            end = _midnight(row.last_day + timedelta(days=1), zone or _PARIS)
            if end != former.valid_until:
                values["valid_until"] = end
        if values:
            await registry.change_token(self._connection, uid, values)
        return bool(values)

    def _count(self, kind: str, *, changed: bool) -> None:
        counts = self._report.updated if changed else self._report.unchanged
        counts[kind] += 1
