"""Operations on sessions, their meter values, and the journal of frames."""

import json
import re
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query

from csms.registry import NotThere
from csms.store import journal
from csms.store import sessions as store
from csms.web.fields import CursorText, Direction, From, Identifier, Limit, Name, PageOf, State, To
from csms.web.guard import Operator, Pool, Reader
from csms.web.listing import read_rows, shaped
from csms.web.problems import documented
from csms.web.record_models import (
    CallErrorOut,
    MessageOut,
    MeterValueOut,
    SessionOut,
)

router = APIRouter()

_SURROGATE = re.compile("[\ud800-\udfff]")
_DEPTH_MAX = 64  # of JSON in a frame; deeper ones are shown raw

Flags = Annotated[
    list[Annotated[str, Query(min_length=1, max_length=100)]],
    Query(max_length=20, description="Only with this flag; again for several at once."),
]


@router.get("/sessions", summary="List sessions", tags=["Sessions"], responses=documented())
async def list_sessions(
    reader: Reader,
    station_id: Annotated[Name | None, Query(description="Only at this station.")] = None,
    site_id: Annotated[Name | None, Query(description="Only at this site.")] = None,
    token_uid: Annotated[Name | None, Query(description="Only of this badge.")] = None,
    transaction_id: Annotated[Name | None, Query(description="Only this transaction.")] = None,
    state: Annotated[State | None, Query(description="Only in this state.")] = None,
    flags: Flags = [],  # noqa: B006 - read only
    from_at: From = None,
    to: To = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[SessionOut]:
    """Sessions, last started first; `from` and `to` find those that touch the interval.

    States: active; ended, by the station or by a person; lost, its stop never came and it is
    taken to have ended at its last reading. Flags say what a person should know.
    """
    which = store.SessionFilter(
        station_id=station_id,
        site_id=site_id,
        token_uid=token_uid,
        transaction_id=transaction_id,
        state=state,
        flags=tuple(flags),
        from_at=from_at,
        to_at=to,
    )
    page = await read_rows(
        reader,
        limit,
        cursor,
        (datetime, int),
        rows=lambda connection, count, after: (
            store.list_sessions(connection, which, limit=count, cursor=after)
            if reader.clients is None
            else store.list_sessions_of(
                connection, reader.clients, which, limit=count, cursor=after
            )
        ),
        total=lambda connection: store.count_sessions(connection, which),
        key=lambda row: (row.started_at, row.id),
    )
    return shaped(page, SessionOut)


@router.get(
    "/sessions/{session_id}", summary="A session", tags=["Sessions"], responses=documented(404)
)
async def get_session(reader: Reader, session_id: Identifier) -> SessionOut:
    """One session."""
    async with reader.connection() as connection:
        session = await store.get_session(connection, session_id)
    if session is None:
        raise NotThere(f"There is no session {session_id}.")
    return SessionOut.model_validate(session)


@router.get(
    "/sessions/{session_id}/meter-values",
    summary="Meter values of a session",
    tags=["Sessions"],
    responses=documented(404),
)
async def list_meter_values(
    pool: Pool,
    reader: Reader,
    session_id: Identifier,
    measurand: Annotated[Name | None, Query(description="Only this measurand.")] = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[MeterValueOut]:
    """What the station measured during the session, raw, by the time that it stated."""
    async with reader.connection() as connection:  # who may see the session may see its readings
        where = await store.get_readings_range(connection, session_id)
    if where is None:
        raise NotThere(f"There is no session {session_id}.")
    page = await read_rows(
        pool,
        limit,
        cursor,
        (datetime, int, int),
        rows=lambda connection, count, after: store.list_meter_values(
            connection, session_id, where, measurand=measurand, limit=count, cursor=after
        ),
        total=lambda connection: store.count_meter_values(
            connection, session_id, where, measurand=measurand
        ),
        key=lambda row: (row.stated_at, row.digest, row.position),
    )
    return shaped(page, MeterValueOut)


@router.get("/messages", summary="The journal", tags=["Journal"], responses=documented())
async def list_messages(
    pool: Pool,
    _: Operator,
    station_id: Annotated[Name | None, Query(description="Only of this station.")] = None,
    action: Annotated[Name | None, Query(description="OCPP action, as written.")] = None,
    direction: Annotated[
        Direction | None, Query(description="in: the station asked; out: we asked.")
    ] = None,
    message_id: Annotated[Name | None, Query(description="Only this message id.")] = None,
    from_at: From = None,
    to: To = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[MessageOut]:
    """Every exchange of frames, newest first. What could not be read has `action` null and its
    text in `raw`."""
    which = journal.MessageFilter(
        station_id=station_id,
        action=action,
        direction=direction,
        message_id=message_id,
        from_at=from_at,
        to_at=to,
    )
    page = await read_rows(
        pool,
        limit,
        cursor,
        (datetime, int, str, str),
        rows=lambda connection, count, after: journal.list_newest(
            connection, which, datetime.now(UTC), limit=count, cursor=after
        ),
        total=lambda connection: journal.count_messages(connection, which),
        key=lambda row: (row.at, row.station_key, row.direction, row.message_id or ""),
    )
    items = [message_out(row) for row in page.items]
    return PageOf[MessageOut](items=items, next=page.next, total=page.total)


def message_out(row: journal.Message) -> MessageOut:
    """An exchange with its frames taken apart, as far as they can be read."""
    request = _array(row.frame)
    payload = request[3] if row.action is not None and request and len(request) > 3 else None
    answer = _array(row.answer)
    response, error = None, None
    if answer and answer[0] == 3 and len(answer) > 2:
        response = answer[2]
    elif answer and answer[0] == 4:
        code, description, details = answer[2:5] + ["", "", {}][len(answer[2:5]) :]
        error = CallErrorOut(code=str(code), description=str(description), details=details)
    return MessageOut(
        at=row.at,
        station_id=row.station_id,
        direction="in" if row.direction == "in" else "out",
        protocol=row.protocol,
        action=row.action,
        message_id=row.message_id,
        payload=payload,
        response=response,
        error=error,
        raw=row.frame if payload is None else None,
        answered_at=row.answered_at,
        latency_ms=row.latency_ms,
    )


def _array(text: str | None) -> list[Any] | None:
    """The JSON array in the text; None when there is none, or none that we could tell again."""
    if text is None:
        return None
    try:
        value = _tellable(json.loads(text), 0)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) and value else None


def _tellable(value: Any, depth: int) -> Any:
    """The value with lone surrogates replaced: JSON lets stations write them, UTF-8 cannot.

    Raises: ValueError when it is nested deeper than an answer may be.
    """
    if isinstance(value, str):
        return value if value.isascii() else _SURROGATE.sub("\ufffd", value)
    if not isinstance(value, list | dict):
        return value
    if depth >= _DEPTH_MAX:
        raise ValueError("nested too deeply")
    if isinstance(value, list):
        return [_tellable(item, depth + 1) for item in value]
    return {_tellable(k, depth + 1): _tellable(v, depth + 1) for k, v in value.items()}
