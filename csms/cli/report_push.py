"""`time2plug report push`, `status`: what leaves for other systems."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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


class Peer(StrEnum):
    """Who can be told."""

    QUALICHARGE = "qualicharge"
    OCPI = "ocpi"


def register(app: typer.Typer) -> None:
    """Put the verbs on their group."""
    app.command()(push)
    app.command()(status)
    app.add_typer(report_partners.app, name="partner")


def push(
    peer: Annotated[Peer, typer.Argument(help="Who is told.")], dry_run: DryRun = False
) -> None:
    """Tell a peer what it was not told yet: points, statuses and sessions.

    What waits goes in order, within the peer's limits of rate, and nothing goes twice; the worker
    does the same all the time. QualiCharge is told of public points, and off without
    T2P_QUALICHARGE_URL, _USER and _PASSWORD; over OCPI, partners that are registered are told of
    their sites (`time2plug report partner`), off without T2P_OCPI_PARTY_ID.
    """
    common.run(_push(peer, dry_run))


async def _push(peer: Peer, dry_run: bool) -> None:
    from reporting import outlet

    async with opened() as (settings, pool):
        async with _outlets_of(peer, pool, settings) as looking:
            states = await outlet.preview(pool, settings, looking, common.now())
        waiting = sum(state.waiting for state in states)
        if dry_run:
            _show(states)
            typer.echo(f"{waiting:,} items would be sent.")
            return
        # Others than those that looked: what was found above was not kept.
        async with _outlets_of(peer, pool, settings) as outlets:
            with progress_bar() as bar:
                task = bar.add_task("Items", total=waiting)
                done = await outlet.deliver(
                    pool, settings, outlets, progress=lambda: bar.advance(task)
                )
    typer.echo(
        f"{done.made:,} items made, {done.sent:,} delivered, {done.dead:,} refused (on the desk), "
        f"{done.dropped:,} dropped."
    )
    if done.failures:
        common.fail("the peer is away, or in trouble: see `time2plug report status`")


@asynccontextmanager
async def _outlets_of(
    peer: Peer, pool: "AsyncConnectionPool", settings: "Settings"
) -> AsyncIterator["list[Outlet]"]:
    """Its outlets; ends the verb where it is not set."""
    from reporting import qualicharge
    from reporting.ocpi import telling

    if peer is Peer.QUALICHARGE:
        missing = (
            "QualiCharge is not set: T2P_QUALICHARGE_URL, T2P_QUALICHARGE_USER and "
            "T2P_QUALICHARGE_PASSWORD"
        )
        opening = qualicharge.open_outlets(settings)
    else:
        missing = (
            "no partner is registered over OCPI: T2P_OCPI_PARTY_ID, `time2plug report partner`"
        )
        opening = telling.open_outlets(pool, settings)
    async with opening as outlets:
        if not outlets:
            common.fail(missing)
        yield outlets


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
