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
    role: Annotated[
        str, typer.Option(help="For whom: operator, or client (one client's machine, reads only).")
    ] = "operator",
    name: Annotated[str, typer.Option(help="Who or what uses it, as lists show it.")] = "unnamed",
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="What an operator's key may do: read, operate, finance, admin; again for more. "
            "Default: all four."
        ),
    ] = None,
    client: Annotated[
        int | None, typer.Option(help="Id of the client whose machine it is, for --role client.")
    ] = None,
    expires_days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="Days until it expires; default: never.")
    ] = None,
) -> None:
    """Create a key and print it, once, alone on the last line. It cannot be shown again."""
    typer.echo(common.run(_create(role, name, scope or [], client, expires_days)))


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
        ["id", "name", "role", "scopes", "client", "created", "expires", "revoked", "last used"],
        [
            [
                r.id,
                r.name,
                r.role,
                r.scopes,
                r.client_id,
                r.created_at,
                r.expires_at,
                r.revoked_at,
                r.last_used_at,
            ]
            for r in records
        ],
    )


@app.command()
def revoke(key_id: Annotated[int, typer.Argument(help="The id that `key list` shows.")]) -> None:
    """Revoke a key, at once and for good."""
    common.run(_revoke(key_id))
    typer.echo(f"Key {key_id} is revoked.")


async def _create(
    role: str, name: str, scopes: list[str], client: int | None, expires_days: int | None
) -> str:
    from csms import keys

    expires_at = None if expires_days is None else common.now() + timedelta(days=expires_days)
    async with common.transaction() as connection:
        key, _ = await keys.grant(
            connection,
            name=name,
            role=role,
            scopes=scopes or (keys.SCOPES if role == "operator" else ["read"]),
            client_id=client,
            expires_at=expires_at,
            actor=common.ACTOR,
            person_id=None,
            now=common.now(),
        )
    return key


async def _list() -> "list[ApiKey]":
    from csms.store import keys

    async with common.transaction() as connection:
        return await keys.list_keys(connection)


async def _revoke(key_id: int) -> None:
    from csms import keys
    from csms.registry import NotThere

    async with common.transaction() as connection:
        revoked = await keys.revoke(
            connection, key_id, actor=common.ACTOR, person_id=None, now=common.now()
        )
        if not revoked:
            raise NotThere(f"there is no key {key_id}")
