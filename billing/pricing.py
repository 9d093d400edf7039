"""The stage that gives ended sessions their price, once each.

What ended and has no price is found by anti-join, so a run that was killed, or found something
missing, is simply run again. A batch is one transaction and a handful of statements. Whatever keeps
a session from its price is a problem with its cause and remedy, stops only what it concerns, and is
gone once the session has its price.

Promises 3 and 4 of the design. A session whose energy or driver is in doubt waits until a person
has confirmed it on the desk: never billed silently. What is billed is the session's own energy,
never more than measured. A lost session waits some days for its stop to come after all.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from billing import tariffs
from billing.store import pricing as store
from billing.store import problems
from billing.store.pricing import SessionRow
from billing.tariff import Dimension, Line, Price, Reading, Tariff, Usage, needs_readings, price
from billing.tariffs import NoTariff, Tariffs, Version
from csms import contracts, deadlines
from csms.domain.contract import Contract, mandated
from csms.domain.session import Flag
from csms.store import clients as client_store
from csms.store import contracts as contract_store
from csms.store.clients import Vat

STAGE: Final = "price"
BATCH_SESSIONS: Final = 5_000
LOST_WAIT: Final = timedelta(days=3)  # for the stop of a session that was given up
LOOK_BACK: Final = timedelta(days=366)  # of a run that names no month
VAT_FREE: Final = frozenset({"franchise", "non_assujetti"})

# Flags that hold a price back until a person has looked, and why. All others tell how the session
# was recorded and leave no doubt about its energy, its driver or that it took place once.
HOLDING: Final[dict[Flag, str]] = {
    Flag.ENERGY_IMPLAUSIBLE: "its energy is more than the connector can deliver in the time",
    Flag.UNIT_SUSPECT: "its register may be in another unit than it says",
    Flag.REFUSED: "its badge was refused and the station charged all the same",
    Flag.UNAUTHORIZED: "no badge was ever accepted for it",
    Flag.MATCHED_BY_GUESS: "its stop named no known transaction",
    Flag.TRANSACTION_ID_REUSED: "its transaction number was used twice",
    Flag.DOUBTFUL_REPEAT: "it may be the repetition of another one",
    Flag.CLOCK_IMPLAUSIBLE: "the station's clock was not set",
}
RELEASING: Final = frozenset({Flag.CONFIRMED, Flag.SETTLED})


class Problem(NamedTuple):
    """What keeps a session, or all of a client's, from a price."""

    subject: str
    month: date
    session_id: int | None
    cause: str
    message: str
    remedy: str


@dataclass(slots=True)
class Priced:
    """What a run did. `problems` counts what is open, by cause."""

    sessions: int = 0
    energy_wh: int = 0
    amount_incl_cents: int = 0
    estimated: int = 0
    waiting: int = 0  # lost ones whose stop may still come, and what is not ours to invoice
    problems: dict[str, int] = field(default_factory=lambda: defaultdict(int))


@dataclass(frozen=True, slots=True)
class World:
    """What the prices of a client's sessions depend on."""

    client_id: int
    tariffs: Tariffs
    statuses: Sequence[Vat]
    contracts: Sequence[Contract]
    rates: Sequence[tuple[date, date | None, Decimal]]
    #: sites that the operator supplies itself, from a day on up to before another
    supplied: Sequence[tuple[str, date, date | None]] = ()


async def run(
    pool: AsyncConnectionPool,
    *,
    now: datetime,
    month: date | None = None,
    client_id: int | None = None,
    dry_run: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Priced:
    """Price what ended and has no price: of a month (any day of it), or of the past year.

    `progress` is told of each batch how many sessions it looked at. Two runs at once share the
    work by client and batch.
    """
    async with pool.connection() as connection:
        return await run_on(
            connection,
            now=now,
            month=month,
            client_id=client_id,
            dry_run=dry_run,
            progress=progress,
        )


async def run_on(
    connection: AsyncConnection,
    *,
    now: datetime,
    month: date | None = None,
    client_id: int | None = None,
    dry_run: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Priced:
    """As `run`, each batch in a transaction of its own on this connection."""
    from_at, to_at = span(month, now)
    done = Priced()
    for each in await store.list_clients_to_price(connection, client_id, from_at, to_at):
        run_of = _Run(each, (from_at, to_at), now, dry_run)
        while not run_of.is_over:
            async with connection.transaction():
                await store.lock_client(connection, each)
                looked_at = await _batch(connection, run_of, done)
            if progress is not None:
                progress(looked_at)
    return done


def span(month: date | None, now: datetime) -> tuple[datetime, datetime]:
    """The time in which sessions ended that a run looks at: a month in Paris, or the last year."""
    if month is None:
        return now - LOOK_BACK, now
    first = month.replace(day=1)
    return (
        deadlines.start_of_day(first),
        min(deadlines.start_of_day(deadlines.add_months(first, 1)), now),
    )


@dataclass(slots=True)
class _Run:
    """How far a client's sessions are looked at, and what was found open on the way."""

    client_id: int
    ended: tuple[datetime, datetime]
    now: datetime
    dry_run: bool
    after_id: int = 0
    is_over: bool = False
    months: set[date] = field(default_factory=set)
    open_subjects: set[str] = field(default_factory=set)


async def _batch(connection: AsyncConnection, run_of: _Run, done: Priced) -> int:
    """Price one batch; how many sessions were looked at."""
    client_id = run_of.client_id
    found = await store.fetch_unpriced(
        connection, client_id, *run_of.ended, run_of.after_id, BATCH_SESSIONS
    )
    run_of.is_over = len(found) < BATCH_SESSIONS
    if found:
        run_of.after_id = found[-1].id
    world = await _load(connection, client_id)
    chosen, stopped = await _choose(connection, world, found, done, run_of.now)
    readings = await readings_of(connection, [(s, v.tariff) for s, v, _, _ in chosen])
    rows = []
    for session, version, vat_case, percent in chosen:
        priced = price(
            usage_of(session),
            readings.get(session.id, ()),
            version.tariff,
            zone=zone_named(session.time_zone),
            vat_percent=percent,
            vat_free=vat_case in VAT_FREE,
        )
        if not priced.lines and session.energy_wh:
            stopped.append(_no_price(session))
            continue
        rows.append(_row(client_id, session, version, vat_case, priced))
        _count(done, session, priced)
    for problem in stopped:
        done.problems[problem.cause] += 1
    if not run_of.dry_run:
        if rows:
            await store.insert_priced(connection, [(run_of.now, *row) for row in rows])
        await _note(connection, run_of, found, stopped)
    return len(found)


async def _load(connection: AsyncConnection, client_id: int) -> World:
    return World(
        client_id,
        await tariffs.load(connection, client_id),
        await client_store.list_vat(connection, client_id),
        [
            contracts.core_of(row)
            for row in await contract_store.fetch_contracts(connection, client_id=client_id)
        ],
        await store.fetch_vat_rates(connection),
        await store.fetch_supplied(connection, client_id),
    )


#: when, the register in Wh, the power in W if it was told
Register = tuple[datetime, float, float | None]
Chosen = tuple[SessionRow, Version, str, Decimal]


async def _choose(
    connection: AsyncConnection,
    world: World,
    found: Sequence[SessionRow],
    done: Priced,
    now: datetime,
) -> tuple[list[Chosen], list[Problem]]:
    """The sessions that can be priced, each with what it is priced by; and what stops others."""
    groups = await _groups(connection, world.tariffs, found)
    chosen: list[Chosen] = []
    stopped: dict[str, Problem] = {}
    for session in found:
        if Flag.LOST_STOP in session.flags and session.ended_at + LOST_WAIT > now:
            done.waiting += 1
            continue
        outcome = _judge(world, session, groups)
        if outcome is None:
            done.waiting += 1
        elif isinstance(outcome, Problem):
            stopped.setdefault(outcome.subject, outcome)
        else:
            chosen.append(outcome)
    return chosen, list(stopped.values())


def _judge(
    world: World,
    session: SessionRow,
    groups: dict[int, list[tuple[int, datetime, datetime | None]]],
) -> Chosen | Problem | None:
    """What a session is priced by; what stops it; None: it is not ours to invoice."""
    if is_supplied(world.supplied, session.site_id, session.supplied_on):
        return None  # the operator sells it itself: billing.supplying
    vat = vat_on(world, session.supplied_on)
    if vat is None:
        return None
    if isinstance(vat, str):
        return _of_client(world, session, vat)
    held = _held(session)
    if held is not None:
        return held
    assert session.person_id is not None
    memberships = groups.get(session.person_id, ())
    group_ids = [
        group_id
        for group_id, from_at, to_at in memberships
        if from_at <= session.started_at and (to_at is None or session.started_at < to_at)
    ]
    version = world.tariffs.find(
        session.site_id, session.station_key, session.evse_id, group_ids, session.started_at
    )
    if isinstance(version, NoTariff):
        return _no_tariff(world, session, version)
    return session, version, *vat


def is_supplied(
    supplied: Sequence[tuple[str, date, date | None]], site_id: str | None, day: date
) -> bool:
    """Whether the operator itself supplied a site on a day (article 5.4 d)."""
    return any(site == site_id and is_on(from_on, to_on, day) for site, from_on, to_on in supplied)


def vat_on(world: World, day: date) -> tuple[str, Decimal] | str | None:
    """How the client stands to VAT on a day of supply, and the normal rate; what is missing, as the
    cause of a problem; None: the session is not ours to invoice."""
    signed = [contract for contract in world.contracts if contract.signed_on is not None]
    if not signed:
        return "no_contract"
    if not any(mandated(contract, day) for contract in signed):
        return None
    status = next((s for s in world.statuses if is_on(s.from_on, s.to_on, day)), None)
    if status is None:
        return "vat_status_missing"
    percent = next((p for from_on, to_on, p in world.rates if is_on(from_on, to_on, day)), None)
    return "vat_rate_missing" if percent is None else (status.status, percent)


def _held(session: SessionRow) -> Problem | None:
    """What of the session itself is in doubt."""
    if session.energy_wh is None:
        return _of_session(
            session,
            "energy_unknown",
            "has no energy: its register is not known at both ends",
            "Settle it on the desk (POST /api/v1/reconciliation/{id}/settle), with the energy that "
            "the station shows, or dismiss it.",
        )
    doubts = [why for flag, why in HOLDING.items() if flag in session.flags]
    if doubts and not RELEASING.intersection(session.flags):
        return _of_session(
            session,
            "held_by_flag",
            f"waits for a person: {'; '.join(doubts)}",
            "Look at its readings, then confirm it on the desk "
            "(POST /api/v1/reconciliation/{id}/settle).",
        )
    if session.person_id is None:
        badge = "without a badge" if session.token_uid is None else "with a badge of nobody"
        return _of_session(
            session,
            "no_driver",
            f"was charged {badge}: nobody is there to invoice",
            "Give the badge to its driver from before the session's start "
            "(POST /api/v1/drivers/{id}/badges).",
        )
    return None


def _of_session(session: SessionRow, cause: str, what: str, remedy: str) -> Problem:
    day = session.ended_at.astimezone(deadlines.PARIS)
    message = (
        f"Session {session.id} at {session.station_id}, ended {day:%Y-%m-%d %H:%M} (Paris), {what}."
    )
    return Problem(
        f"session {session.id}",
        session.supplied_on.replace(day=1),
        session.id,
        cause,
        message,
        remedy,
    )


_CLIENT_TEXTS: Final = {
    "no_contract": (
        "Client {client} has sessions and no signed contract.",
        "Enter its contract with the mandate (POST /api/v1/clients/{client}/contracts).",
    ),
    "vat_status_missing": (
        "Client {client} has not said how it stands to VAT on {day}.",
        "Enter what it declares (POST /api/v1/clients/{client}/vat).",
    ),
    "vat_rate_missing": (
        "No rate of VAT is known for {day}.",
        "Enter the rate in force with its source (POST /api/v1/vat-rates).",
    ),
}


def _of_client(world: World, session: SessionRow, cause: str) -> Problem:
    """What stops all of a client's sessions of a month; told once."""
    message, remedy = (
        text.format(client=world.client_id, day=session.supplied_on)
        for text in _CLIENT_TEXTS[cause]
    )
    subject = f"client {world.client_id} {session.supplied_on:%Y-%m} {cause}"
    return Problem(subject, session.supplied_on.replace(day=1), None, cause, message, remedy)


def _no_tariff(world: World, session: SessionRow, missing: NoTariff) -> Problem:
    """No tariff at the place, or none of its versions then; told once a place and month."""
    place = f"{session.station_id} EVSE {session.evse_id}"
    subject = f"client {world.client_id} {session.supplied_on:%Y-%m} {place}"
    if missing.tariff_id is None:
        return Problem(
            subject,
            session.supplied_on.replace(day=1),
            None,
            "no_tariff",
            f"No tariff holds at {place} at {session.started_at:%Y-%m-%d %H:%M}Z.",
            "Let one hold there, or for the whole client, from before that moment "
            "(POST /api/v1/tariffs/{id}/scopes).",
        )
    return Problem(
        subject,
        session.supplied_on.replace(day=1),
        None,
        "tariff_gap",
        f"Tariff {missing.tariff_id}, which holds at {place}, has no version in force at "
        f"{session.started_at:%Y-%m-%d %H:%M}Z.",
        "Add a version that holds from before that moment (POST /api/v1/tariffs/{id}/versions).",
    )


def _no_price(session: SessionRow) -> Problem:
    return _of_session(
        session,
        "tariff_gap",
        "falls into hours for which its tariff has no price",
        "Add a version of the tariff that prices these hours "
        "(POST /api/v1/tariffs/{id}/versions); a price of 0 says that they are free.",
    )


async def _groups(
    connection: AsyncConnection, known: Tariffs, found: Sequence[SessionRow]
) -> dict[int, list[tuple[int, datetime, datetime | None]]]:
    """Memberships by person, in groups that have a tariff of their own."""
    by_person: dict[int, list[tuple[int, datetime, datetime | None]]] = defaultdict(list)
    if known.group_ids:
        person_ids = {s.person_id for s in found if s.person_id is not None}
        for person_id, group_id, from_at, to_at in await store.fetch_memberships(
            connection, sorted(known.group_ids), sorted(person_ids)
        ):
            by_person[person_id].append((group_id, from_at, to_at))
    return by_person


async def readings_of(
    connection: AsyncConnection, sessions: Sequence[tuple[SessionRow, Tariff]]
) -> dict[int, list[Reading]]:
    """Readings of those sessions whose price by that tariff depends on them."""
    asked = [
        session
        for session, tariff in sessions
        if session.readings_from_at is not None
        and needs_readings(usage_of(session), tariff, zone=zone_named(session.time_zone))
    ]
    found = await registers_of(connection, asked)
    return {
        session.id: since_start(found[session.id], session.meter_start_wh, session.energy_wh)
        for session in asked
        if session.id in found
    }


async def registers_of(
    connection: AsyncConnection, sessions: Sequence[SessionRow]
) -> dict[int, list[Register]]:
    """What the registers of sessions with readings showed, in order of time."""
    if not sessions:
        return {}
    rows = await store.fetch_readings(connection, sessions)
    profiles = await store.fetch_profiles(connection, sorted({row.profile_id for row in rows}))
    found: dict[int, list[Register]] = defaultdict(list)
    for row in rows:
        profile = profiles[row.profile_id]
        register_wh = profile.register_wh(row.samples)
        if register_wh is not None:
            found[row.session_id].append((row.at, register_wh, profile.power_w(row.samples)))
    return found


def since_start(
    registers: Sequence[Register], meter_start_wh: float | None, energy_wh: int | None
) -> list[Reading]:
    """Readings as the tariff wants them: Wh since the session's start.

    A make whose register is in another unit than it says shows here as a thousandfold of the
    session's own energy, which has it right.
    """
    if not registers:
        return []
    first = registers[0][1] if meter_start_wh is None else meter_start_wh
    factor = _unit_factor(max(abs(register - first) for _, register, _ in registers), energy_wh)
    if factor != 1:
        first = registers[0][1]
    return [
        Reading(at, max(0, round((register - first) * factor)), power_w)
        for at, register, power_w in registers
    ]


def _unit_factor(told_wh: float, energy_wh: int | None) -> float:
    """1, or a thousand times more or less."""
    if not energy_wh or told_wh <= 0:
        return 1.0
    ratio = energy_wh / told_wh
    return 1000.0 if 300 < ratio < 3000 else 0.001 if 1 / 3000 < ratio < 1 / 300 else 1.0


def usage_of(session: SessionRow) -> Usage:
    """What of a session is billed."""
    return Usage(session.started_at, session.ended_at, session.energy_wh or 0)


def _row(
    client_id: int, session: SessionRow, version: Version, vat_case: str, priced: Price
) -> tuple[object, ...]:
    """The columns of priced_session, `priced_at` apart."""
    return (
        session.id,
        client_id,
        session.supplied_on.replace(day=1),
        session.supplied_on,
        session.site_id,
        session.station_key,
        session.evse_id,
        session.person_id,
        version.id,
        vat_case,
        session.started_at,
        session.ended_at,
        session.energy_wh,
        priced.amount_excl_cents,
        priced.amount_incl_cents - priced.amount_excl_cents,
        priced.amount_incl_cents,
        priced.estimated,
        json.dumps([line_json(line) for line in priced.lines], separators=(",", ":")),
    )


def line_json(line: Line) -> dict[str, object]:
    """A line as it is stored: times in UTC, decimals as text."""
    return {
        "dimension": line.dimension.value,
        "quantity": line.quantity,
        "energy_wh": line.energy_wh,
        "duration_s": line.duration_s,
        "from_at": line.from_at.isoformat(),
        "to_at": line.to_at.isoformat(),
        "unit_price_eur": str(line.unit_price_eur),
        "vat_percent": str(line.vat_percent),
        "amount_excl_cents": line.amount_excl_cents,
        "amount_incl_cents": line.amount_incl_cents,
        "estimated": line.estimated,
    }


def line_of(stored: Mapping[str, Any]) -> Line:
    """A line as it was stored by `line_json`."""
    return Line(
        dimension=Dimension(stored["dimension"]),
        quantity=stored["quantity"],
        energy_wh=stored["energy_wh"],
        duration_s=stored["duration_s"],
        from_at=datetime.fromisoformat(stored["from_at"]),
        to_at=datetime.fromisoformat(stored["to_at"]),
        unit_price_eur=Decimal(stored["unit_price_eur"]),
        vat_percent=Decimal(stored["vat_percent"]),
        amount_excl_cents=stored["amount_excl_cents"],
        amount_incl_cents=stored["amount_incl_cents"],
        estimated=stored["estimated"],
    )


def _count(done: Priced, session: SessionRow, priced: Price) -> None:
    done.sessions += 1
    done.energy_wh += session.energy_wh or 0
    done.amount_incl_cents += priced.amount_incl_cents
    done.estimated += priced.estimated


async def _note(
    connection: AsyncConnection,
    run_of: _Run,
    found: Sequence[SessionRow],
    stopped: Sequence[Problem],
) -> None:
    """Write down what stops, and that what stopped the others does not any more: of sessions at
    once, of the client as a whole when all its sessions were looked at."""
    months = {session.id: session.supplied_on.replace(day=1) for session in found}
    run_of.months |= set(months.values())
    run_of.open_subjects |= {problem.subject for problem in stopped}
    mended = {f"session {session.id}" for session in found} - run_of.open_subjects
    await problems.resolve(connection, STAGE, sorted(mended), run_of.now)
    if run_of.is_over:
        for each in sorted(run_of.months):
            await problems.resolve_others(
                connection,
                STAGE,
                f"client {run_of.client_id} {each:%Y-%m} ",
                sorted(run_of.open_subjects),
                run_of.now,
            )
    await problems.note_all(
        connection,
        [
            (
                STAGE,
                problem.subject,
                run_of.client_id,
                problem.month,
                problem.session_id,
                problem.cause,
                problem.message,
                problem.remedy,
            )
            for problem in stopped
        ],
        run_of.now,
    )


async def note_changed(
    connection: AsyncConnection, client_id: int, month: date, now: datetime
) -> int:
    """List the sessions of a month that changed after they were priced; how many."""
    changed = await store.list_changed_after_pricing(connection, client_id, *span(month, now))
    rows = [
        (
            STAGE,
            f"priced session {session_id}",
            client_id,
            month.replace(day=1),
            session_id,
            "changed_after_pricing",
            f"Session {session_id} was priced with {then_wh} Wh and has {now_wh} Wh now, or other "
            "times.",
            "Decide whether its invoice is corrected (POST /api/v1/invoices/{id}/correct).",
        )
        for session_id, then_wh, now_wh in changed
    ]
    await problems.note_all(connection, rows, now)
    return len(rows)


def is_on(from_on: date, to_on: date | None, day: date) -> bool:
    """Whether a day lies in a range of days; its end does not."""
    return from_on <= day and (to_on is None or day < to_on)


@cache
def zone_named(name: str) -> ZoneInfo:
    """A time zone of the database's, made once."""
    return ZoneInfo(name)
