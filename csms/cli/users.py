"""`time2plug user`: people, what they may do, and how they get in."""

from typing import TYPE_CHECKING, Annotated

import typer

from csms.cli import common

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from csms.store.people import Person

app = typer.Typer(
    no_args_is_help=True,
    help="People: operators, managers, drivers. A person is named by her address or her id.",
)

Who = Annotated[str, typer.Argument(help="Address, or the id that `user list` shows.")]
Roles = Annotated[
    list[str] | None,
    typer.Option("--role", help="Of an operator: read, operate, finance, admin; again for more."),
]


@app.command()
def create(
    email: Annotated[str, typer.Argument(help="Her address, by which she logs in.")],
    given_name: Annotated[str, typer.Option(help="Given name.")] = "",
    family_name: Annotated[str, typer.Option(help="Family name.")] = "",
    phone: Annotated[str | None, typer.Option(help="Telephone number.")] = None,
    language: Annotated[str, typer.Option(help="Of mails and pages: fr or en.")] = "fr",
    role: Roles = None,
    manages: Annotated[
        list[int] | None,
        typer.Option(help="Id of a client that she manages; again for more."),
    ] = None,
) -> None:
    """Create a person and invite her.

    The link, by which she chooses her password, is mailed to her and printed, once, alone on the
    last line. It is good once, for some days.
    """
    typer.echo(
        common.run(
            _create(email, given_name, family_name, phone, language, role or [], manages or [])
        )
    )


@app.command("list")
def list_people(
    search: Annotated[str | None, typer.Option(help="Part of a name or address.")] = None,
    role: Annotated[str | None, typer.Option(help="Only operators with this role.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 1_000,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """List the people."""
    found, total = common.run(_list(search, role, limit))
    if as_json:
        common.show_json(found)
        return
    common.show_table(
        ["id", "address", "name", "roles", "manages", "driver", "second factor", "state"],
        [
            [
                p.id,
                p.email,
                f"{p.given_name} {p.family_name}".strip() or None,
                p.operator_roles,
                p.manages,
                p.is_driver,
                p.totp_confirmed_at is not None,
                _state(p),
            ]
            for p in found
        ],
    )
    if total > len(found):
        typer.echo(f"{len(found)} of {total} shown", err=True)


@app.command()
def invite(who: Who) -> None:
    """Invite a person again; a former link works no more. The link is alone on the last line."""
    typer.echo(common.run(_invite(who)))


@app.command()
def roles(who: Who, role: Roles = None) -> None:
    """Give a person these roles of an operator and no others; without --role none.

    They count once she has set up her second factor, at the first log-in.
    """
    common.run(_roles(who, role or []))
    typer.echo(f"Roles of {who}: {', '.join(role or []) or 'none'}.")


@app.command()
def manager(
    who: Who,
    client: Annotated[int, typer.Option(help="Id of the client.")],
    end: Annotated[bool, typer.Option("--end", help="She manages it no more.")] = False,
) -> None:
    """Let a person manage a client, from now on; or no more."""
    common.run(_manager(who, client, end))
    typer.echo(f"{who} manages client {client}{' no more' if end else ''}.")


@app.command()
def block(
    who: Who,
    undo: Annotated[bool, typer.Option("--undo", help="Let her in again.")] = False,
) -> None:
    """Let a person in no more, at once; or again."""
    common.run(_block(who, undo))
    typer.echo(f"{who} is {'let in again' if undo else 'blocked'}.")


@app.command()
def close(who: Who) -> None:
    """End an account, at once and for good."""
    common.run(_close(who))
    typer.echo(f"The account of {who} is closed.")


@app.command()
def reset_second_factor(who: Who) -> None:
    """Take a lost second factor away. Her log-ins end; her roles wait for another one."""
    common.run(_reset_second_factor(who))
    typer.echo(f"{who} has no second factor any more.")


def _state(person: "Person") -> str:
    if person.closed_at is not None:
        return "closed"
    if person.blocked_at is not None:
        return "blocked"
    return "open" if person.email_verified_at is not None else "invited"


async def _create(
    email: str,
    given_name: str,
    family_name: str,
    phone: str | None,
    language: str,
    roles: list[str],
    manages: list[int],
) -> str:
    from csms import accounts

    now = common.now()
    async with common.transaction() as connection:
        person_id = await accounts.create_person(
            connection,
            email=email,
            given_name=given_name,
            family_name=family_name,
            phone=phone,
            language=language,
            roles=roles,
            actor=common.ACTOR,
            now=now,
        )
        for client_id in manages:
            await accounts.add_manager(
                connection, person_id, client_id, actor=common.ACTOR, now=now
            )
        return await accounts.invite(
            connection, common.settings(), person_id, actor=common.ACTOR, now=now
        )


async def _list(search: str | None, role: str | None, limit: int) -> "tuple[list[Person], int]":
    from csms.store import people

    async with common.transaction() as connection:
        found = await people.list_people(
            connection, search=search, role=role, client_id=None, limit=limit, cursor=None
        )
        total = await people.count_people(connection, search=search, role=role, client_id=None)
    return found, total


async def _invite(who: str) -> str:
    from csms import accounts

    async with common.transaction() as connection:
        person_id = await _id_of(connection, who)
        return await accounts.invite(
            connection, common.settings(), person_id, actor=common.ACTOR, now=common.now()
        )


async def _roles(who: str, roles: list[str]) -> None:
    from csms import accounts

    async with common.transaction() as connection:
        person_id = await _id_of(connection, who)
        await accounts.set_roles(connection, person_id, roles, actor=common.ACTOR, now=common.now())


async def _manager(who: str, client: int, end: bool) -> None:
    from csms import accounts

    change = accounts.end_manager if end else accounts.add_manager
    async with common.transaction() as connection:
        person_id = await _id_of(connection, who)
        await change(connection, person_id, client, actor=common.ACTOR, now=common.now())


async def _block(who: str, undo: bool) -> None:
    from csms import accounts

    change = accounts.unblock if undo else accounts.block
    async with common.transaction() as connection:
        person_id = await _id_of(connection, who)
        await change(connection, person_id, actor=common.ACTOR, now=common.now())


async def _close(who: str) -> None:
    from csms import closing

    settings = common.settings()
    async with common.transaction() as connection:
        person_id = await _id_of(connection, who)
        by = closing.By(common.ACTOR)
        await closing.close_account(connection, settings, person_id, now=common.now(), by=by)


async def _reset_second_factor(who: str) -> None:
    from csms import accounts

    async with common.transaction() as connection:
        person_id = await _id_of(connection, who)
        await accounts.reset_second_factor(
            connection, person_id, actor=common.ACTOR, now=common.now()
        )


async def _id_of(connection: "AsyncConnection", who: str) -> int:
    """The person with this address or id. Raises: NotThere."""
    from csms.registry import NotThere
    from csms.store import people

    if who.isascii() and who.isdigit() and len(who) < 19:
        return int(who)
    found = await people.find_credentials(connection, who.strip())
    if found is None:
        raise NotThere(f"There is no person {who}.")
    return found.id
