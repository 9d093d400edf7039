"""`time2plug station`: charge points that may connect."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from csms.cli import common

if TYPE_CHECKING:
    from csms.store.stations import Station

app = typer.Typer(
    no_args_is_help=True,
    help="Stations: which charge points may connect, and how. "
    "A station connects to ws://HOST:9000/ocpp/ID.",
)

StationId = Annotated[str, typer.Argument(help="OCPP identity: the last part of its URL.")]
Site = Annotated[str | None, typer.Option(help="Id of its site; '' for none.")]
Protocol = Annotated[
    str | None, typer.Option(help="ocpp1.6, ocpp2.0.1; '' for whatever it speaks.")
]
Profile = Annotated[
    int | None,
    typer.Option(
        "--security-profile",
        min=0,
        max=3,
        help="Least it must do: 0 nothing, 1 password, 2 password over TLS, 3 certificate. "
        "A password sets 1 when this is left out.",
    ),
]
Password = Annotated[
    str | None,
    typer.Option(help="Password; '-' reads it from standard input, '' removes it."),
]
Generate = Annotated[
    bool, typer.Option("--generate-password", help="Make a password and print it once.")
]
Boot = Annotated[
    str | None, typer.Option("--boot-status", help="accepted, pending (on hold) or rejected.")
]
Public = Annotated[bool | None, typer.Option("--public/--private", help="Open to the public.")]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]


@app.command()
def create(
    station_id: StationId,
    site: Site = None,
    protocol: Protocol = None,
    security_profile: Profile = None,
    password: Password = None,
    generate_password: Generate = False,
    boot_status: Boot = None,
    public: Public = None,
) -> None:
    """Create a station. Its EVSEs and connectors appear when it reports them, or with `import`."""
    values = _values(site, protocol, security_profile, password, boot_status, public)
    generated = _generated(values, generate_password)
    common.run(_create(station_id, values))
    _tell(f"Station {station_id} is created.", generated)


@app.command("list")
def list_stations(
    site: Annotated[str | None, typer.Option(help="Only those of this site.")] = None,
    connected: Annotated[
        bool | None, typer.Option("--connected/--away", help="Only those connected, or not.")
    ] = None,
    search: Annotated[
        str | None, typer.Option(help="Found in id, vendor, model or serial.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 1_000,
    as_json: Json = False,
) -> None:
    """List the stations."""
    found, total = common.run(_list(site, connected, search, limit))
    if as_json:
        common.show_json(found)
        return
    common.show_table(
        ["id", "site", "connected", "last seen", "speaks", "vendor", "model", "firmware", "EVSEs"],
        [_summary(station) for station in found],
    )
    if total > len(found):
        typer.echo(f"{len(found)} of {total} shown", err=True)


@app.command()
def show(station_id: StationId) -> None:
    """Show all that is known of a station, as JSON. Its password is not stored and not shown."""
    common.show_json(common.run(_show(station_id)))


@app.command("set")
def set_fields(
    station_id: StationId,
    site: Site = None,
    protocol: Protocol = None,
    security_profile: Profile = None,
    password: Password = None,
    generate_password: Generate = False,
    boot_status: Boot = None,
    public: Public = None,
) -> None:
    """Change what is named, nothing else. A running server takes it up at once."""
    values = _values(site, protocol, security_profile, password, boot_status, public)
    generated = _generated(values, generate_password)
    if not values:
        common.fail("nothing to change: see `time2plug station set --help`", 2)
    common.run(_change(station_id, values))
    _tell(f"Station {station_id} is changed.", generated)


@app.command()
def retire(station_id: StationId) -> None:
    """Retire a station: it is refused from now on. Its sessions and its journal stay."""
    common.run(_retire(station_id))
    typer.echo(f"Station {station_id} is retired.")


def _values(
    site: str | None,
    protocol: str | None,
    security_profile: int | None,
    password: str | None,
    boot_status: str | None,
    public: bool | None,
) -> dict[str, Any]:
    """What the options name; the empty text clears."""
    from csms import registry

    if protocol and protocol not in registry.PROTOCOLS:
        common.fail(f"--protocol takes {' or '.join(registry.PROTOCOLS)}", 2)
    if boot_status is not None and boot_status not in registry.BOOT_STATUSES:
        common.fail(f"--boot-status takes {', '.join(registry.BOOT_STATUSES)}", 2)
    if password == "-":  # noqa: S105
        password = sys.stdin.readline().rstrip("\r\n")
        if not password:
            common.fail("no password came from standard input", 2)
    named = {"site_id": site, "protocol": protocol, "password": password}
    values: dict[str, Any] = {k: v or None for k, v in named.items() if v is not None}
    others = {"security_profile": security_profile, "boot_status": boot_status, "public": public}
    return values | {k: v for k, v in others.items() if v is not None}


def _generated(values: dict[str, Any], wanted: bool) -> str | None:
    """Put a generated password's hash into the values; returns the password, to be shown once."""
    if not wanted:
        return None
    if "password" in values:
        common.fail("--password and --generate-password exclude each other", 2)
    from csms import passwords

    password, values["password_hash"] = passwords.generate_hashed()
    return password


def _tell(sentence: str, generated: str | None) -> None:
    typer.echo(sentence, err=generated is not None)
    if generated is not None:
        typer.echo("Its password, which cannot be shown again:", err=True)
        typer.echo(generated)


def _summary(station: "Station") -> list[object]:
    return [
        station.id,
        station.site_id,
        station.connected,
        station.last_seen_at,
        station.connected_protocol or station.protocol,
        station.vendor,
        station.model,
        station.firmware,
        [f"{evse['evse_id']}:{evse['status']}" for evse in station.evses],
    ]


async def _create(station_id: str, values: dict[str, Any]) -> None:
    from csms import registry

    length_min = common.settings().password_length_min
    registry.check_station_id(station_id)
    async with common.transaction() as connection:
        await registry.create_station(connection, station_id, values, length_min=length_min)


async def _change(station_id: str, values: dict[str, Any]) -> None:
    from csms import registry

    length_min = common.settings().password_length_min
    async with common.transaction() as connection:
        await registry.change_station(connection, station_id, values, length_min=length_min)


async def _retire(station_id: str) -> None:
    from csms import registry

    async with common.transaction() as connection:
        await registry.retire_station(connection, station_id, common.now())


async def _show(station_id: str) -> "Station":
    from csms import registry
    from csms.store import stations

    async with common.transaction() as connection:
        station = await stations.get_station(connection, station_id)
    if station is None:
        raise registry.NotThere(f"There is no station {station_id}.")
    return station


async def _list(
    site: str | None, connected: bool | None, search: str | None, limit: int
) -> "tuple[list[Station], int]":
    from csms.store import stations

    async with common.transaction() as connection:
        found = await stations.list_stations(
            connection, site_id=site, connected=connected, search=search, limit=limit
        )
        total = await stations.count_stations(
            connection, site_id=site, connected=connected, search=search
        )
    return found, total
