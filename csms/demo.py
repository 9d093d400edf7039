"""The main job, shown: a month of charging sessions of 24 garages, from the car to the collection.

Starts the whole service, provisions the garages from a CSV as an operator would, with clients under
contract, their managers, and a driver for every badge, replays the month through real websockets
(half of the stations on OCPP 1.6J, half on 2.0.1), writes the monthly collection and its one-page
summary, and compares the total with the simulators' own count, to the watt-hour. Then come the
money of the month, the national files of those points that are public, and a roaming hub. With
`--once` it ends there; otherwise it stays up until Ctrl-C.
"""

import asyncio
import contextlib
import csv
import io
import logging
import signal
import socket
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import uvloop
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from billing import checks as billing_checks
from csms import (
    db,
    demo_billing,
    demo_payments,
    demo_people,
    demo_public,
    demo_reports,
    demo_roaming,
    keys,
    registry,
    worker,
)
from csms.config import SettingError, Settings
from csms.domain.values import UTC
from csms.embedded_broker import Broker
from csms.logins import Means
from csms.password_work import PasswordWork
from csms.provisioning import import_file
from csms.serve import PARTS, load, open_service, tune_collector
from reporting import collection
from reporting.summary import summary_text
from simulators.driver import DriverConfig
from simulators.replay import Replay, StationPlan, plan_stations, replay
from simulators.sessions import ChargingRecord, anomalies, read_csv
from simulators.shifting import Shifted, last_full_month, shift_to_month
from simulators.synthetic import generate

CONNECTOR_POWER_W: Final = 7_400
READING_INTERVAL_S: Final = 900
SEED: Final = 1

COLUMNS: Final = (
    "client",
    "site_id",
    "site_name",
    "time_zone",
    "station_id",
    "protocol",
    "vendor",
    "model",
    "evse_id",
    "connector_id",
    "connector_type",
    "power_w_max",
    "public",
    *demo_public.COLUMNS,
)

console = Console()


@dataclass(frozen=True, slots=True)
class Job:
    """What is replayed."""

    source: str
    records: list[ChargingRecord]
    month: Shifted
    plans: list[StationPlan]
    month_name: str


def run(settings: Settings, *, once: bool, sessions: Path | None) -> int:
    """Run the demonstration; 0 when every session and every watt-hour arrived."""
    logging.basicConfig(level="WARNING", format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    logging.getLogger("csms.notifications").setLevel(logging.ERROR)  # no mail server is meant
    try:
        job = _prepare(sessions, datetime.now(UTC))
    except (OSError, ValueError) as error:
        print(f"time2plug: {error}", file=sys.stderr)
        return 2
    settings = demo_billing.with_operator(_with_free_ports(settings))
    settings = demo_roaming.with_ocpi(demo_public.with_publication(settings))
    load(PARTS)
    exit_code = 1
    try:
        exit_code = uvloop.run(_run(settings, job, once))
    except* SettingError as errors:
        for problem in errors.exceptions:
            print(f"time2plug: {problem}", file=sys.stderr)
    return exit_code


def _prepare(sessions: Path | None, now: datetime) -> Job:
    """Read or make the sessions, and choose those of the last full month."""
    records = read_csv(sessions) if sessions is not None else generate(SEED)
    month_name = last_full_month(now)
    return Job(
        source=str(sessions) if sessions is not None else f"generated, seed {SEED}",
        records=records,
        month=shift_to_month(records, month_name),
        plans=plan_stations(records),
        month_name=month_name,
    )


async def _run(settings: Settings, job: Job, once: bool) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(ValueError, NotImplementedError):
            loop.add_signal_handler(name, stopping.set)
    console.rule("[bold]Time2Plug supervision")
    console.print("Starting database, MQTT broker, gateway, web and worker ...")
    async with (
        _broker(settings) as settings,
        open_service(settings),
        db.open_database(settings) as database,
        db.open_pool(database, settings) as pool,
    ):
        tune_collector(settings)
        work = asyncio.ensure_future(_work(settings, job, pool))
        stop = asyncio.ensure_future(stopping.wait())
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            console.print("Interrupted; running it again goes on where this stopped.")
            return 130
        exit_code = work.result()
        await _tell_where(settings, pool, once)
        if not once:
            console.print("Running until Ctrl-C.")
            await stop
        stop.cancel()
    return exit_code


@contextlib.asynccontextmanager
async def _broker(settings: Settings) -> AsyncIterator[Settings]:
    """The settings with a broker: the embedded one where they name none."""
    if settings.mqtt_url is not None:
        yield settings
        return
    async with Broker().open() as broker:
        yield replace(settings, mqtt_url=broker.url)


async def _work(settings: Settings, job: Job, pool: AsyncConnectionPool) -> int:
    folder = settings.data_dir / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    await _provision(settings, job, pool, folder)
    result = await _replay(settings, job)
    async with pool.connection() as connection:
        await _give_up_lost(connection, settings)
    month = collection.Month.parse(job.month_name)
    paths = [folder / f"collecte-{month}.{kind}" for kind in ("csv", "json")]
    for path in paths:
        written = await collection.write(pool, month, path, kind=path.suffix[1:])
    summary = summary_text(written)
    summary_path = folder / f"collecte-{month}-resume.txt"
    collection.write_text(summary_path, summary)
    console.print()
    console.print(summary, markup=False, highlight=False)
    console.print("Written: " + ", ".join(str(path) for path in [*paths, summary_path]))
    arrived = _compare(job, result, written)
    exit_code = max(
        arrived,
        await _money(settings, pool, month, folder),
        await _publish(settings, pool, folder / "irve"),
        await _roam(settings, pool, month, folder / "itinerance"),
    )
    reports = await demo_reports.write(
        pool, settings, job.month_name, datetime.now(UTC), folder / "rapports"
    )
    console.print("Reports, of consumption and availability: " + ", ".join(map(str, reports)))
    return exit_code


async def _money(
    settings: Settings, pool: AsyncConnectionPool, month: collection.Month, folder: Path
) -> int:
    """From the sessions to the statements; 0 when every client has one and the books are right."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        task = progress.add_task("Prices, invoices, simulated payments, by day", total=None)
        shown = await demo_billing.run(
            pool,
            settings,
            date(month.year, month.month, 1),
            datetime.now(UTC),
            folder / "facturation",
            lambda done, total: progress.update(task, completed=done, total=total),
        )
    console.print(
        f"{shown.sessions:,} sessions priced, {shown.invoices:,} invoices and notes, "
        f"{shown.receipts:,} simulated payments; {shown.unpaid:,} invoices are left unpaid. "
        f"{shown.statements} statements of {month} and {shown.documents} documents lie in "
        f"{shown.folder}"
    )
    paid = await demo_payments.run(
        pool,
        settings,
        date(month.year, month.month, 1),
        datetime.now(UTC),
        folder / "paiements",
    )
    _tell_paid(paid)
    all_stopped = shown.closed.stopped | paid.drafted.stopped
    for client_id, stopped in all_stopped.items():
        console.print(f"Client {client_id}: {stopped.message} {stopped.remedy}", markup=False)
    async with pool.connection() as connection:
        found = await billing_checks.find_offences(connection, datetime.now(UTC))
    broken = [check for check, offences in found if offences]
    for check in broken:
        console.print(f"[bold red]The books: {check.name}.")
    if not broken:
        console.print(f"[bold green]The books hold: {len(found)} checks, nothing found.")
    return 1 if all_stopped or broken or paid.settled.difference_cents else 0


def _tell_paid(paid: demo_payments.Paid) -> None:
    settled = ", ".join(f"{number} {kind}" for kind, number in sorted(paid.settled.by_kind.items()))
    console.print(
        f"{paid.transfers} clients were paid {paid.total_cents / 100:,.2f} EUR by a simulated bank "
        f"(ordered by one person, approved by another); its statement settled "
        f"{settled or 'nothing new'}. "
        f"Payment file, answer and statement lie in {paid.folder}"
    )
    if paid.settled.difference_cents:
        console.print(
            f"[bold red]The bank's balance differs from the books by "
            f"{paid.settled.difference_cents / 100:,.2f} EUR."
        )


async def _publish(settings: Settings, pool: AsyncConnectionPool, folder: Path) -> int:
    """The national files; 0 when all public points are in them and nothing is wrong."""
    shown = await demo_public.publish(pool, settings, datetime.now(UTC), folder)
    console.print(
        f"National files of the {shown.points} public points in {shown.stations} garages, private "
        f"ones not: {shown.static_path}, {shown.dynamic_path}. Their identifiers begin with "
        f"{demo_public.PREFIX}, which is nobody's: they are fictitious, not to be published."
    )
    if shown.is_good:
        console.print(
            "[bold green]Both obey the official schema (etalab/schema-irve 2.3.1); the national "
            f"consolidation would keep {shown.kept} rows of {shown.points}."
        )
        return 0
    for flaw in shown.flaws:
        console.print(flaw, markup=False)
    console.print(f"[bold red]{shown.held_back} points are held back, {shown.kept} rows are kept.")
    return 1


async def _roam(
    settings: Settings, pool: AsyncConnectionPool, month: collection.Month, folder: Path
) -> int:
    """Sessions and CDRs to a simulated hub; 0 when it has them and nothing to complain about."""
    console.print(
        "A simulated roaming hub registers over OCPI, and a driver of a partner charges ..."
    )
    shown = await demo_roaming.run(pool, settings, month.start_at, datetime.now(UTC), folder)
    console.print(
        f"It was told of {shown.places} places, {shown.sessions} sessions and {shown.cdrs} CDRs: "
        "the driver’s, and all of one private garage without any driver, as the ADVENIR programme "
        f"has them. They lie in {shown.path}"
    )
    if not shown.has_roamed:
        console.print("The session of the partner’s driver did not come to its CDR.")
    for complaint in shown.complaints[:10]:
        console.print(complaint, markup=False)
    if shown.is_good:
        console.print("[bold green]The hub has nothing to complain about.")
        return 0
    console.print("[bold red]Roaming did not go as it should.")
    return 1


async def _provision(settings: Settings, job: Job, pool: AsyncConnectionPool, folder: Path) -> None:
    """Garages and stations through the import, badges and people one by one."""
    path = folder / "garages.csv"
    path.write_text(stations_csv(job.plans), encoding="utf-8")
    report = await import_file(pool, path, password_length_min=settings.password_length_min)
    if report.problems:
        raise SettingError(f"{path}: {report.problems[0]}")
    badges: dict[str, set[str]] = defaultdict(set)
    for record in job.records:
        badges[record.badge].add(record.site_id)
    site_ids = {plan.site_id for plan in job.plans}
    async with db.transaction(pool) as connection:
        for badge in sorted(badges):
            await registry.create_token(connection, badge, {}, replacing=True)
        clients, drivers = await demo_people.provide(
            connection,
            {badge: sorted(charged_at) for badge, charged_at in badges.items()},
            site_ids,
            collection.Month.parse(job.month_name).start_at,
            datetime.now(UTC),
        )
        await demo_roaming.provide(connection)
        await demo_payments.provide_accounts(connection, datetime.now(UTC))
        await demo_billing.provide_tariffs(
            connection, collection.Month.parse(job.month_name).start_at, datetime.now(UTC)
        )
    console.print(
        f"Sessions: {job.source}, {len(job.records):,} in all. Provisioned {len(site_ids)} garages "
        f"with {len(job.plans)} stations from {path}; {clients} clients under contract with a "
        f"manager each; {drivers} drivers with {len(badges)} badges."
    )
    found = anomalies(job.month.records)
    console.print(
        f"{len(job.month.records)} of them end in {job.month_name} when moved by "
        f"{job.month.weeks} weeks; {job.month.left_out:,} are left out. Anomalies among them: "
        f"{found.no_plug_out} without plug-out, {found.no_length} without length, "
        f"{found.overlaps} overlapping, {found.shared_starts} sharing a start."
    )


def stations_csv(plans: Sequence[StationPlan]) -> str:
    """The stations in the import's own format, one row per connector."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    owners = demo_people.client_of_sites(plan.site_id for plan in plans)
    by_site: dict[str, list[str]] = defaultdict(list)
    for plan in plans:
        by_site[plan.site_id].append(plan.station_id)
    public = demo_public.public_stations(by_site)
    for plan in plans:
        is_public = plan.station_id in public
        for evse_id in plan.evse_ids:
            row = {
                "client": owners[plan.site_id],
                "site_id": plan.site_id,
                "site_name": f"Garage {plan.site_id}",
                "time_zone": "Europe/Paris",
                "station_id": plan.station_id,
                "protocol": plan.protocol,
                "vendor": "Simulateur",
                "model": "Replay",
                "evse_id": evse_id,
                "connector_id": 1,
                "connector_type": "type2",
                "power_w_max": CONNECTOR_POWER_W,
                "public": "true" if is_public else "false",
            }
            if is_public:
                row |= demo_public.columns_of(
                    plan.site_id, plan.station_id, evse_id, owners[plan.site_id]
                )
            writer.writerow(row)
    return text.getvalue()


async def _replay(settings: Settings, job: Job) -> Replay:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("messages"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("Charging through OCPP", total=None)
        return await replay(
            job.month.records,
            job.plans,
            DriverConfig(
                url=f"ws://{settings.host}:{settings.ocpp_port}/ocpp",
                plain=True,
                heartbeats=False,
            ),
            interval_s=READING_INTERVAL_S,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )


async def _give_up_lost(connection: AsyncConnection, settings: Settings) -> None:
    """End what has no stop now, where the worker would wait for its period."""
    impatient = replace(settings, lost_stop_after_s=0.0)
    while await worker.give_up_lost_sessions(connection, impatient, datetime.now(UTC)):
        pass


def _compare(job: Job, result: Replay, written: collection.Collection) -> int:
    """Simulators' count against the collection."""
    table = Table(title=f"Compared: {job.month_name}")
    for heading in ("", "simulators", "collection", "difference"):
        table.add_column(heading, justify="left" if not heading else "right")
    counts = [
        ("sessions", len(result.told), written.sessions),
        ("energy, Wh", result.energy_wh, written.energy_wh),
        ("sessions of unknown energy", 0, written.unknown_energy),
    ]
    for name, told, kept in counts:
        table.add_row(name, f"{told:,}", f"{kept:,}", f"{kept - told:,}")
    console.print(table)
    console.print(
        f"{result.answered:,} of {result.messages:,} messages acknowledged by {result.stations} "
        f"stations in {result.seconds:.1f} s; {result.resent} sent again."
    )
    for station, reason in result.failures.items():
        console.print(f"{station}: {reason}", markup=False)
    same = all(told == kept for _, told, kept in counts) and not result.unacknowledged
    if same:
        console.print("[bold green]Every session and every watt-hour arrived.")
    else:
        console.print("[bold red]The collection differs from what the simulators told.")
    return 0 if same else 1


async def _tell_where(settings: Settings, pool: AsyncConnectionPool, once: bool) -> None:
    base = f"http://{settings.host}:{settings.http_port}"
    means = Means(pool, settings, PasswordWork(settings.argon2_workers, 10))
    for way in await demo_people.log_ins(means, datetime.now(UTC)):
        console.print(f"Log-in       {way.email}  {way.password}  ({way.who})", soft_wrap=True)
    console.print(
        "             The operator sets up a second factor at the first log-in; until then no role "
        "counts."
    )
    if once:
        console.print("Look on with: time2plug serve; time2plug key create --role operator")
        return
    async with db.transaction(pool) as connection:
        key, _ = await keys.create(
            connection,
            name="demo",
            role="operator",
            expires_at=datetime.now(UTC) + timedelta(days=1),
        )
    console.print(f"Pages        {base}/login; a manager's: {base}/gestion")
    console.print(f"API          {base}/docs")
    console.print(f"Metrics      {base}/metrics")
    console.print(f"Open data    {base}/irve/statique.csv, {base}/irve/dynamique.csv")
    console.print(f"Stations     ws://{settings.host}:{settings.ocpp_port}/ocpp/{{station_id}}")
    if settings.mqtt_url is not None:
        broker = urlsplit(settings.mqtt_url)
        console.print(f"MQTT         {broker.hostname}:{broker.port or 1883}, topics t2p/#")
    console.print(f"API key      {key}  (operator, for one day)", soft_wrap=True)


def _with_free_ports(settings: Settings) -> Settings:
    """The settings, with other ports where theirs are taken."""
    ocpp_port = _free_port(settings.host, settings.ocpp_port)
    http_port = _free_port(settings.host, settings.http_port)
    for taken, free in ((settings.ocpp_port, ocpp_port), (settings.http_port, http_port)):
        if taken != free:
            console.print(f"Port {taken} is taken; using {free}.")
    return replace(settings, ocpp_port=ocpp_port, http_port=http_port)


def _free_port(host: str, port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            probe.bind((host, 0))
        return int(probe.getsockname()[1])
