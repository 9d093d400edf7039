"""`time2plug simulate`: charge points against any central system.

Exit code 0 when everything sent was answered, 1 when not, 2 for a wrong command line.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from ssl import SSLContext, create_default_context
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:
    from simulators.obedience import Obedience

app = typer.Typer(
    help="Simulated charge points, for OCPP 1.6J and 2.0.1, against any central system.",
    no_args_is_help=True,
)
console = Console(stderr=True)
T = TypeVar("T")

Url = Annotated[str, typer.Option(help="Central system; the identity is added to the path.")]
Password = Annotated[
    str | None,
    typer.Option(
        help="HTTP basic password; {id} stands for the identity.", envvar="T2P_SIM_PASSWORD"
    ),
]
Protocol = Annotated[
    str | None, typer.Option(help="ocpp1.6 or ocpp2.0.1; unset: every other station.")
]
Ca = Annotated[
    Path | None,
    typer.Option(help="PEM file that the server's certificate is checked against, with wss."),
]
Obey = Annotated[
    str,
    typer.Option(
        help="What becomes of orders: accept, refuse, error (CALLERROR), silent or reboot, for all "
        "or by action, with commas: 'refuse', 'Reset=silent,ClearCache=error'."
    ),
]
Stations = Annotated[int, typer.Option(min=1, help="How many stations.")]
DEFAULT_URL = "ws://127.0.0.1:9000/ocpp"
PROTOCOLS = (None, "ocpp1.6", "ocpp2.0.1")


def _check_protocol(protocol: str | None) -> None:
    if protocol not in PROTOCOLS:
        raise typer.BadParameter("the protocol is ocpp1.6 or ocpp2.0.1")


def _obedience(text: str) -> "Obedience":
    from simulators.obedience import parse_obedience

    try:
        return parse_obedience(text)
    except ValueError as error:
        raise typer.BadParameter(f"--obey: {error}") from None


def _tls(ca: Path | None) -> SSLContext | None:
    """None: the certificates of the system."""
    if ca is None:
        return None
    try:
        return create_default_context(cafile=ca)
    except OSError as error:
        raise typer.BadParameter(f"{ca}: {error}") from None


def _with_progress(title: str, work: Callable[[Callable[[int, int], None]], Awaitable[T]]) -> T:
    """Run a coroutine that tells its progress under a bar."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )
    with bar:
        task = bar.add_task(title, total=None)

        async def run() -> T:
            return await work(lambda done, total: bar.update(task, completed=done, total=total))

        return asyncio.run(run())


def _table(title: str, rows: dict[str, object]) -> None:
    table = Table(title=title, show_header=False)
    for name, value in rows.items():
        table.add_row(name, f"{value:,}" if isinstance(value, int) else str(value))
    Console().print(table)


@app.command()
def station(
    identity: Annotated[str, typer.Argument(help="Identity of the charge point.")] = "SIM-0001",
    url: Url = DEFAULT_URL,
    password: Password = None,
    ca: Ca = None,
    protocol: Annotated[str, typer.Option(help="ocpp1.6 or ocpp2.0.1.")] = "ocpp1.6",
    evses: Annotated[int, typer.Option(min=1, max=100, help="Number of EVSEs.")] = 1,
    power_w: Annotated[int, typer.Option(min=1, help="Power while charging.")] = 7360,
    badge: Annotated[str, typer.Option(help="Badge that starts the sessions.")] = "SIM-BADGE",
    sessions: Annotated[int, typer.Option(min=0, help="Then end; 0: until Ctrl-C.")] = 0,
    charge_s: Annotated[float, typer.Option(help="Length of a session.")] = 60.0,
    pause_s: Annotated[float, typer.Option(help="Between sessions.")] = 10.0,
    sample_s: Annotated[float, typer.Option(help="Between meter values.")] = 10.0,
    secure_url: Annotated[
        str | None, typer.Option(help="wss address, for when it is told to use TLS.")
    ] = None,
    obey: Obey = "accept",
) -> None:
    """One charge point in real time: charges, pauses, obeys orders, until Ctrl-C."""
    from simulators.alone import Rhythm, charge_on
    from simulators.driver import Driver, DriverConfig, utc_now
    from simulators.model import StationConfig
    from simulators.station import Station

    _check_protocol(protocol)
    config = StationConfig(
        identity=identity,
        protocol=protocol,
        evses=evses,
        power_w=power_w,
        obedience=_obedience(obey),
    )
    secret = None if password is None else password.replace("{id}", identity)
    driver_config = DriverConfig(url=url, secure_url=secure_url, password=secret, ssl=_tls(ca))

    _knock(url, identity, password, driver_config.ssl)

    rhythm = Rhythm(badge, sessions, charge_s, pause_s, sample_s)

    async def run() -> int:
        driver = Driver(Station(config, utc_now()), driver_config)
        return await charge_on(driver, rhythm, lambda text: console.print(text, markup=False))

    try:
        unanswered = asyncio.run(run())
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
    raise typer.Exit(1 if unanswered else 0)


def _knock(url: str, identity: str, password: str | None, tls: SSLContext | None) -> None:
    """End with a sentence where the central system does not want this station: a simulator that
    behaves like a charge point would knock for ever, and say nothing."""
    from simulators.alone import knock

    refusal = asyncio.run(knock(url, identity, password, tls))
    if refusal is not None:
        console.print(refusal)
        raise typer.Exit(1)


@app.command()
def fleet(
    scenario: Annotated[
        str,
        typer.Argument(
            help="evening-peak, cut-network, reboot-mid-session, wrong-clock, retransmissions "
            "or boot-storm."
        ),
    ],
    url: Url = DEFAULT_URL,
    password: Password = None,
    ca: Ca = None,
    protocol: Protocol = None,
    stations: Stations = 20,
    prefix: Annotated[str, typer.Option(help="Identities are PREFIX0001 and so on.")] = "SIM-",
    seed: Annotated[int, typer.Option(help="Same seed, same evening.")] = 1,
    tick_s: Annotated[
        float | None,
        typer.Option(help="Real time: seconds for what is a quarter of an hour otherwise."),
    ] = None,
    obey: Obey = "accept",
) -> None:
    """Many charge points and one scenario; hours pass in seconds, or in real time."""
    from simulators.fleet import SCENARIOS, FleetOptions

    _check_protocol(protocol)
    if scenario not in SCENARIOS:
        raise typer.BadParameter(f"the scenarios are {', '.join(SCENARIOS)}")
    options = FleetOptions(
        url=url,
        stations=stations,
        protocol=protocol,
        prefix=prefix,
        password=password,
        ssl=_tls(ca),
        seed=seed,
        tick_s=tick_s,
        obedience=_obedience(obey),
    )
    _knock(url, f"{prefix}0001", password, options.ssl)
    try:
        report = _with_progress(scenario, lambda tell: SCENARIOS[scenario](options, tell))
    except TimeoutError:
        console.print(f"{url}: not everything was answered in {options.timeout_s:.0f} s")
        raise typer.Exit(1) from None
    _table(
        scenario,
        {
            "stations": report.stations,
            "sessions": len(report.sessions),
            "acknowledged": report.acknowledged,
            "energy, Wh": report.energy_wh,
            "connections": report.connections,
            "refused handshakes": report.refused_handshakes,
            "messages sent again": report.resent,
            "unanswered": report.unanswered,
            "seconds": round(report.seconds, 2),
        },
    )
    for error in report.errors:
        console.print(error, markup=False)
    raise typer.Exit(1 if report.unanswered or report.dropped else 0)


@app.command()
def replay(
    file: Annotated[
        Path | None,
        typer.Argument(help="Sessions CSV (Trondheim format); absent: generated sessions."),
    ] = None,
    url: Url = DEFAULT_URL,
    password: Password = None,
    ca: Ca = None,
    protocol: Protocol = None,
    month: Annotated[
        str | None, typer.Option(help="Only what ends in YYYY-MM, shifted there by whole weeks.")
    ] = None,
    as_recorded: Annotated[
        bool, typer.Option(help="Keep the file's own times instead of shifting to the present.")
    ] = False,
    interval_min: Annotated[int, typer.Option(min=1, help="Between meter values.")] = 60,
    connections: Annotated[int, typer.Option(min=1, help="At the same time, at most.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the generated sessions.")] = 1,
) -> None:
    """Past charging sessions, told by stations that were offline meanwhile.

    The stations have to be known to the central system, or it must accept unknown ones.
    """
    from simulators.driver import DriverConfig
    from simulators.replay import plan_stations
    from simulators.replay import replay as run_replay
    from simulators.sessions import SessionsFileError, read_csv
    from simulators.shifting import shift_to_month, shift_to_recent
    from simulators.synthetic import generate

    _check_protocol(protocol)
    try:
        records = generate(seed) if file is None else read_csv(file)
        plans = plan_stations(records, protocol)
        if month is not None:
            moved = shift_to_month(records, month)
            console.print(f"{len(moved.records)} sessions in {month}, {moved.left_out} left out")
            records = moved.records
        elif not as_recorded:
            records = shift_to_recent(records, datetime.now(UTC)).records
    except (SessionsFileError, OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None
    passwords = {
        plan.station_id: password.replace("{id}", plan.station_id)
        for plan in plans
        if password is not None
    }
    result = _with_progress(
        "replay",
        lambda tell: run_replay(
            records,
            plans,
            DriverConfig(url=url, ssl=_tls(ca), plain=True, heartbeats=False),
            interval_s=interval_min * 60,
            connections_max=connections,
            passwords=passwords,
            progress=tell,
        ),
    )
    _table(
        "replay",
        {
            "stations": result.stations,
            "sessions": len(result.told),
            "energy, Wh": result.energy_wh,
            "messages answered": result.answered,
            "sessions not acknowledged": result.unacknowledged,
            "seconds": round(result.seconds, 2),
        },
    )
    for name, reason in result.failures.items():
        console.print(f"{name}: {reason}", markup=False)
    raise typer.Exit(1 if result.unacknowledged else 0)


@app.command()
def load(
    url: Url = DEFAULT_URL,
    password: Password = None,
    ca: Ca = None,
    stations: Stations = 100,
    action: Annotated[
        str, typer.Option(help="MeterValues, TransactionEvent, Heartbeat or BootNotification.")
    ] = "MeterValues",
    duration_s: Annotated[float, typer.Option(min=0, help="Length of the run.")] = 10.0,
    rate: Annotated[
        float | None, typer.Option(help="Messages a second in all; unset: as fast as answered.")
    ] = None,
    prefix: Annotated[str, typer.Option(help="Identities are PREFIX00000 and so on.")] = "LOAD",
) -> None:
    """As many messages as a central system answers; prints JSON."""
    import uvloop

    from simulators import load as generator

    plan = generator.LoadPlan(
        url=url,
        stations=stations,
        action=action,
        protocol="ocpp2.0.1" if action == "TransactionEvent" else "ocpp1.6",
        duration_s=duration_s,
        rate_per_s=rate,
        prefix=prefix,
        password=password,
        ssl=_tls(ca),
    )
    try:
        generator.check(plan)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    generator.raise_file_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(generator.run(plan))
    typer.echo(json.dumps(asdict(result)))
    raise typer.Exit(0 if result.booted == stations and not result.unanswered else 1)


@app.command("ocpi-hub")
def ocpi_hub(
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: any.")] = 9400,
    party: Annotated[str, typer.Option(help="Who the hub is.")] = "FR*107",
    cpo_url: Annotated[
        str | None,
        typer.Option(help="Versions of the operator to register with: http://HOST/ocpi/versions."),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(help="Token A that the operator gave.", envvar="T2P_SIM_OCPI_TOKEN"),
    ] = None,
    invite: Annotated[
        str | None, typer.Option(help="Token A with which the operator may register here.")
    ] = None,
    badge: Annotated[
        list[str] | None,
        typer.Option(help="UID=CONTRACT of a driver who may charge; several times."),
    ] = None,
    pull: Annotated[bool, typer.Option(help="Read all lists after registration.")] = True,
    duration_s: Annotated[float, typer.Option(min=0, help="0: until Ctrl-C.")] = 0.0,
) -> None:
    """A roaming hub (OCPI 2.2.1, as GIREVE's guide says) that says what comes, and what is wrong.

    Exit code 1 where it found something to complain of.
    """
    from simulators.ocpi_hub import HubComplaint, OcpiHub
    from simulators.ocpi_hub.watching import Watch, watch

    country_code, _, party_id = party.partition("*")
    if len(country_code) != 2 or len(party_id) != 3:
        raise typer.BadParameter("--party is a country and three characters, as FR*107")
    if (cpo_url is None) != (token is None):
        raise typer.BadParameter("--cpo-url and --token belong together")
    badges = tuple((uid, contract) for uid, _, contract in (b.partition("=") for b in badge or ()))
    if not all(contract for _, contract in badges):
        raise typer.BadParameter("--badge is UID=CONTRACT, as 04A2B3C4D5E6F7=FR-EMP-C12345678-X")
    hub = OcpiHub(country_code, party_id)
    plan = Watch(host, port, badges, cpo_url, token, invite, pull, duration_s)
    try:
        asyncio.run(watch(hub, plan, lambda text: console.print(text, markup=False)))
    except KeyboardInterrupt:
        pass
    except (HubComplaint, OSError, ValueError) as error:
        console.print(str(error), markup=False)
        raise typer.Exit(1) from None
    found = ("locations", "tariffs", "sessions", "cdrs", "received", "complaints")
    _table("ocpi-hub", {name: len(getattr(hub, name)) for name in found})
    raise typer.Exit(1 if hub.complaints else 0)
