"""`time2plug report push`, `status`: what leaves for other systems."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from csms.cli import common
from csms.cli.billing import progress_bar
from csms.cli.billing_month import DryRun, opened

if TYPE_CHECKING:
    from reporting.store_outlet import State


class Peer(StrEnum):
    """Who can be told."""

    QUALICHARGE = "qualicharge"


def register(app: typer.Typer) -> None:
    """Put the verbs on their group."""
    app.command()(push)
    app.command()(status)


def push(
    peer: Annotated[Peer, typer.Argument(help="Who is told.")], dry_run: DryRun = False
) -> None:
    """Tell a peer what it was not told yet: points, statuses and sessions of public points.

    What waits goes in order, within the peer's limits of rate, and nothing goes twice; the worker
    does the same all the time. It is off without T2P_QUALICHARGE_URL, _USER and _PASSWORD.
    """
    common.run(_push(dry_run))


async def _push(dry_run: bool) -> None:
    from reporting import outlet, qualicharge

    async with opened() as (settings, pool), qualicharge.open_outlets(settings) as outlets:
        if not outlets:
            common.fail(
                "QualiCharge is not set: T2P_QUALICHARGE_URL, T2P_QUALICHARGE_USER and "
                "T2P_QUALICHARGE_PASSWORD"
            )
        states = await outlet.preview(pool, settings, outlets, common.now())
        waiting = sum(state.waiting for state in states)
        if dry_run:
            _show(states)
            typer.echo(f"{waiting:,} items would be sent.")
            return
        with progress_bar() as bar:
            task = bar.add_task("Items", total=waiting)
            done = await outlet.deliver(pool, settings, outlets, progress=lambda: bar.advance(task))
    typer.echo(
        f"{done.made:,} items made, {done.sent:,} delivered, {done.dead:,} refused (on the desk), "
        f"{done.dropped:,} dropped."
    )
    if done.failures:
        common.fail("the peer is away, or in trouble: see `time2plug report status`")


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
