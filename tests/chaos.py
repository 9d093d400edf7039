"""Kill, freeze and stop the service and its database under load, and lose nothing.

    python -m tests.chaos [--rounds 50] [--stations 24] [--seed N] [--outage-s 60]

Plays rounds of sudden deaths, then a minute with the database frozen and one with it stopped. At
the end all stations are answered, and their own count is compared with the database: exit code 1
and a report when an acknowledged message is missing, a session is there twice, or a watt-hour
differs.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from csms.embedded import OWNER, EmbeddedServer
from tests.scenarios.audit import audit, provision
from tests.scenarios.load import Flood, Load, energy_wh
from tests.scenarios.service import Refused, Service, ServiceError

STRIKES = ("gateway", "database", "both", "backend", "twice", "restart")
OUTAGES = ("frozen", "stopped")
KNOCKER = "KNOCKER"
ANSWERS_IN_FLIGHT_S = 0.5  # what was committed before an outage may still arrive
KNOCK_S = 8.0  # a handshake is answered within that, whatever the database does
GROWTH_BYTES_MAX = 48 * 2**20  # of the service's memory in an outage

Tell = Callable[[str], None]


@dataclass
class Report:
    """What was played and what came of it; `faults` are broken promises."""

    name: str
    sessions: int = 0
    energy_wh: int = 0
    acknowledged: int = 0
    resent: int = 0
    notes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def count(self, load: Load) -> None:
        """Take the stations' count over."""
        self.sessions = len(load.sessions)
        self.energy_wh = energy_wh(load.sessions)
        self.acknowledged = len(load.ledger)
        self.resent = sum(driver.resent for driver in load.drivers)

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.sessions} sessions, {self.energy_wh} Wh, {self.acknowledged} "
            f"transaction messages acknowledged, {self.resent} sent again; "
            f"{len(self.faults)} faults"
        )


async def sudden_deaths(
    folder: Path, *, rounds: int, stations: int, seed: int, tell: Tell = lambda text: None
) -> Report:
    """Rounds of SIGKILL at random moments, each followed by a recovery under load."""
    report = Report("sudden deaths")
    chance = random.Random(seed)
    service = Service(folder)
    try:
        await service.start()
        load = Load(service.url, stations, seed)
        await provision(service.server.conninfo(OWNER), load.station_ids)
        async with load.charging():
            strikes = _strikes(rounds, chance)
            for strike in strikes:
                await load.more(chance.randint(20, 200))
                await asyncio.sleep(chance.uniform(0, 0.03))  # anywhere between two commits
                began_s = time.monotonic()
                await _strike(service, strike, chance)
                await load.more(10)
                tell(f"{strike}: serving again after {time.monotonic() - began_s:.1f} s")
            await load.finish()
        report.notes = [f"{number} x {strike}" for strike, number in Counter(strikes).items()]
        report.count(load)
        report.faults = await audit(service.server.conninfo(OWNER), load)
        await service.stop()
    except* (ServiceError, TimeoutError) as group:
        report.faults += _reasons(group, service)
    finally:
        await service.clean_up()
    return report


def _strikes(rounds: int, chance: random.Random) -> list[str]:
    """Each kind in turn, in an order of chance."""
    strikes: list[str] = []
    while len(strikes) < rounds:
        strikes += chance.sample(STRIKES, len(STRIKES))
    return strikes[:rounds]


async def _strike(service: Service, strike: str, chance: random.Random) -> None:
    """One blow; returns when the service runs and is ready."""
    match strike:
        case "gateway":
            await service.kill()
            await service.start()
        case "database":  # the service itself has to start it again
            service.kill_database()
        case "backend":
            await service.kill_backend()
        case "both":
            if chance.random() < 0.5:
                service.kill_database()
                await service.kill()
            else:
                await service.kill()
                service.kill_database()
            await service.start()
        case "twice":  # while it recovers from the first
            service.kill_database()
            await asyncio.sleep(chance.uniform(0, 1))
            await service.kill()
            await service.start()
        case "restart":
            await service.stop()
            await service.start()
    await service.ready()


async def outage(
    folder: Path,
    kind: str,
    *,
    seconds: float,
    stations: int,
    seed: int,
    tell: Tell = lambda text: None,
) -> Report:
    """The database away under load: "frozen" (it holds its connections) or "stopped" (cleanly).

    It is one that the service may not start by itself. Two stations flood the gateway meanwhile.
    """
    report = Report(f"database {kind} for {seconds:.0f} s")
    server = EmbeddedServer(folder / "external")
    await asyncio.to_thread(server.join)
    service = Service(folder / "service", server, frames_per_s_max=1e6, frames_burst_max=10**6)
    try:
        await service.start()
        load = Load(service.url, stations, seed, call_timeout_s=3)
        floods = [Flood(service.url, f"FLOOD-{number}") for number in (1, 2)]
        ids = [*load.station_ids, *(flood.identity for flood in floods), KNOCKER]
        await provision(server.conninfo(OWNER), ids)
        async with load.charging(), floods[0].connected(), floods[1].connected():
            await load.more(300)
            await _outage(service, kind, seconds, load, floods, report)
            await load.more(100)
            for note in report.notes:
                tell(note)
            await load.finish()
            for flood in floods:
                await flood.drained(60)
        report.count(load)
        report.faults += await audit(server.conninfo(OWNER), load, floods)
        await service.stop()
    except* (ServiceError, TimeoutError) as group:
        report.faults += _reasons(group, service)
    finally:
        await service.clean_up()
        await asyncio.to_thread(server.leave)
    return report


async def _outage(
    service: Service,
    kind: str,
    seconds: float,
    load: Load,
    floods: Sequence[Flood],
    report: Report,
) -> None:
    """From the moment that the database is away to the moment that it is back."""
    before_bytes = largest_bytes = service.rss_bytes
    frozen: list[int] = []
    if kind == "frozen":
        frozen = service.freeze_database()
    else:
        await asyncio.to_thread(service.server.leave)  # its last user stops it
    await asyncio.sleep(ANSWERS_IN_FLIGHT_S)
    began_s = time.monotonic()
    for flood in floods:
        flood.begin()
    knocking = asyncio.create_task(_knock_until(service, began_s + seconds))
    while not knocking.done():
        await asyncio.sleep(0.1)
        service.check_alive()
        largest_bytes = max(largest_bytes, service.rss_bytes)
    written = sum(len(flood.sent) for flood in floods)
    for flood in floods:
        flood.end()
    ended_s = time.monotonic()
    if frozen:
        service.thaw_database(frozen)
    else:
        await asyncio.to_thread(service.server.join)
    await load.more(1)
    report.notes = [
        f"memory {before_bytes >> 20} MB, at most {largest_bytes >> 20} MB",
        f"{len(knocking.result())} handshakes refused, {written} frames of the floods taken",
        f"first answer {load.ledger[-1].at_s - ended_s:.1f} s after its return",
    ]
    answers_s = [entry.at_s for entry in load.ledger]
    answers_s += [at_s for flood in floods for _, at_s in flood.answered]
    acknowledged = sum(began_s < at_s < ended_s for at_s in answers_s)
    if acknowledged:
        report.faults.append(f"{acknowledged} messages acknowledged without a database")
    if largest_bytes - before_bytes > GROWTH_BYTES_MAX:
        report.faults.append(f"memory not bounded: {report.notes[0]}")
    for knock in knocking.result():
        if knock is None or knock.status != 503 or knock.retry_after is None:
            report.faults.append(f"a new connection got {knock}, not 503 with Retry-After")


async def _knock_until(service: Service, deadline_s: float) -> list[Refused | None]:
    """Try to connect again and again; what came of it."""
    knocks: list[Refused | None] = []
    while time.monotonic() < deadline_s:
        knocks.append(await service.knock(KNOCKER, KNOCK_S))
        await asyncio.sleep(0.2)
    return knocks


def _reasons(group: BaseExceptionGroup[BaseException], service: Service) -> list[str]:
    """What stopped the play, in words."""
    reasons: list[str] = []
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            reasons += _reasons(error, service)
        elif isinstance(error, TimeoutError):
            where = traceback.extract_tb(error.__traceback__)[0]
            reasons.append(str(service.error(f"waited in vain in {where.name}: {where.line}")))
        else:
            reasons.append(str(error))
    return reasons


# The command.


def main(arguments: Sequence[str] | None = None) -> int:
    """Play everything; exit code 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--rounds", type=int, default=50, help="sudden deaths (default 50)")
    parser.add_argument("--stations", type=int, default=24, help="under load (default 24)")
    parser.add_argument("--seed", type=int, help="of chance; default: a new one, printed")
    parser.add_argument("--outage-s", type=float, default=60.0, help="of each outage; 0: none")
    parser.add_argument("--folder", type=Path, help="keep data and logs in this new folder")
    options = parser.parse_args(arguments)
    seed = random.randrange(10**6) if options.seed is None else options.seed
    console = Console()
    console.print(f"seed {seed}")
    reports = asyncio.run(_play_all(console, options, seed))
    for report in reports:
        console.print(str(report), style="red" if report.faults else "green")
        for note in report.notes:
            console.print(f"  {note}", markup=False)
        for fault in report.faults[:50]:
            console.print(f"  FAULT {fault}", markup=False)
    return 1 if any(report.faults for report in reports) else 0


async def _play_all(console: Console, options: argparse.Namespace, seed: int) -> list[Report]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    reports = []
    with ExitStack() as stack:
        if options.folder is None:
            root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="time2plug-chaos-")))
        else:
            root = options.folder
            root.mkdir(parents=True)
        progress = stack.enter_context(Progress(*columns, TimeElapsedColumn(), console=console))
        task = progress.add_task("sudden deaths", total=options.rounds)

        def tell(text: str) -> None:
            progress.console.print(f"  {text}", markup=False)
            progress.advance(task)

        reports.append(
            await sudden_deaths(
                root / "deaths",
                rounds=options.rounds,
                stations=options.stations,
                seed=seed,
                tell=tell,
            )
        )
        for kind in OUTAGES if options.outage_s else ():
            task = progress.add_task(f"database {kind}", total=None)
            reports.append(
                await outage(
                    root / kind,
                    kind,
                    seconds=options.outage_s,
                    stations=options.stations,
                    seed=seed,
                )
            )
            progress.update(task, total=1, completed=1)
    return reports


if __name__ == "__main__":
    sys.exit(main())
