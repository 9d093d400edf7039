"""`time2plug billing remind`: unpaid invoices."""

import typer

from csms.cli import common
from csms.cli.billing import app, progress_bar
from csms.cli.billing_month import DryRun, opened


def register() -> None:
    """Put the verb on its group."""
    app.command()(remind)


def remind(dry_run: DryRun = False) -> None:
    """Remind of unpaid invoices, give notice of blocks, block, and lift blocks that are paid.

    Each letter goes out once, one a day about an invoice at most, on working days only. Days and
    notice: T2P_REMINDER_DAYS, T2P_REMINDER_PAUSE_DAYS, T2P_BLOCKING_NOTICE_DAYS. The worker does
    the same in office hours.
    """
    common.run(_remind(dry_run))


async def _remind(dry_run: bool) -> None:
    from billing import reminders
    from billing.money import euros

    async with opened() as (settings, pool):
        with progress_bar() as bar:
            task = bar.add_task("Invoices", total=None)
            done = await reminders.remind(
                pool,
                common.now(),
                settings=settings,
                dry_run=dry_run,
                progress=lambda count, total: bar.update(task, completed=count, total=total),
            )
    by_level = ", ".join(f"{count:,} of level {n}" for n, count in sorted(done.reminders.items()))
    levels = f" ({by_level})" if by_level else ""
    would = "would be " if dry_run else ""
    typer.echo(
        f"{sum(done.reminders.values()):,} reminders{levels} and {done.notices:,} notices of a "
        f"block {would}sent, of {euros(done.amount_cents)} EUR; {done.blocked:,} drivers "
        f"{would}blocked, {done.lifted:,} blocks {would}lifted."
    )
    if done.undelivered:
        typer.echo(
            f"{done.undelivered:,} notices reached nobody, and block nobody: correct the drivers' "
            "addresses, or write to them otherwise (GET /api/v1/notifications says why)."
        )
