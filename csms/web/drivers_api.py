"""Operations on drivers: who they are, their badges and means of payment."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from psycopg import AsyncConnection

from csms import closing, driver_badges, driver_groups, drivers
from csms.db import transaction
from csms.provisioning import drivers_csv
from csms.provisioning.plan import ImportReport
from csms.registry import NotThere, Refusal
from csms.store import driver_badges as badge_store
from csms.store import drivers as store
from csms.store import payment_means
from csms.store.drivers import Driver
from csms.web import keeping, problems
from csms.web.auditing import by
from csms.web.driver_models import (
    AskedOut,
    AssignmentIn,
    BadgeChange,
    DriverChange,
    DriverIn,
    DriverOut,
    HeldBadgeOut,
    ImportOut,
    MeansIn,
    MeansOut,
    MembershipOut,
    OrderChange,
    OrderIn,
    OrderOut,
    SiteAccessOut,
)
from csms.web.fields import CursorText, Identifier, Limit, Name, PageOf
from csms.web.guard import Anybody, Operator, Pool, Reader
from csms.web.keeping import Keeper, Keeping
from csms.web.listing import read_rows, shaped
from csms.web.problems import Problem, documented

router = APIRouter(tags=["Drivers"])

PersonId = Annotated[Identifier, Path(description="The driver's number.")]
Uid = Annotated[Name, Path(description="The badge's number, compared without case.")]


def _for(row: Driver, *, operator: bool) -> Driver:
    """What the reader may see of it: managers names, addresses, badges and their own groups."""
    return row if operator else replace(row, phone=None, billing=None)


async def _one(connection: AsyncConnection, person_id: int) -> Driver:
    """Raises: NotThere where she is not for the reader to see."""
    found = await store.list_drivers(connection, datetime.now(UTC), person_id=person_id)
    if not found:
        raise NotThere(f"There is no driver {person_id}.")
    return found[0]


async def _shown(keeper: Keeping, person_id: int) -> DriverOut:
    async with keeper.reading() as connection:
        row = await _one(connection, person_id)
    return DriverOut.model_validate(_for(row, operator=keeper.clients is None))


@router.get("/drivers", summary="List drivers", responses=documented(403))
async def list_drivers(
    reader: Reader,
    principal: Anybody,
    group_id: Annotated[Identifier | None, Query(description="Only this group's, now.")] = None,
    client_id: Annotated[Identifier | None, Query(description="Only this client's, now.")] = None,
    q: Annotated[Name | None, Query(description="Part of the name or address.")] = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[DriverOut]:
    """Drivers by number, with their groups and badges; to a manager those of her clients."""
    now = datetime.now(UTC)
    page = await read_rows(
        reader,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_drivers(
            connection,
            now,
            group_id=group_id,
            client_id=client_id,
            search=q,
            limit=count,
            cursor=after,
        ),
        total=lambda connection: store.count_drivers(
            connection, now, group_id=group_id, client_id=client_id, search=q
        ),
        key=lambda row: (row.id,),
    )
    items = [_for(row, operator=principal.is_operator) for row in page.items]
    return shaped(replace(page, items=items), DriverOut)


@router.post(
    "/drivers",
    summary="Create a driver",
    status_code=201,
    response_model=DriverOut,
    responses=documented(403, 404, 409) | {202: {"model": AskedOut}},
)
async def create_driver(
    request: Request, pool: Pool, keeper: Keeper, body: DriverIn
) -> DriverOut | Response:
    """Create a driver; a manager within a group of her clients. 409 when there is one of this
    address: she is added to a group instead. With `invite` she gets a link to choose a password,
    unless she has one. 202 to a manager who names the address of nobody that is hers: whoever has
    it is asked, and invited where she has no account yet."""
    if body.group_id is None and keeper.clients is not None:
        raise Refusal("Name the group to which she is to belong.", "group_id")
    async with transaction(pool) as connection:
        if body.group_id is not None and body.email is not None:
            await keeper.check_group(connection, body.group_id)
            settings = request.app.state.settings
            if await keeper.ask(connection, settings, body.group_id, body.named()):
                return keeping.asked(body.email, body.group_id)
        if body.group_id is not None:
            await keeper.check_group(connection, body.group_id)
        person_id = await drivers.create(
            connection,
            body.named(),
            keeper.actor,
            keeper.now,
            staff_too=keeper.clients is None,
        )
        if body.group_id is not None:
            await driver_groups.add_member(
                connection, body.group_id, person_id, keeper.actor, keeper.now
            )
        if body.invite:
            await drivers.invite(
                connection, request.app.state.settings, person_id, keeper.actor, keeper.now
            )
    return await _shown(keeper, person_id)


_CSV_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "text/csv": {
                "schema": {"type": "string"},
                "example": "given_name;family_name;email;group;badge\n"
                "Camille;Exemple;conducteur@example.org;Résidents;04A2B3C4D5E680\n",
            }
        },
    }
}


@router.post(
    "/drivers/import",
    summary="Import drivers",
    response_model=ImportOut,
    responses=documented(403),
    openapi_extra=_CSV_BODY,
)
async def import_drivers(
    request: Request,
    pool: Pool,
    keeper: Keeper,
    dry_run: Annotated[bool, Query(description="Check everything, write nothing.")] = False,
    invite: Annotated[bool, Query(description="Mail new drivers a link to log in.")] = False,
) -> ImportReport | Response:
    """Load drivers from a CSV file, all of it or nothing; 422 tells what is refused, by line. The
    same file twice changes nothing: drivers are found by their address. Columns: email; as wanted
    given_name, family_name, phone, language, client, group, sites (several with |), badge,
    valid_from, valid_until. Separated by ; or , in UTF-8 or Latin-1. A manager's file is about
    groups of her clients. Who is not hers yet is asked whether she agrees, which counts as a
    request; her badge is given by the same file once she has."""
    data = await request.body()
    report = await drivers_csv.import_drivers(
        pool,
        data,
        keeper.actor,
        keeper.now,
        clients=keeper.clients,
        dry_run=dry_run,
        settings=request.app.state.settings,
        invite=invite,
    )
    if report.problems:
        errors = [
            {"field": p.column or "", "message": str(p), "line": str(p.line)}
            for p in report.problems
        ]
        detail = "Nothing was imported; `errors` says why, line by line."
        return problems.response(422, detail, path=request.url.path, errors=errors)
    return report


@router.get("/drivers/{person_id}", summary="A driver", responses=documented(403, 404))
async def get_driver(reader: Reader, principal: Anybody, person_id: PersonId) -> DriverOut:
    """One driver."""
    async with reader.connection() as connection:
        row = await _one(connection, person_id)
    return DriverOut.model_validate(_for(row, operator=principal.is_operator))


@router.patch(
    "/drivers/{person_id}", summary="Change a driver", responses=documented(403, 404, 409)
)
async def change_driver(
    request: Request, pool: Pool, keeper: Keeper, person_id: PersonId, body: DriverChange
) -> DriverOut:
    """Change the members that are named, no others. A manager changes names, telephone and
    language, of drivers that are with no other client; the address and billing are not hers."""
    values = body.named()
    if keeper.clients is not None:
        others = values.keys() - {"given_name", "family_name", "phone", "language"}
        if others:
            raise Problem(403, "The operator changes this.", min(others))
    async with transaction(pool) as connection:
        await keeper.check_driver(connection, person_id, alone=True)
        await drivers.change(
            connection,
            person_id,
            values,
            keeper.actor,
            keeper.now,
            settings=request.app.state.settings,
        )
    return await _shown(keeper, person_id)


@router.delete(
    "/drivers/{person_id}",
    summary="Close a driver",
    status_code=204,
    responses=documented(403, 404),
)
async def close_driver(
    request: Request, pool: Pool, operator: Operator, person_id: PersonId
) -> None:
    """Close a driver: her badges are blocked, she leaves her groups, her reservations are
    cancelled. What she charged stays, and so does her log-in."""
    async with transaction(pool) as connection:
        await closing.close_driver(
            connection,
            request.app.state.settings,
            person_id,
            now=datetime.now(UTC),
            by=by(request, operator),
        )


@router.get(
    "/drivers/{person_id}/groups", summary="Groups of a driver", responses=documented(403, 404)
)
async def list_groups_of_driver(reader: Reader, person_id: PersonId) -> PageOf[MembershipOut]:
    """The groups of now and later; all on one page. A manager sees those of her clients."""
    async with reader.connection() as connection:
        row = await _one(connection, person_id)
    items = [MembershipOut.model_validate(group) for group in row.groups]
    return PageOf[MembershipOut](items=items, next=None, total=len(items))


@router.get(
    "/drivers/{person_id}/access",
    summary="Where a driver may charge now",
    responses=documented(403, 404),
)
async def list_access_of_driver(
    pool: Pool, _: Operator, person_id: PersonId
) -> PageOf[SiteAccessOut]:
    """Sites at which a group of hers has access, now or later; all on one page."""
    async with pool.connection() as connection:
        await _one(connection, person_id)
        found = await drivers.access_of(connection, person_id, datetime.now(UTC))
    items = [SiteAccessOut.model_validate(site) for site in found]
    return PageOf[SiteAccessOut](items=items, next=None, total=len(items))


# --- Badges -------------------------------------------------------------------------------------


@router.get(
    "/drivers/{person_id}/badges", summary="Badges of a driver", responses=documented(403, 404)
)
async def list_badges_of_driver(
    reader: Reader, person_id: PersonId, limit: Limit = 100, cursor: CursorText = None
) -> PageOf[HeldBadgeOut]:
    """Badges that are, or were, the driver's, the newest first."""
    async with reader.connection() as connection:
        await _one(connection, person_id)
    page = await read_rows(
        reader,
        limit,
        cursor,
        (datetime, str),
        rows=lambda connection, count, after: badge_store.list_held(
            connection, person_id, limit=count, cursor=after
        ),
        total=lambda connection: badge_store.count_held(connection, person_id),
        key=lambda row: (row.from_at, row.uid),
    )
    return shaped(page, HeldBadgeOut)


@router.post(
    "/drivers/{person_id}/badges",
    summary="Give a badge to a driver",
    status_code=201,
    responses=documented(403, 404),
)
async def assign_badge(
    pool: Pool, keeper: Keeper, person_id: PersonId, body: AssignmentIn
) -> DriverOut:
    """The badge is hers from now on: a new one, one that stations have shown (`/unknown-tokens`),
    or another driver's, who has it no more. With `order_id` it is the one that was ordered."""
    async with transaction(pool) as connection:
        await keeper.check_driver(connection, person_id)
        await driver_badges.assign(
            connection,
            person_id,
            body.uid,
            keeper.actor,
            keeper.now,
            label=body.label,
            order_id=body.order_id,
            clients=keeper.clients,
        )
    return await _shown(keeper, person_id)


@router.patch(
    "/drivers/{person_id}/badges/{uid:path}",
    summary="Block, unblock or name a badge",
    responses=documented(403, 404),
)
async def change_badge(
    pool: Pool, keeper: Keeper, person_id: PersonId, uid: Uid, body: BadgeChange
) -> DriverOut:
    """Block a badge, which is refused from this moment on, unblock it, or name it. A manager blocks
    as lost, stolen or asked for, and unblocks no other; and not where the driver is with another
    client too, who charges there by the same badge."""
    if body.status == "blocked" and keeper.reasons is not None and body.why not in keeper.reasons:
        raise Problem(403, "For this reason the operator blocks.", "why")
    async with transaction(pool) as connection:
        await keeper.check_driver(connection, person_id, alone=True)
        if body.label is not None:
            await driver_badges.rename(connection, person_id, uid, body.label, keeper.now)
        if body.status == "blocked":
            await driver_badges.block(
                connection, person_id, uid, body.why, keeper.actor, keeper.now
            )
        elif body.status == "accepted":
            await driver_badges.unblock(
                connection, person_id, uid, keeper.actor, keeper.now, reasons=keeper.reasons
            )
    return await _shown(keeper, person_id)


@router.delete(
    "/drivers/{person_id}/badges/{uid:path}",
    summary="Take a badge back",
    status_code=204,
    responses=documented(403, 404),
)
async def give_badge_back(pool: Pool, keeper: Keeper, person_id: PersonId, uid: Uid) -> None:
    """The driver has the badge no more; it is refused until somebody else gets it. A manager takes
    none from a driver who is with another client too."""
    async with transaction(pool) as connection:
        await keeper.check_driver(connection, person_id, alone=True)
        await driver_badges.give_back(connection, person_id, uid, keeper.actor, keeper.now)


@router.get("/badge-orders", summary="List orders of badges", responses=documented(403))
async def list_orders(
    reader: Reader,
    person_id: Annotated[Identifier | None, Query(description="Only this driver's.")] = None,
    open: Annotated[bool, Query(description="Only what is still to be done.")] = False,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[OrderOut]:
    """Badges that are to be sent, or were; by number."""
    page = await read_rows(
        reader,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: badge_store.list_orders(
            connection, person_id=person_id, open_only=open, limit=count, cursor=after
        ),
        total=lambda connection: badge_store.count_orders(
            connection, person_id=person_id, open_only=open
        ),
        key=lambda row: (row.id,),
    )
    return shaped(page, OrderOut)


@router.post(
    "/badge-orders", summary="Order a badge", status_code=201, responses=documented(403, 404)
)
async def order_badge(pool: Pool, keeper: Keeper, body: OrderIn) -> OrderOut:
    """A badge is to be sent to the driver."""
    async with transaction(pool) as connection:
        await keeper.check_driver(connection, body.person_id)
        made = await driver_badges.order(connection, body.person_id, keeper.actor, keeper.now)
    return OrderOut.model_validate(made)


@router.patch(
    "/badge-orders/{order_id}", summary="Send or cancel a badge", responses=documented(403, 404)
)
async def change_order(
    pool: Pool, keeper: Keeper, order_id: Identifier, body: OrderChange
) -> OrderOut:
    """The badge is on its way, or will not be sent. It is activated by giving it to the driver."""
    async with transaction(pool) as connection:
        found = await badge_store.lock_order(connection, order_id)
        if found is None:
            raise NotThere(f"There is no order {order_id}.")
        await keeper.check_driver(connection, found.person_id)
        step = driver_badges.mark_sent if body.status == "sent" else driver_badges.cancel
        made = await step(connection, order_id, keeper.actor, keeper.now)
    return OrderOut.model_validate(made)


# --- Means of payment ---------------------------------------------------------------------------


@router.get(
    "/drivers/{person_id}/payment-means",
    summary="Means of payment of a driver",
    responses=documented(403, 404),
)
async def list_means(
    pool: Pool, _: Operator, person_id: PersonId, limit: Limit = 100, cursor: CursorText = None
) -> PageOf[MeansOut]:
    """How the driver pays, and paid: references only. The oldest first."""
    async with pool.connection() as connection:
        await _one(connection, person_id)
    page = await read_rows(
        pool,
        limit,
        cursor,
        (datetime, int),
        rows=lambda connection, count, after: payment_means.list_means(
            connection, person_id, limit=count, cursor=after
        ),
        total=lambda connection: payment_means.count_means(connection, person_id),
        key=lambda row: (row.from_at, row.id),
    )
    return shaped(page, MeansOut)


@router.post(
    "/drivers/{person_id}/payment-means",
    summary="Add a means of payment",
    status_code=201,
    responses=documented(403, 404),
)
async def add_means(
    pool: Pool, keeper: Keeper, _: Operator, person_id: PersonId, body: MeansIn
) -> MeansOut:
    """How the driver pays from a moment on; what was in force ends then. Only references are kept:
    what looks like the number of a card or of an account is refused."""
    async with transaction(pool) as connection:
        made = await drivers.add_means(
            connection, person_id, keeper.actor, keeper.now, **body.named()
        )
    return MeansOut.model_validate(made)


@router.delete(
    "/drivers/{person_id}/payment-means/{means_id}",
    summary="End a means of payment",
    status_code=204,
    responses=documented(403, 404),
)
async def end_means(
    pool: Pool, keeper: Keeper, _: Operator, person_id: PersonId, means_id: Identifier
) -> Response:
    """It ends now."""
    async with transaction(pool) as connection:
        await drivers.end_means(connection, person_id, means_id, keeper.actor, keeper.now)
    return Response(status_code=204)
