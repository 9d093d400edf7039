"""`time2plug key`: API keys."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from csms.cli import common

if TYPE_CHECKING:
    from csms.store.keys import ApiKey

app = typer.Typer(
    no_args_is_help=True,
    help="API keys: who may call the operator API with `Authorization: Bearer <key>`.",
)


@app.command()
def create(
    role: Annotated[str, typer.Option(help="What the key may do: operator.")] = "operator",
    name: Annotated[str, typer.Option(help="Who or what uses it, as lists show it.")] = "unnamed",
    expires_days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="Days until it expires; default: never.")
    ] = None,
) -> None:
    """Create a key and print it, once, alone on the last line. It cannot be shown again."""
    typer.echo(common.run(_create(role, name, expires_days)))


@app.command("list")
def list_keys(
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """List the keys; never the keys' text, which is not stored."""
    records = common.run(_list())
    if as_json:
        common.show_json(records)
        return
    common.show_table(
        ["id", "name", "role", "created", "expires", "revoked", "last used"],
        [
            [r.id, r.name, r.role, r.created_at, r.expires_at, r.revoked_at, r.last_used_at]
            for r in records
        ],
    )


@app.command()
def revoke(key_id: Annotated[int, typer.Argument(help="The id that `key list` shows.")]) -> None:
    """Revoke a key, at once and for good."""
    common.run(_revoke(key_id))
    typer.echo(f"Key {key_id} is revoked.")


async def _create(role: str, name: str, expires_days: int | None) -> str:
    from csms import keys
    from csms.registry import Refusal

    if role not in keys.ROLES:
        raise Refusal(f"there is no role {role!r}; roles are: {', '.join(keys.ROLES)}")
    expires_at = None if expires_days is None else common.now() + timedelta(days=expires_days)
    async with common.transaction() as connection:
        key, _ = await keys.create(connection, name=name, role=role, expires_at=expires_at)
    return key


async def _list() -> "list[ApiKey]":
    from csms.store import keys

    async with common.transaction() as connection:
        return await keys.list_keys(connection)


async def _revoke(key_id: int) -> None:
    from csms.registry import NotThere
    from csms.store import keys

    async with common.transaction() as connection:
        if not await keys.revoke_key(connection, key_id, common.now()):
            raise NotThere(f"there is no key {key_id}")
