"""`time2plug report push`, `status`: what leaves for other systems."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from csms.cli import common, report_partners
from csms.cli.billing import progress_bar
from csms.cli.billing_month import DryRun, opened

if TYPE_CHECKING:
    from psycopg_pool import AsyncConnectionPool

    from csms.config import Settings
    from reporting.outlet import Outlet
    from reporting.store_outlet import State

DEAD_MAX = 5  # dead letters of an outlet that are told one by one


class Peer(StrEnum):
    """Who can be told."""

    QUALICHARGE = "qualicharge"
    DATAGOUV = "datagouv"
    OCPI = "ocpi"


NEEDED = {
    Peer.QUALICHARGE: "QualiCharge is not set: T2P_QUALICHARGE_URL, T2P_QUALICHARGE_USER and "
    "T2P_QUALICHARGE_PASSWORD",
    Peer.DATAGOUV: "data.gouv.fr is not set: T2P_DATAGOUV_KEY, T2P_DATAGOUV_ORGANIZATION, "
    "T2P_DATAGOUV_DATASET and T2P_DATAGOUV_STATIC_RESOURCE",
    Peer.OCPI: "no partner is registered over OCPI: T2P_OCPI_PARTY_ID, `time2plug report partner`",
}


def register(app: typer.Typer) -> None:
    """Put the verbs on their group."""
    app.command()(push)
    app.command()(status)
    app.add_typer(report_partners.app, name="partner")


def push(
    peer: Annotated[Peer, typer.Argument(help="Who is told.")], dry_run: DryRun = False
) -> None:
    """Tell a peer what it was not told yet.

    qualicharge: points, statuses and sessions of public points. It is off without
    T2P_QUALICHARGE_URL, _USER and _PASSWORD.

    datagouv: the static IRVE file, uploaded where it has changed, and with
    T2P_DATAGOUV_DYNAMIC_RESOURCE the link to the dynamic one. It is off without T2P_DATAGOUV_KEY,
    _ORGANIZATION, _DATASET and _STATIC_RESOURCE.

    ocpi: what registered partners are told of their sites (`time2plug report partner`): places,
    statuses, tariffs, sessions and CDRs. It is off without T2P_OCPI_PARTY_ID.

    What waits goes in order, within the peer's limits of rate, and nothing goes twice; the worker
    does the same all the time.
    """
    common.run(_push(peer, dry_run))


async def _push(peer: Peer, dry_run: bool) -> None:
    from reporting import outlet

    async with opened() as (settings, pool):
        async with _open_outlets(peer, pool, settings) as looking:
            if not looking:
                common.fail(NEEDED[peer])
            if peer is Peer.DATAGOUV:
                await _tell_file(settings, pool)
            names = {one.name for one in looking}
            states = [
                state
                for state in await outlet.preview(pool, settings, looking, common.now())
                if state.name in names
            ]
        waiting = sum(state.waiting for state in states)
        if dry_run:
            _show(states)
            typer.echo(f"{waiting:,} items would be sent.")
            return
        # Others than those that looked: what was found above was not kept.
        async with _open_outlets(peer, pool, settings) as outlets:
            with progress_bar() as bar:
                task = bar.add_task("Items", total=waiting)
                done = await outlet.deliver(
                    pool, settings, outlets, progress=lambda: bar.advance(task)
                )
        typer.echo(
            f"{done.made:,} items made, {done.sent:,} delivered, {done.dead:,} refused (on the "
            f"desk), {done.dropped:,} dropped."
        )
        if done.dead:
            await _tell_dead(pool, outlets)
    if done.failures:
        common.fail("the peer is away, or in trouble: see `time2plug report status`")


def _open_outlets(
    peer: Peer, pool: "AsyncConnectionPool", settings: "Settings"
) -> "AbstractAsyncContextManager[list[Outlet]]":
    from reporting import datagouv, qualicharge
    from reporting.ocpi import telling

    if peer is Peer.OCPI:
        return telling.open_outlets(pool, settings)
    if peer is Peer.DATAGOUV:
        return datagouv.open_outlets(settings)
    return qualicharge.open_outlets(settings)


async def _tell_file(settings: "Settings", pool: "AsyncConnectionPool") -> None:
    """Say what the static file has, and why it is not sent where it is not."""
    from reporting import datagouv

    async with pool.connection() as connection:
        file = await datagouv.read_file(connection, settings, common.now())
    typer.echo(
        f"{datagouv.FILE_NAME}: {file.rows:,} points, {len(file.content):,} bytes, SHA-256 "
        f"{file.sha256}; {file.held_back:,} points are held back: `time2plug report irve-static "
        "--dry-run` says why."
    )
    if file.refusal is not None:
        typer.echo(f"It is not sent: {file.refusal}")


async def _tell_dead(pool: "AsyncConnectionPool", outlets: "Sequence[Outlet]") -> None:
    """Say why the newest dead letters are dead."""
    from reporting import store_outlet

    async with pool.connection() as connection:
        for one in outlets:
            for item in await store_outlet.list_items(
                connection, outlet=one.name, status="dead", limit=DEAD_MAX
            ):
                why = ": ".join(part for part in (item.reason, item.reply) if part)
                typer.echo(f"{one.name} {item.object_key}: {why}")


def status(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show how every outlet fares: what waits and since when, what was refused, the last delivery,
    failures since and why."""
    common.run(_status(as_json))


async def _status(as_json: bool) -> None:
    from reporting import store_outlet

    async with opened() as (_, pool), pool.connection() as connection:
        states = await store_outlet.list_states(connection)
    if as_json:
        common.show_json(states)
    else:
        _show(states)


def _show(states: "list[State]") -> None:
    common.show_table(
        ("outlet", "waiting", "since", "dead", "last delivery", "failures", "last error"),
        [
            (
                state.name,
                state.waiting,
                state.oldest_at,
                state.dead,
                state.went_at,
                state.failures,
                state.last_error if state.failures else None,
            )
            for state in states
        ],
    )
