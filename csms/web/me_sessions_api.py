"""A driver charges: starts, follows, stops, and looks back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from psycopg_pool import AsyncConnectionPool
from starlette.types import Receive, Scope, Send

from billing.store import pricing
from csms import commands, live, remote
from csms.config import Settings
from csms.db import transaction
from csms.domain import point
from csms.domain.point import Why
from csms.live import Follower, Live, TooMany
from csms.points import Denied
from csms.registry import NotThere
from csms.store import commands as orders_store
from csms.store import starts as store
from csms.store.commands import Command
from csms.store.starts import Live as LiveRow
from csms.store.starts import MySession, StartRow
from csms.web.fields import CursorText, From, Identifier, Limit, Name, PageOf, State, To
from csms.web.guard import Driver, Own, Pool, Reading
from csms.web.listing import read_rows, shaped
from csms.web.me_models import MySessionOut, MyValueOut, StartIn, StartOut
from csms.web.problems import documented

router = APIRouter(tags=["Drivers: me"])

#: what a session costs so far, in the currency of its tariff; None: there is none
Price = Callable[[LiveRow, datetime], Awaitable[Decimal | None]]

_LOOK_S = 0.25
_EVENT = {
    "type": "object",
    "properties": {
        "event": {"enum": ["session", "ended"]},
        "id": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events: `session` on each change, `ended` as the last one.",
        "content": {"text/event-stream": {"schema": _EVENT}},
    },
    204: {"description": "The session is over, and the last event was received."},
}
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=100,
        pattern=r"^[\x21-\x7e]+$",
        description="The same key again is the same start.",
    ),
]


@router.post(
    "/me/sessions",
    summary="Start charging",
    status_code=201,
    responses={
        202: {"model": StartOut, "description": "Asked or accepted; follow it at Location."},
        **documented(403, 404, 409),
    },
)
async def start_session(
    request: Request,
    response: Response,
    pool: Pool,
    driver: Driver,
    own: Own,
    body: StartIn,
    idempotency_key: Key = None,
) -> StartOut:
    """Ask the station of a point to charge, on the badge of the driver's app.

    201 when the session is there. 202 when the station has accepted, or has not answered yet: plug
    the car in, and follow the start at `Location`. What cannot be is refused with a `code`:
    not_allowed_here, not_now, badge_blocked, invoices_unpaid, account_closed, point_occupied,
    reserved_by_another, point_out_of_order, station_offline, station_refused, station_ignores,
    too_many_sessions, service_closed, contract_suspended. A station that is away is never told
    later.
    """
    settings: Settings = request.app.state.settings
    assert driver.person_id is not None
    async with transaction(pool) as connection:
        begun = await remote.begin(
            connection,
            settings,
            driver.person_id,
            body.point_id.upper(),
            body.connector_id,
            idempotency_key,
            datetime.now(UTC),
        )
    if begun.command_id is not None:
        await _answer(request, pool, begun.command_id)
    row, how = await _await_session(own, begun.start_id, settings.start_session_wait_s)
    if how.why is not None:
        raise Denied(how.why)
    if how.state == "started":
        response.headers["Location"] = f"/api/v1/me/sessions/{row.session_id}"
    else:
        response.status_code = 202
        response.headers["Location"] = f"/api/v1/me/starts/{row.id}"
    return _start_out(row, driver.language)


@router.get("/me/starts/{start_id}", summary="A start", responses=documented(403, 404))
async def get_start(driver: Driver, own: Own, start_id: Identifier) -> StartOut:
    """What has come of a start; a refused one says why."""
    return _start_out(await _fetch_start(own, start_id), driver.language)


@router.get("/me/sessions", summary="The driver's sessions", responses=documented(403))
async def list_my_sessions(
    _: Driver,
    own: Own,
    state: Annotated[State | None, Query(description="Only in this state.")] = None,
    from_at: From = None,
    to: To = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[MySessionOut]:
    """Sessions on the driver's badges while they were hers, last started first; `from` and `to` are
    of the start."""
    page = await read_rows(
        own,
        limit,
        cursor,
        (datetime, int),
        rows=lambda connection, count, after: store.list_my_sessions(
            connection, state=state, from_at=from_at, to_at=to, limit=count, cursor=after
        ),
        total=lambda connection: store.count_my_sessions(
            connection, state=state, from_at=from_at, to_at=to
        ),
        key=lambda row: (row.started_at, row.id),
    )
    now = datetime.now(UTC)
    async with own.connection() as connection:
        amounts = await pricing.fetch_amounts(connection, [row.id for row in page.items])
    items = [_session_out(row, now, amounts.get(row.id)) for row in page.items]
    return PageOf[MySessionOut](items=items, next=page.next, total=page.total)


@router.get("/me/sessions/{session_id}", summary="A session", responses=documented(403, 404))
async def get_my_session(_: Driver, own: Own, session_id: Identifier) -> MySessionOut:
    """One session of the driver's."""
    session = await _fetch_session(own, session_id)
    async with own.connection() as connection:
        amounts = await pricing.fetch_amounts(connection, [session_id])
    return _session_out(session, datetime.now(UTC), amounts.get(session_id))


@router.get(
    "/me/sessions/{session_id}/meter-values",
    summary="Meter values of a session",
    responses=documented(403, 404),
)
async def list_my_values(
    _: Driver,
    own: Own,
    session_id: Identifier,
    measurand: Annotated[Name | None, Query(description="Only this measurand.")] = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[MyValueOut]:
    """What the station measured during the session, raw, by the time that it stated."""
    session = await _fetch_session(own, session_id)
    page = await read_rows(
        own,
        limit,
        cursor,
        (datetime, int, int),
        rows=lambda connection, count, after: store.list_my_values(
            connection, session, measurand=measurand, limit=count, cursor=after
        ),
        total=lambda connection: store.count_my_values(connection, session, measurand=measurand),
        key=lambda row: (row.stated_at, row.digest, row.position),
    )
    return shaped(page, MyValueOut)


@router.post(
    "/me/sessions/{session_id}/stop",
    summary="Stop charging",
    responses={
        202: {"model": MySessionOut, "description": "The station stops, and has not said so yet."},
        **documented(403, 404, 409),
    },
)
async def stop_session(
    request: Request,
    response: Response,
    pool: Pool,
    driver: Driver,
    own: Own,
    session_id: Identifier,
) -> MySessionOut:
    """Ask the station to end a session of the driver's that goes on. 200 when it has ended; refused
    with `code`: session_over, station_offline, station_refused, station_ignores."""
    settings: Settings = request.app.state.settings
    session = await _fetch_session(own, session_id)
    assert driver.person_id is not None
    async with transaction(pool) as connection:
        command_id, _ = await remote.order_stop(
            connection, settings, driver.person_id, session, datetime.now(UTC)
        )
    command = await _answer(request, pool, command_id)
    why = remote.why_not(command.status, command.error)
    session = await _fetch_session(own, session_id)
    if why is not None and session.state == "active":
        raise Denied(why)
    deadline_s = _clock() + settings.start_session_wait_s
    while session.state == "active" and _clock() < deadline_s:
        await asyncio.sleep(_LOOK_S)
        session = await _fetch_session(own, session_id)
    if session.state == "active":
        response.status_code = 202
    return _session_out(session, datetime.now(UTC))


@router.get(
    "/me/sessions/{session_id}/events",
    summary="Follow a session",
    response_class=StreamingResponse,
    responses={**_EVENTS, **documented(403, 404, 429)},
)
async def follow_session(
    request: Request,
    driver: Driver,
    own: Own,
    session_id: Identifier,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID", max_length=30)] = None,
) -> Response:
    """Server-sent events of a session: energy, power, duration and state as they change, at most
    every second or two, and from time to time though nothing changed. `cost` is null where there
    is no tariff. The last event is `ended`; with its id in `Last-Event-ID` the answer is 204.

    A stream ends after some minutes too: ask again.
    """
    await _fetch_session(own, session_id)
    settings: Settings = request.app.state.settings
    assert driver.person_id is not None
    async with request.app.state.pool.connection() as connection:
        (row,) = await store.fetch_live(connection, [session_id])
    if row.state != "active" and last_event_id == str(row.revision):
        return Response(status_code=204)
    return _Stream(
        request.app.state.live,
        settings,
        request.app.state.price,
        row,
        driver.person_id,
        last_event_id,
    )


class _Stream(Response):
    """Follows a session as long as its client listens; whatever ends it, nothing is left of it."""

    def __init__(
        self,
        live_sessions: Live,
        settings: Settings,
        price: Price,
        row: LiveRow,
        person_id: int,
        last_event_id: str | None,
    ) -> None:
        super().__init__()
        self._live = live_sessions
        self._settings = settings
        self._price = price
        self._row = row
        self._person_id = person_id
        self._last_event_id = last_event_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            following = self._live.follow(self._row, self._person_id)
            async with following as follower:
                stream = StreamingResponse(
                    self._events(follower),
                    media_type="text/event-stream",
                    headers={"X-Accel-Buffering": "no"},
                )
                await stream(scope, receive, send)
        except TooMany:
            raise Denied(Why.TOO_MANY_STREAMS) from None

    async def _events(self, follower: Follower) -> AsyncIterator[bytes]:
        settings = self._settings
        yield b"retry: 3000\n\n"
        began_s = told_s = written_s = _clock()
        seen = self._last_event_id
        while not follower.over and _clock() - began_s < settings.live_stream_max_s:
            wait_s = (
                min(told_s + settings.live_refresh_s, written_s + settings.live_heartbeat_s)
                - _clock()
            )
            row = await follower.next(max(0.05, wait_s))
            if row is None and _clock() - told_s >= settings.live_refresh_s:
                row = follower.row  # the time has passed, and with it the cost
            elif row is not None and str(row.revision) == seen and row.state == "active":
                row = None  # received before the stream was opened anew
            seen = None
            if row is not None:
                yield await self._told(row)
                told_s = written_s = _clock()
                if row.state != "active":
                    return
            elif _clock() - written_s >= settings.live_heartbeat_s:
                yield b": still here\n\n"
                written_s = _clock()

    async def _told(self, row: LiveRow) -> bytes:
        now = datetime.now(UTC)
        cost = await self._price(row, now)
        data = {
            "session_id": row.id,
            "state": row.state,
            "charging_state": row.charging_state,
            "started_at": row.started_at,
            "ended_at": row.ended_at,
            "duration_s": live.duration_s(row, now),
            "energy_wh": row.energy_wh,
            "power_w": row.power_w if row.state == "active" else None,
            "cost": None if cost is None else str(cost),
            "at": now,
        }
        name = b"session" if row.state == "active" else b"ended"
        text = msgspec.json.encode(data)
        return b"id: %d\nevent: %s\ndata: %s\n\n" % (row.revision, name, text)


async def no_price(row: LiveRow, now: datetime) -> Decimal | None:
    """Nothing is known of the cost: where there are no tariffs."""
    return None


# --- Waiting --------------------------------------------------------------------------------------


def _clock() -> float:
    return asyncio.get_running_loop().time()


async def _answer(request: Request, pool: AsyncConnectionPool, command_id: int) -> Command:
    """The order as the station answered it, within the time for that. One that was not sent by then
    is taken back, so that it is never sent."""
    settings: Settings = request.app.state.settings
    fetch = partial(_fetch_command, pool, command_id)
    command = await commands.wait_for(
        request.app.state.watch, command_id, fetch, settings.start_answer_timeout_s
    )
    if command.status == "queued":
        async with transaction(pool) as connection:
            await orders_store.cancel_command(connection, command_id, datetime.now(UTC))
        command = await fetch()
    return command


async def _fetch_command(pool: AsyncConnectionPool, command_id: int) -> Command:
    async with pool.connection() as connection:
        command = await orders_store.get_command(connection, command_id)
    assert command is not None, "orders are never deleted"
    return command


async def _await_session(
    own: Reading, start_id: int, wait_s: float
) -> tuple[StartRow, point.Asked]:
    """The start once its session is there, or it is refused, or as it is after the wait."""
    deadline_s = _clock() + wait_s
    while True:
        row = await _fetch_start(own, start_id)
        how = remote.outcome(row, datetime.now(UTC))
        if how.state != "accepted" or _clock() >= deadline_s:
            return row, how
        await asyncio.sleep(_LOOK_S)


async def _fetch_start(own: Reading, start_id: int) -> StartRow:
    """Raises: NotThere."""
    async with own.connection() as connection:
        row = await store.get_my_start(connection, start_id)
    if row is None:
        raise NotThere(f"There is no start {start_id}.")
    return row


async def _fetch_session(own: Reading, session_id: int) -> MySession:
    """Raises: NotThere."""
    async with own.connection() as connection:
        session = await store.get_my_session(connection, session_id)
    if session is None:
        raise NotThere(f"There is no session {session_id}.")
    return session


def _start_out(row: StartRow, language: str) -> StartOut:
    how = remote.outcome(row, datetime.now(UTC))
    return StartOut(
        start_id=row.id,
        point_id=row.point_id,
        state=how.state,  # type: ignore[arg-type]  # the domain knows no other
        code=None if how.why is None else how.why.value,
        detail=None if how.why is None else point.sentence(how.why, language),
        session_id=row.session_id,
        created_at=row.created_at,
        due_at=row.due_at,
    )


def _session_out(
    row: MySession, now: datetime, priced: tuple[int, bool] | None = None
) -> MySessionOut:
    active = row.state == "active"
    return MySessionOut(
        id=row.id,
        point_id=row.point_id,
        site_id=row.site_id,
        site_name=row.site_name,
        evse_id=row.evse_id,
        connector_id=row.connector_id,
        state=row.state,  # type: ignore[arg-type]  # the database knows no other
        charging_state=row.charging_state,
        authorization_status=row.authorization_status,
        started_at=row.started_at,
        ended_at=row.ended_at,
        duration_s=max(0, int(((row.ended_at or now) - row.started_at).total_seconds())),
        energy_wh=row.energy_wh,
        power_w=row.power_w if active else None,
        stop_reason=row.stop_reason,
        flags=row.flags,
        amount_incl_cents=None if priced is None else priced[0],
        amount_estimated=priced is not None and priced[1],
    )
