"""Operations on partners over OCPI: invited, registered, told of sites, closed."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request, Response
from pydantic import Field

from csms.clients import Actor
from csms.config import Settings
from csms.db import transaction
from csms.principals import Principal
from csms.web.fields import Identifier, Input, Name, Output, Utc
from csms.web.guard import Admin, Pool
from csms.web.problems import Problem, documented
from reporting import store_ocpi as store
from reporting.ocpi import partners
from reporting.ocpi.partners import CannotUse
from reporting.outlet import Away, Lost, Refused
from reporting.store_ocpi import FeedRow, PartnerRow

router = APIRouter(tags=["Partners"])

Feed = Literal["roaming", "advenir"]
SlugText = Annotated[str, Field(pattern="^[a-z]{2,20}$", examples=["gireve"])]
Slug = Annotated[str, Path(pattern="^[a-z]{2,20}$", description="Its short name.")]


class FeedOut(Output):
    site_id: str
    client_id: int
    feed: Feed = Field(
        description="roaming: places, statuses and sessions of the partner's drivers; advenir: all "
        "sessions, without any driver."
    )
    from_at: Utc
    created_by: str


class PartnerOut(Output):
    slug: str
    name: str
    country_code: str
    party_id: str
    person_id: int | None = Field(description="The driver's account that roaming is invoiced to.")
    is_invited: bool
    registered_at: Utc | None
    modules: list[str] = Field(description="That it has, each with its role.")
    created_at: Utc
    created_by: str
    sites: list[FeedOut]


class PartnerIn(Input):
    slug: SlugText
    name: Name
    country_code: Annotated[str, Field(pattern="^[A-Z]{2}$", examples=["FR"])]
    party_id: Annotated[str, Field(pattern="^[A-Z0-9]{3}$", examples=["107"])]
    person_id: Identifier | None = Field(
        default=None,
        description="The account, of a company, that its drivers' sessions are invoiced to; "
        "without one its drivers charge nowhere.",
    )


class InvitationOut(Output):
    versions_url: str
    token: str = Field(description="Told once: the partner registers with it, once.")


class RegisterIn(Input):
    versions_url: Annotated[str, Field(pattern="^https?://", max_length=255)]
    token: Annotated[str, Field(min_length=1, max_length=64)] = Field(
        description="That the partner gave us for registering."
    )


class ClosedOut(Output):
    answer: str | None = Field(description="What the partner says where it does not take the end.")


@router.get("/ocpi-partners", summary="List partners", responses=documented())
async def list_partners(pool: Pool, _: Admin) -> list[PartnerOut]:
    """Partners over OCPI, what they have, and which sites they are told of."""
    async with pool.connection() as connection:
        rows = await store.list_partners(connection)
        feeds = await store.list_feeds(connection, now=datetime.now(UTC))
    return [_out(row, [feed for feed in feeds if feed.partner == row.slug]) for row in rows]


@router.post("/ocpi-partners", summary="Add a partner", status_code=201, responses=documented(409))
async def create_partner(pool: Pool, admin: Admin, body: PartnerIn) -> PartnerOut:
    """Add a hub or another partner; it is invited, or we register with it, afterwards."""
    async with transaction(pool) as connection:
        made = await partners.create(
            connection, **body.model_dump(), actor=_actor(admin), now=datetime.now(UTC)
        )
    return _out(made, [])


@router.post(
    "/ocpi-partners/{slug}/invite", summary="Invite a partner", responses=documented(404, 409)
)
async def invite(request: Request, pool: Pool, admin: Admin, slug: Slug) -> InvitationOut:
    """A token with which the partner registers with us; a former one is void."""
    async with transaction(pool) as connection:
        made = await partners.invite(
            connection, _settings(request), slug, _actor(admin), datetime.now(UTC)
        )
    return InvitationOut.model_validate(made)


@router.post(
    "/ocpi-partners/{slug}/register",
    summary="Register with a partner",
    responses=documented(404, 409, 502),
)
async def register(
    request: Request, pool: Pool, admin: Admin, slug: Slug, body: RegisterIn
) -> PartnerOut:
    """Use a token that the partner gave us, at the address of its versions."""
    try:
        made = await partners.register(
            pool,
            _settings(request),
            slug,
            body.versions_url,
            body.token,
            _actor(admin),
            datetime.now(UTC),
        )
    except (CannotUse, Refused, Away, Lost) as error:
        raise Problem(502, f"The partner did not take us: {error}"[:1_000]) from None
    return _out(made, [])


@router.delete("/ocpi-partners/{slug}", summary="Close a partner", responses=documented(404))
async def close_partner(request: Request, pool: Pool, admin: Admin, slug: Slug) -> ClosedOut:
    """End the registration at both sides. Its name is not given again."""
    told = await partners.close(pool, _settings(request), slug, _actor(admin), datetime.now(UTC))
    return ClosedOut(answer=told)


@router.put(
    "/ocpi-partners/{slug}/sites/{site_id}/{feed}",
    summary="Tell a partner of a site",
    status_code=204,
    responses=documented(404, 409),
)
async def tell_of_site(pool: Pool, admin: Admin, slug: Slug, site_id: Name, feed: Feed) -> Response:
    """From now on; what its points lack keeps them from it (what a site lacks for `ocpi`)."""
    async with transaction(pool) as connection:
        await partners.tell_of(connection, slug, site_id, feed, _actor(admin), datetime.now(UTC))
    return Response(status_code=204)


@router.delete(
    "/ocpi-partners/{slug}/sites/{site_id}/{feed}",
    summary="Tell a partner of a site no more",
    status_code=204,
    responses=documented(404),
)
async def end_site(pool: Pool, admin: Admin, slug: Slug, site_id: Name, feed: Feed) -> Response:
    """Its points are told to be removed; sessions that run are told to their end."""
    async with transaction(pool) as connection:
        await partners.end_feed(connection, slug, site_id, feed, _actor(admin), datetime.now(UTC))
    return Response(status_code=204)


def _out(row: PartnerRow, feeds: list[FeedRow]) -> PartnerOut:
    return PartnerOut(
        slug=row.slug,
        name=row.name,
        country_code=row.country_code,
        party_id=row.party_id,
        person_id=row.person_id,
        is_invited=row.is_invited,
        registered_at=row.registered_at,
        modules=sorted(f"{e['identifier']} {e['role']}" for e in row.endpoints),
        created_at=row.created_at,
        created_by=row.created_by,
        sites=[FeedOut.model_validate(feed) for feed in feeds],
    )


def _actor(principal: Principal) -> Actor:
    return Actor(principal.actor, principal.person_id)


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings
