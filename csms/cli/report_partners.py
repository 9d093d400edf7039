"""`time2plug report partner`: partners over OCPI, their registration, and what they are told of."""

from enum import StrEnum
from typing import Annotated

import typer

from csms.cli import common
from csms.cli.billing_month import opened

app = typer.Typer(
    no_args_is_help=True,
    help="Partners over OCPI 2.2.1: a roaming hub, or others. Off without T2P_OCPI_PARTY_ID.",
)

Slug = Annotated[str, typer.Argument(help="Its short name, small letters: gireve.")]
Site = Annotated[str, typer.Argument(help="The site's id.")]


class Feed(StrEnum):
    """What a partner is told of a site."""

    ROAMING = "roaming"
    ADVENIR = "advenir"


FeedOption = Annotated[
    Feed,
    typer.Option(
        help="roaming: places and sessions of its drivers; advenir: all sessions, without drivers."
    ),
]


@app.command("list")
def list_partners(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List partners, whether they are registered, and how many sites they are told of."""
    common.run(_list(as_json))


@app.command()
def add(
    slug: Slug,
    name: Annotated[str, typer.Option(help="For people.")],
    country: Annotated[str, typer.Option(help="Its country, like FR.")],
    party: Annotated[str, typer.Option(help="Its party, like 107.")],
    person: Annotated[
        int | None,
        typer.Option(help="Driver's account, of a company, that roaming is invoiced to."),
    ] = None,
) -> None:
    """Add a partner."""
    common.run(_add(slug, name, country, party, person))


@app.command()
def invite(slug: Slug) -> None:
    """Print our versions' address, and a token with which the partner registers, once; the token
    alone on the last line. It cannot be shown again."""
    common.run(_invite(slug))


@app.command()
def register(
    slug: Slug,
    versions_url: Annotated[str, typer.Argument(help="Address of its versions.")],
    token: Annotated[
        str, typer.Option(prompt=True, hide_input=True, help="That it gave us for registering.")
    ],
) -> None:
    """Register with a partner, with the token that it gave us. Our server must run meanwhile: the
    partner asks it for our versions."""
    common.run(_register(slug, versions_url, token))


@app.command()
def close(slug: Slug) -> None:
    """End the registration at both sides, and the partner."""
    common.run(_close(slug))


@app.command()
def tell(slug: Slug, site: Site, feed: FeedOption = Feed.ROAMING) -> None:
    """Tell a partner of a site from now on."""
    common.run(_tell(slug, site, feed.value, begin=True))


@app.command()
def end(slug: Slug, site: Site, feed: FeedOption = Feed.ROAMING) -> None:
    """Tell a partner of a site no more."""
    common.run(_tell(slug, site, feed.value, begin=False))


async def _list(as_json: bool) -> None:
    from reporting import store_ocpi

    async with opened() as (_, pool), pool.connection() as connection:
        rows = await store_ocpi.list_partners(connection)
        feeds = await store_ocpi.list_feeds(connection, now=common.now())
    shown = [
        {
            "slug": row.slug,
            "name": row.name,
            "party": f"{row.country_code}*{row.party_id}",
            "registered": row.registered_at,
            "invited": row.is_invited,
            "sites": sum(feed.partner == row.slug for feed in feeds),
        }
        for row in rows
    ]
    if as_json:
        common.show_json(shown)
        return
    columns = ("slug", "name", "party", "registered", "invited", "sites")
    common.show_table(columns, [[row[name] for name in columns] for row in shown])


async def _add(slug: str, name: str, country: str, party: str, person: int | None) -> None:
    from csms.clients import Actor
    from reporting.ocpi import partners

    async with common.transaction() as connection:
        await partners.create(
            connection,
            slug=slug,
            name=name,
            country_code=country,
            party_id=party,
            person_id=person,
            actor=Actor("command line"),
            now=common.now(),
        )
    typer.echo(f"{slug} is there. Next: time2plug report partner invite {slug}, or register.")


async def _invite(slug: str) -> None:
    from csms.clients import Actor
    from reporting.ocpi import partners

    async with common.transaction() as connection:
        made = await partners.invite(
            connection, common.settings(), slug, Actor("command line"), common.now()
        )
    typer.echo(f"Our versions: {made.versions_url}")
    typer.echo(made.token)


async def _register(slug: str, versions_url: str, token: str) -> None:
    from csms.clients import Actor
    from reporting.ocpi import partners
    from reporting.outlet import Away, Lost, Refused

    async with opened() as (settings, pool):
        try:
            made = await partners.register(
                pool, settings, slug, versions_url, token, Actor("command line"), common.now()
            )
        except (partners.CannotUse, Refused, Away, Lost) as error:
            common.fail(f"the partner did not take us: {error}")
    typer.echo(f"Registered with {made.name}: {len(made.endpoints)} modules.")


async def _close(slug: str) -> None:
    from csms.clients import Actor
    from reporting.ocpi import partners

    async with opened() as (settings, pool):
        told = await partners.close(pool, settings, slug, Actor("command line"), common.now())
    if told is not None:
        typer.echo(f"The partner does not take it: {told}", err=True)
    typer.echo(f"{slug} is closed.")


async def _tell(slug: str, site: str, feed: str, *, begin: bool) -> None:
    from csms.clients import Actor
    from reporting.ocpi import partners

    change = partners.tell_of if begin else partners.end_feed
    async with common.transaction() as connection:
        await change(connection, slug, site, feed, Actor("command line"), common.now())
    typer.echo(f"{slug} is told {'of' if begin else 'no more of'} {site} ({feed}).")
