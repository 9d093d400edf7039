"""Operations on tariffs: made, changed by versions, where they hold, what a session would cost."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from psycopg import AsyncConnection

from billing import preview, tariffs, vat_rates
from billing.preview import Preview
from billing.store import tariff_lists
from billing.store import tariffs as store
from billing.store.tariffs import TariffRow, VersionRow
from billing.tariff import Reading, Tariff, Usage, describe
from billing.tariffs import Place
from csms.db import transaction
from csms.registry import NotThere
from csms.store import sessions
from csms.web.clients_api import actor_of, whole
from csms.web.fields import DAY_MAX, DAY_MIN, CursorText, Identifier, Limit, Moment, PageOf
from csms.web.guard import Finance, Operator, Pool, Reader
from csms.web.listing import read_rows, shaped
from csms.web.problems import Problem, documented
from csms.web.tariff_models import (
    LineOut,
    PreviewIn,
    PreviewOut,
    RateIn,
    RateOut,
    ScopeIn,
    ScopeOut,
    TariffIn,
    TariffOut,
    VersionIn,
    VersionMadeOut,
    VersionOut,
)

router = APIRouter(tags=["Tariffs"])

DURATION_S_MAX = 31 * 86_400

TariffId = Annotated[Identifier, Path(description="The tariff's number.")]
Numbered = Annotated[Identifier, Path(description="Its number.")]
At = Annotated[Moment | None, Query(description="From this moment on (RFC 3339); now.")]


@router.get("/tariffs", summary="List tariffs", responses=documented())
async def list_tariffs(
    reader: Reader,
    client_id: Annotated[Identifier | None, Query(description="Only this client's.")] = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[TariffOut]:
    """Tariffs in the order of their making, retired ones too; a manager's are those of her
    clients."""
    page = await read_rows(
        reader,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: tariff_lists.list_tariffs(
            connection, client_id=client_id, limit=count, cursor=after
        ),
        total=lambda connection: tariff_lists.count_tariffs(connection, client_id=client_id),
        key=lambda row: (row.id,),
    )
    return shaped(page, TariffOut)


@router.post("/tariffs", summary="Make a tariff", status_code=201, responses=documented(404, 409))
async def create_tariff(pool: Pool, operator: Finance, body: TariffIn) -> TariffOut:
    """A name for prices to come: add a version, then say where it holds."""
    async with transaction(pool) as connection:
        made = await tariffs.create(
            connection, body.client_id, body.code, body.name, actor_of(operator), _now()
        )
    return TariffOut.model_validate(made)


@router.post("/tariffs/preview", summary="What would it cost", responses=documented(404, 409))
async def preview_price(pool: Pool, reader: Reader, body: PreviewIn) -> PreviewOut:
    """What a session would have cost under a tariff: one that took place, with its readings, or one
    that is made up. Nothing is written. A manager asks about her clients' tariffs and sessions."""
    now = _now()
    if (body.content is None) == (body.tariff_id is None):
        raise Problem(422, "Give either content or tariff_id.", "tariff_id")
    usage = None if body.session_id is not None else _usage(body)
    async with reader.connection() as connection:
        if usage is None:
            started_at = await _start_of(connection, body)
        else:
            started_at = usage.started_at
        client_id, tariff, version_id = await _tariff(connection, body, started_at)
    async with pool.connection() as connection:  # who may see the session may see its readings
        if usage is None:
            assert body.session_id is not None
            found = await preview.of_session(connection, body.session_id, tariff, version_id, now)
        else:
            readings = [Reading(r.at, r.energy_wh, r.power_w) for r in body.readings]
            found = await preview.of_usage(
                connection, client_id, usage, readings, tariff, version_id
            )
    return _preview_out(found, reader.language)


@router.get("/tariffs/{tariff_id}", summary="A tariff", responses=documented(404))
async def get_tariff(reader: Reader, tariff_id: TariffId) -> TariffOut:
    """One tariff."""
    async with reader.connection() as connection:
        return TariffOut.model_validate(await _seen(connection, tariff_id))


@router.delete(
    "/tariffs/{tariff_id}",
    summary="Retire a tariff",
    status_code=204,
    responses=documented(404),
)
async def retire_tariff(pool: Pool, operator: Finance, tariff_id: TariffId) -> None:
    """It holds nowhere from now on, and its code is free; what was priced by it stays."""
    async with transaction(pool) as connection:
        await tariffs.retire(connection, tariff_id, actor_of(operator), _now())


@router.get("/tariffs/{tariff_id}/versions", summary="List versions", responses=documented(404))
async def list_versions(reader: Reader, tariff_id: TariffId) -> PageOf[VersionOut]:
    """What the tariff said and says, oldest first."""
    async with reader.connection() as connection:
        tariff = await _seen(connection, tariff_id)
        found = await store.list_versions(
            connection, client_id=tariff.client_id, tariff_id=tariff_id
        )
    return whole([VersionOut(**_version(row, reader.language)) for row in found])


@router.post(
    "/tariffs/{tariff_id}/versions",
    summary="Add a version",
    status_code=201,
    responses=documented(404, 409),
)
async def add_version(
    pool: Pool, operator: Finance, tariff_id: TariffId, body: VersionIn
) -> VersionMadeOut:
    """What the tariff says from a moment on. 422 names the place in the content that is wrong; 409
    where sessions that began later have their price already."""
    async with transaction(pool) as connection:
        made, warnings = await tariffs.add_version(
            connection,
            tariff_id,
            body.content,
            from_at=body.from_at,
            to_at=body.to_at,
            actor=actor_of(operator),
            now=_now(),
        )
    return VersionMadeOut(**_version(made, operator.language), warnings=warnings)


@router.delete(
    "/tariffs/{tariff_id}/versions/{version_id}",
    summary="End a version",
    status_code=204,
    responses=documented(404, 409),
)
async def end_version(
    pool: Pool, operator: Finance, tariff_id: TariffId, version_id: Numbered, at: At = None
) -> None:
    """The tariff says nothing more from that moment on, until another version."""
    now = _now()
    async with transaction(pool) as connection:
        await tariffs.end_version(
            connection, tariff_id, version_id, at or now, actor_of(operator), now
        )


@router.get(
    "/tariffs/{tariff_id}/scopes", summary="Where a tariff holds", responses=documented(404)
)
async def list_scopes(reader: Reader, tariff_id: TariffId) -> PageOf[ScopeOut]:
    """Every place, past and to come. The narrowest place of a session wins, then the driver's
    group."""
    async with reader.connection() as connection:
        tariff = await _seen(connection, tariff_id)
        found = await store.list_scopes(connection, client_id=tariff.client_id, tariff_id=tariff_id)
    return whole([ScopeOut.model_validate(row) for row in found])


@router.post(
    "/tariffs/{tariff_id}/scopes",
    summary="Let a tariff hold",
    status_code=201,
    responses=documented(404, 409),
)
async def assign(pool: Pool, operator: Finance, tariff_id: TariffId, body: ScopeIn) -> ScopeOut:
    """Let it hold at a place, for all or for a group; what held there for the same drivers ends
    then."""
    async with transaction(pool) as connection:
        made = await tariffs.assign(
            connection,
            tariff_id,
            Place(body.site_id, body.station_id, body.evse_id, body.group_id),
            from_at=body.from_at,
            to_at=body.to_at,
            actor=actor_of(operator),
            now=_now(),
        )
        tariff = await tariffs.locked(connection, tariff_id)
        found = await store.list_scopes(connection, client_id=tariff.client_id, tariff_id=tariff_id)
    return next(ScopeOut.model_validate(row) for row in found if row.id == made)


@router.delete(
    "/tariffs/{tariff_id}/scopes/{scope_id}",
    summary="Let a tariff hold no more",
    status_code=204,
    responses=documented(404),
)
async def end_scope(
    pool: Pool, operator: Finance, tariff_id: TariffId, scope_id: Numbered, at: At = None
) -> None:
    """It does not hold there from that moment on."""
    now = _now()
    async with transaction(pool) as connection:
        await tariffs.end_scope(connection, tariff_id, scope_id, at or now, actor_of(operator), now)


@router.get("/vat-rates", summary="Rates of VAT", responses=documented())
async def list_rates(pool: Pool, _: Operator) -> PageOf[RateOut]:
    """The normal rate by date, oldest first."""
    async with pool.connection() as connection:
        found = await tariff_lists.list_rates(connection)
    return whole([RateOut.model_validate(row) for row in found])


@router.post("/vat-rates", summary="Add a rate of VAT", status_code=201, responses=documented(409))
async def add_rate(pool: Pool, _: Finance, body: RateIn) -> RateOut:
    """The rate from a day on; the one before ends there. 409 where sessions of that day or later
    have their price."""
    async with transaction(pool) as connection:
        await vat_rates.add(connection, **dict(body))
    return RateOut(**dict(body))


async def _seen(connection: AsyncConnection, tariff_id: int) -> TariffRow:
    """Raises: NotThere, for what the caller may not see too."""
    found = await tariff_lists.get_tariff(connection, tariff_id)
    if found is None:
        raise NotThere(f"There is no tariff {tariff_id}.")
    return found


async def _start_of(connection: AsyncConnection, body: PreviewIn) -> datetime:
    """When the session began, if the caller may see it. Raises: NotThere; Problem."""
    made_up = {"started_at", "ended_at", "energy_wh", "readings"} & body.model_fields_set
    if made_up:
        raise Problem(422, "A session that is there has its own.", min(made_up))
    assert body.session_id is not None
    session = await sessions.get_session(connection, body.session_id)
    if session is None:
        raise NotThere(f"There is no session {body.session_id}.")
    return session.started_at


async def _tariff(
    connection: AsyncConnection, body: PreviewIn, at: datetime
) -> tuple[int | None, Tariff, int | None]:
    """Whose tariff it is, what it says, and its version. Raises: NotThere; Conflict; Refusal."""
    if body.content is not None:
        return None, tariffs.read(body.content), None
    assert body.tariff_id is not None
    client_id, version = await preview.version_at(connection, body.tariff_id, at)
    return client_id, version.tariff, version.id


def _usage(body: PreviewIn) -> Usage:
    """Raises: Problem for what is missing or in the wrong order."""
    if body.started_at is None or body.ended_at is None or body.energy_wh is None:
        missing = "started_at" if body.started_at is None else "ended_at"
        if body.started_at is not None and body.ended_at is not None:
            missing = "energy_wh"
        raise Problem(422, "Give session_id, or started_at, ended_at and energy_wh.", missing)
    if not DAY_MIN < body.started_at.date() < DAY_MAX:
        raise Problem(422, f"A session begins between {DAY_MIN} and {DAY_MAX}.", "started_at")
    if not 0 <= (body.ended_at - body.started_at).total_seconds() <= DURATION_S_MAX:
        raise Problem(422, "A session ends after its start, within 31 days.", "ended_at")
    return Usage(body.started_at, body.ended_at, body.energy_wh)


def _version(row: VersionRow, language: str) -> dict[str, Any]:
    """The members of a version; one that cannot be read has no sentences."""
    tariff = tariffs.read_stored(row.content)
    sentences = [] if tariff is None else describe(tariff, language)
    names = ("id", "tariff_id", "from_at", "to_at", "content", "created_at", "created_by")
    return {name: getattr(row, name) for name in names} | {"sentences": sentences}


def _preview_out(found: Preview, language: str) -> PreviewOut:
    priced = found.price
    return PreviewOut(
        version_id=found.version_id,
        started_at=found.usage.started_at,
        ended_at=found.usage.ended_at,
        energy_wh=found.usage.energy_wh,
        amount_excl_cents=priced.amount_excl_cents,
        vat_cents=priced.amount_incl_cents - priced.amount_excl_cents,
        amount_incl_cents=priced.amount_incl_cents,
        estimated=priced.estimated,
        vat_free=found.vat_free,
        lines=[LineOut.model_validate(line) for line in priced.lines],
        sentences=describe(found.tariff, language, vat_free=found.vat_free),
        warnings=found.gaps,
    )


def _now() -> datetime:
    return datetime.now(UTC)
