"""Operations on orders to stations: placed, watched, taken back."""

from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from psycopg_pool import AsyncConnectionPool
from pydantic import ConfigDict, Field

from csms import commands
from csms.commands import OPEN
from csms.config import Settings
from csms.db import transaction
from csms.domain.order_secrets import masked
from csms.registry import NotThere
from csms.store import commands as store
from csms.store import connections, observations
from csms.store.commands import Command, CommandFilter
from csms.telemetry import Telemetry
from csms.web.fields import (
    CommandStatus,
    CursorText,
    From,
    Identifier,
    Input,
    Limit,
    Name,
    Output,
    PageOf,
    To,
    Truth,
    Utc,
)
from csms.web.guard import Operator, Pool
from csms.web.listing import read_rows, shaped
from csms.web.problems import Problem, documented
from csms.web.record_models import StationEventOut
from csms.wire import orders

router = APIRouter(tags=["Orders"])

WAIT_MAX_S = 120.0


class CommandIn(Input):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"action": "Reset", "payload": {"type": "Soft"}},
                {
                    "action": "RequestStartTransaction",
                    "payload": {
                        "evseId": 1,
                        "remoteStartId": 17,
                        "idToken": {"idToken": "04A2B3C4D5E680", "type": "ISO14443"},
                    },
                    "wait_s": 10,
                },
            ]
        }
    )
    action: Name = Field(description="An order of the station's OCPP version.")
    payload: dict[str, Any] = Field(
        default_factory=dict, description="As on the wire; held to the schema of the version."
    )
    wait_s: Annotated[float, Field(ge=0, le=WAIT_MAX_S)] = Field(
        default=30.0, description="How long the answer to this request waits for the station's."
    )
    expires_in_s: Annotated[float, Field(gt=0, le=366 * 86_400)] = Field(
        default=3_600.0, description="Not sent any more after that."
    )


class CommandOut(Output):
    command_id: int
    station_id: str
    protocol: str
    action: str
    payload: Any
    status: CommandStatus
    response: Any = Field(description="The station's answer; null: none yet, or an error.")
    error: Any = Field(description="code, description, details; null: none.")
    origin: str = Field(description="operator, or us: and why.")
    created_by: str | None
    created_at: Utc
    expires_at: Utc
    sent_at: Utc | None
    finished_at: Utc | None
    late_at: Utc | None = Field(description="When an answer came after the order was given up.")
    message_id: str | None
    node: str | None
    parts: str = Field(
        description="Of an answer in several messages: none, awaited, complete, overdue, late."
    )


class NodeOut(Output):
    name: str
    started_at: Utc
    seen_at: Utc
    draining: Truth
    stations_connected: int


StationId = Annotated[Name, Path(description="OCPP identity: the last part of the station's URL.")]
CommandId = Annotated[Identifier, Path(description="The order's number.")]


@router.post(
    "/stations/{station_id:path}/commands",
    summary="Order something of a station",
    responses={
        202: {"model": CommandOut, "description": "Placed; no answer within wait_s."},
        **documented(404, 413),
    },
)
async def place_command(
    pool: Pool,
    operator: Operator,
    request: Request,
    response: Response,
    station_id: StationId,
    body: CommandIn,
) -> CommandOut:
    """Place an order: sent when the station is connected and ready, kept for it when it is not.

    200 when the station's answer came within `wait_s`, else 202 with the same shape; ask again at
    the address in `Location`. An order is sent at most once.
    """
    settings: Settings = request.app.state.settings
    telemetry: Telemetry | None = request.app.state.telemetry
    by_mqtt = telemetry is not None and telemetry.connected
    async with transaction(pool) as connection:
        command_id = await orders.place(
            connection,
            station_id,
            body.action,
            body.payload,
            origin=commands.OPERATOR,
            created_by=operator.name,
            now=datetime.now(UTC),
            expires_in_s=body.expires_in_s,
            settings=settings,
            notify=not by_mqtt,
        )
    if by_mqtt:
        await _wake(pool, telemetry, station_id)
    command = await commands.wait_for(
        request.app.state.watch, command_id, partial(_fetch, pool, command_id), body.wait_s
    )
    response.headers["Location"] = f"/api/v1/commands/{command_id}"
    if command.status in OPEN:
        response.status_code = 202
    return _shape(command)


@router.get("/commands", summary="List orders", responses=documented())
async def list_commands(
    pool: Pool,
    _: Operator,
    station_id: Annotated[Name | None, Query(description="Only those to this station.")] = None,
    action: Annotated[Name | None, Query(description="Only this action.")] = None,
    status: Annotated[CommandStatus | None, Query(description="Only those.")] = None,
    from_at: From = None,
    to: To = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[CommandOut]:
    """Orders, newest first."""
    which = CommandFilter(
        station_id=station_id, action=action, status=status, from_at=from_at, to_at=to
    )
    page = await read_rows(
        pool,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_commands(
            connection, which, limit=count, cursor=after
        ),
        total=lambda connection: store.count_commands(connection, which),
        key=lambda row: (row.id,),
    )
    items = [_shape(command) for command in page.items]
    return PageOf[CommandOut](items=items, next=page.next, total=page.total)


@router.get("/commands/{command_id}", summary="An order", responses=documented(404))
async def get_command(pool: Pool, _: Operator, command_id: CommandId) -> CommandOut:
    """One order and what came of it."""
    return _shape(await _fetch(pool, command_id))


@router.get(
    "/commands/{command_id}/reports",
    summary="What a station reported on an order",
    responses=documented(404),
)
async def list_reports(
    pool: Pool,
    _: Operator,
    command_id: CommandId,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[StationEventOut]:
    """The messages that followed the station's answer: reports, logs, firmware; oldest first."""
    await _fetch(pool, command_id)
    page = await read_rows(
        pool,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: observations.list_reports(
            connection, command_id, limit=count, cursor=after
        ),
        total=lambda connection: observations.count_reports(connection, command_id),
        key=lambda row: (row.id,),
    )
    return shaped(page, StationEventOut)


@router.delete(
    "/commands/{command_id}", summary="Take an order back", responses=documented(404, 409)
)
async def cancel_command(pool: Pool, _: Operator, command_id: CommandId) -> CommandOut:
    """Cancel an order that has not been sent. 409 when it has been, or is over."""
    async with transaction(pool) as connection:
        cancelled = await store.cancel_command(connection, command_id, datetime.now(UTC))
    command = await _fetch(pool, command_id)
    if not cancelled:
        raise Problem(409, f"Order {command_id} is {command.status}: too late to take it back.")
    return _shape(command)


@router.get("/nodes", summary="List gateways", responses=documented())
async def list_nodes(pool: Pool, _: Operator) -> PageOf[NodeOut]:
    """The gateway processes that share the database, and how many stations each holds."""
    async with pool.connection() as connection:
        found = await connections.list_nodes(connection)
    items = [NodeOut.model_validate(node) for node in found]
    return PageOf[NodeOut](items=items, next=None, total=len(items))


async def _wake(pool: AsyncConnectionPool, telemetry: Telemetry | None, station_id: str) -> None:
    """Tell the node that holds the station; by way of the database when the broker has gone."""
    async with pool.connection() as connection:
        target = await store.fetch_target(connection, station_id)
        node = target.node if target is not None else None
        if node is not None and not (telemetry and telemetry.wake(node, "command", station_id)):
            await store.notify_command(connection, station_id)


async def _fetch(pool: AsyncConnectionPool, command_id: int) -> Command:
    """Raises: NotThere."""
    async with pool.connection() as connection:
        command = await store.get_command(connection, command_id)
    if command is None:
        raise NotThere(f"There is no order {command_id}.")
    return command


def _shape(command: Command) -> CommandOut:
    plain = orders.plain_json
    return CommandOut(
        command_id=command.id,
        station_id=command.station_id,
        protocol=command.protocol,
        action=command.action,
        payload=plain(masked(command.action, command.payload)),
        status=command.status,  # type: ignore[arg-type]  # the database knows no other
        response=plain(command.response),
        error=plain(command.error),
        origin=command.origin,
        created_by=command.created_by,
        created_at=command.created_at,
        expires_at=command.expires_at,
        sent_at=command.sent_at,
        finished_at=command.finished_at,
        late_at=command.late_at,
        message_id=command.message_id,
        node=command.node,
        parts=command.parts,
    )
