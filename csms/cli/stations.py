"""`time2plug station`: charge points that may connect."""

import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from csms.cli import common

if TYPE_CHECKING:
    from csms.store.commands import Command
    from csms.store.stations import Station

ACTOR = "command line"

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


@app.command()
def command(
    station_id: StationId,
    action: Annotated[str, typer.Argument(help="OCPP action of its version, like Reset.")],
    payload: Annotated[
        str, typer.Argument(help="Its payload as JSON; '-' reads it from standard input.")
    ] = "{}",
    wait_s: Annotated[
        float, typer.Option("--wait", min=0, help="Seconds to wait for the answer.")
    ] = 30.0,
    expires_in_s: Annotated[
        float, typer.Option("--expires-in", min=1, help="Seconds after which it is not sent.")
    ] = 3600.0,
) -> None:
    """Order something of a station, and show its answer as JSON.

    Sent by the running server when the station is connected, kept for it when it is not. Exit
    code 0: accepted; 1: rejected, failed, expired; 3: no answer yet (the order stays).
    """
    shown = common.run(_order(station_id, action, _json_object(payload), wait_s, expires_in_s))
    common.show_json(shown)
    if shown["status"] != "accepted":
        raise typer.Exit(3 if shown["status"] in ("queued", "sent") else common.FAILED)


@app.command()
def commands(
    station_id: Annotated[str | None, typer.Argument(help="Only this station's.")] = None,
    status: Annotated[str | None, typer.Option(help="Only queued, sent, accepted, ...")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    as_json: Json = False,
) -> None:
    """List orders to stations, newest first."""
    found = common.run(_orders(station_id, status, limit))
    if as_json:
        common.show_json(found)
        return
    common.show_table(
        ["order", "station", "action", "status", "created", "finished", "answer or error"],
        [
            [c.id, c.station_id, c.action, c.status, c.created_at, c.finished_at, _came_of(c)]
            for c in found
        ],
    )


@app.command()
def cancel(command_id: Annotated[int, typer.Argument(help="Number of the order.")]) -> None:
    """Take back an order that has not been sent."""
    common.run(_cancel(command_id))
    typer.echo(f"Order {command_id} is cancelled.")


def _json_object(text: str) -> dict[str, Any]:
    import json

    try:
        value = json.loads(sys.stdin.read() if text == "-" else text)
    except ValueError as error:
        common.fail(f"the payload is not JSON: {error}", 2)
    if not isinstance(value, dict):
        common.fail('the payload is a JSON object, like {} or {"type": "Soft"}', 2)
    return value


def _came_of(order: "Command") -> str:
    return (order.error or order.response or "")[:100]


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
        await registry.create_station(
            connection, station_id, values, length_min=length_min, actor=ACTOR
        )


async def _change(station_id: str, values: dict[str, Any]) -> None:
    from csms import registry

    length_min = common.settings().password_length_min
    async with common.transaction() as connection:
        await registry.change_station(
            connection, station_id, values, length_min=length_min, actor=ACTOR
        )


async def _retire(station_id: str) -> None:
    from csms import registry

    async with common.transaction() as connection:
        await registry.retire_station(connection, station_id, common.now(), actor=ACTOR)


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


async def _order(
    station_id: str, action: str, payload: dict[str, Any], wait_s: float, expires_in_s: float
) -> dict[str, Any]:
    """Place an order and wait for what comes of it; the members that the API answers."""
    import asyncio

    from csms import commands, db
    from csms.store import commands as store
    from csms.wire import orders

    settings = common.settings()
    async with (
        common.open_migrated(settings) as database,
        await db.connect(database, application_name="time2plug-cli") as connection,
    ):
        async with connection.transaction():
            command_id = await orders.place(
                connection,
                station_id,
                action,
                payload,
                origin=commands.OPERATOR,
                now=common.now(),
                expires_in_s=expires_in_s,
                settings=settings,
            )
        watch = commands.Watch(database)
        watching = asyncio.create_task(watch.run())
        try:
            fetch = partial(store.get_command, connection, command_id)
            found = await commands.wait_for(watch, command_id, fetch, wait_s)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    return {
        "command_id": found.id,
        "status": found.status,
        "response": orders.plain_json(found.response),
        "error": orders.plain_json(found.error),
    }


async def _orders(station_id: str | None, status: str | None, limit: int) -> "list[Command]":
    from csms.store import commands as store

    which = store.CommandFilter(station_id=station_id, status=status)
    async with common.transaction() as connection:
        return await store.list_commands(connection, which, limit=limit)


async def _cancel(command_id: int) -> None:
    from csms import registry
    from csms.store import commands as store

    async with common.transaction() as connection:
        if await store.cancel_command(connection, command_id, common.now()):
            return
        found = await store.get_command(connection, command_id)
    if found is None:
        raise registry.NotThere(f"There is no order {command_id}.")
    raise registry.Refusal(f"Order {command_id} is {found.status}: too late to take it back.")
