"""`time2plug token`: badges."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from csms.cli import common

if TYPE_CHECKING:
    from csms.store.tokens import Token

app = typer.Typer(
    no_args_is_help=True,
    help="Badges: who may charge, where and until when. Compared without case.",
)

Uid = Annotated[str, typer.Argument(help="The badge's number, as readers show it.")]
Status = Annotated[str | None, typer.Option(help="accepted, blocked, expired or invalid.")]
Group = Annotated[
    str | None,
    typer.Option(help="Group's uid: its badges may end each other's sessions; '' for none."),
]
Until = Annotated[
    str | None, typer.Option(help="End of validity, like 2027-01-31T00:00:00+01:00; '' for none.")
]
Sites = Annotated[
    list[str] | None,
    typer.Option("--site", help="Only at this site; again for more; '' for every site."),
]
Kind = Annotated[str | None, typer.Option("--type", help="OCPP 2.0.1 name, as ISO14443.")]


@app.command()
def add(
    uid: Uid,
    status: Status = None,
    group: Group = None,
    valid_until: Until = None,
    site: Sites = None,
    kind: Kind = None,
) -> None:
    """Add a badge."""
    values = _values(status, group, valid_until, site, kind)
    common.run(_add(uid, values))
    typer.echo(f"Badge {uid} is added.")


@app.command("list")
def list_tokens(
    site: Annotated[str | None, typer.Option(help="Only those that may charge here.")] = None,
    status: Status = None,
    search: Annotated[str | None, typer.Option(help="Part of the number.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 1_000,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """List the badges."""
    found, total = common.run(_list(site, status, search, limit))
    if as_json:
        common.show_json(found)
        return
    common.show_table(
        ["uid", "status", "type", "group", "valid until", "sites", "client"],
        [
            [t.uid, t.status, t.type, t.group_uid, t.valid_until, t.site_ids, t.client]
            for t in found
        ],
    )
    if total > len(found):
        typer.echo(f"{len(found)} of {total} shown", err=True)


@app.command()
def show(uid: Uid) -> None:
    """Show a badge, as JSON."""
    common.show_json(common.run(_show(uid)))


@app.command("set")
def set_fields(
    uid: Uid,
    status: Status = None,
    group: Group = None,
    valid_until: Until = None,
    site: Sites = None,
    kind: Kind = None,
) -> None:
    """Change what is named, nothing else."""
    values = _values(status, group, valid_until, site, kind)
    if not values:
        common.fail("nothing to change: see `time2plug token set --help`", 2)
    common.run(_change(uid, values))
    typer.echo(f"Badge {uid} is changed.")


@app.command()
def retire(uid: Uid) -> None:
    """Retire a badge: unknown from now on. Its sessions stay."""
    common.run(_retire(uid))
    typer.echo(f"Badge {uid} is retired.")


def _values(
    status: str | None,
    group: str | None,
    valid_until: str | None,
    site: list[str] | None,
    kind: str | None,
) -> dict[str, Any]:
    """What the options name; the empty text clears."""
    from csms import registry

    if status is not None and status not in registry.TOKEN_STATUSES:
        common.fail(f"--status takes {', '.join(registry.TOKEN_STATUSES)}", 2)
    if kind is not None and kind not in registry.TOKEN_TYPES:
        common.fail(f"--type takes {', '.join(registry.TOKEN_TYPES)}", 2)
    values: dict[str, Any] = {}
    if status is not None:
        values["status"] = status
    if kind is not None:
        values["type"] = kind
    if group is not None:
        values["group_uid"] = group or None
    if valid_until is not None:
        values["valid_until"] = _moment(valid_until) if valid_until else None
    if site:  # an absent option is an empty list for some versions of typer
        values["site_ids"] = None if site == [""] else site
    return values


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        common.fail(f"--valid-until: {text!r} is not a time like 2027-01-31T00:00:00+01:00", 2)
    if moment.tzinfo is None:
        common.fail("--valid-until needs its time zone, like +01:00 or Z at the end", 2)
    return moment


async def _add(uid: str, values: dict[str, Any]) -> None:
    from csms import registry

    registry.check_uid(uid)
    async with common.transaction() as connection:
        await registry.create_token(connection, uid, values)


async def _change(uid: str, values: dict[str, Any]) -> None:
    from csms import registry

    async with common.transaction() as connection:
        await registry.change_token(connection, uid, values)


async def _retire(uid: str) -> None:
    from csms import registry

    async with common.transaction() as connection:
        await registry.retire_token(connection, uid, common.now())


async def _show(uid: str) -> "Token":
    from csms import registry
    from csms.store import tokens

    async with common.transaction() as connection:
        token = await tokens.get_token(connection, uid)
    if token is None:
        raise registry.NotThere(f"There is no badge {uid}.")
    return token


async def _list(
    site: str | None, status: str | None, search: str | None, limit: int
) -> "tuple[list[Token], int]":
    from csms.store import tokens

    async with common.transaction() as connection:
        found = await tokens.list_tokens(
            connection, site_id=site, status=status, search=search, limit=limit
        )
        total = await tokens.count_tokens(connection, site_id=site, status=status, search=search)
    return found, total
