"""Operations on notifications: one's own choices and log; for operators the log of all."""

from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from psycopg import AsyncConnection
from pydantic import Field

from csms import notices
from csms.config import Settings
from csms.db import transaction
from csms.domain.quiet_hours import clock_of, minute_of
from csms.notifications.catalogue import CATALOGUE
from csms.principals import Principal
from csms.registry import NotThere
from csms.store import choices
from csms.store import deliveries as store
from csms.store.choices import QuietHours
from csms.web.fields import (
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
from csms.web.guard import Operator, Own, Person, Pool
from csms.web.listing import read_rows, shaped
from csms.web.problems import documented

router = APIRouter(tags=["Notifications"])

Channel = Literal["email", "webhook"]
DeliveryStatus = Literal["waiting", "sent", "dead", "dropped"]
TimeOfDay = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", examples=["22:00"])]
DeliveryId = Annotated[Identifier, Path(description="The delivery's number.")]


class PreferenceIn(Input):
    category: Name
    channel: Literal["email"] = "email"
    enabled: Truth


class QuietHoursIn(Input):
    from_time: TimeOfDay
    to_time: TimeOfDay = Field(description="Before `from_time`: of the next day.")
    time_zone: Name = "Europe/Paris"


class ChoicesIn(Input):
    preferences: list[PreferenceIn] = Field(
        default=[], max_length=50, description="What is not named is as by default."
    )
    quiet_hours: QuietHoursIn | None = Field(default=None, description="Null: none.")


class PreferenceOut(Output):
    category: str
    channel: str
    enabled: bool
    optional: bool = Field(description="Whether it can be switched off.")


class QuietHoursOut(Output):
    from_time: str
    to_time: str
    time_zone: str


class ChoicesOut(Output):
    preferences: list[PreferenceOut]
    quiet_hours: QuietHoursOut | None


class OwnNotificationOut(Output):
    id: int
    event: str
    at: Utc
    subject: str
    channel: Channel
    status: DeliveryStatus
    reason: str | None
    message_id: UUID
    address: str | None = Field(description="Masked.")
    finished_at: Utc | None


class DeliveryOut(Output):
    id: int
    notification_id: int
    event: str
    at: Utc
    client_id: int
    subject: str
    channel: Channel
    person_id: int | None
    webhook_id: int | None
    status: DeliveryStatus
    reason: str | None = Field(description="Why it is dead or was dropped.")
    attempts: int
    created_at: Utc
    next_at: Utc
    tried_at: Utc | None
    finished_at: Utc | None
    message_id: UUID = Field(description="The same at every attempt; of a mail its Message-ID.")
    address: str | None = Field(description="Masked; of a webhook its address.")
    reply: str | None = Field(description="What the server answered to the last attempt.")


class BacklogOut(Output):
    channel: Channel
    waiting: int
    oldest_at: Utc | None
    dead: int


class StateOut(Output):
    mail_server: str | None = Field(description="Null: none is set, and mails wait.")
    channels: list[BacklogOut]


# --- One's own ------------------------------------------------------------------------------------


@router.get("/me/notifications/preferences", summary="What I am told", responses=documented(403))
async def get_choices(me: Person, own: Own) -> ChoicesOut:
    """My preferences by category, and my quiet hours, in which what can wait waits."""
    async with own.connection() as connection:
        return await _choices(connection, _id(me))


@router.put(
    "/me/notifications/preferences", summary="Choose what I am told", responses=documented(403)
)
async def put_choices(me: Person, pool: Pool, body: ChoicesIn) -> ChoicesOut:
    """Replace my choices. What concerns the account, my data or a contract is always told."""
    hours = body.quiet_hours
    async with transaction(pool) as connection:
        await notices.choose(
            connection,
            _id(me),
            {(one.category, one.channel): one.enabled for one in body.preferences},
            None
            if hours is None
            else QuietHours(_minute(hours.from_time), _minute(hours.to_time), hours.time_zone),
            datetime.now(UTC),
        )
        return await _choices(connection, _id(me))


@router.get("/me/notifications", summary="What I was told", responses=documented(403))
async def list_own(
    me: Person, own: Own, limit: Limit = 100, cursor: CursorText = None
) -> PageOf[OwnNotificationOut]:
    """What was sent to me, or was not and why; newest first."""
    page = await read_rows(
        own,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_own(
            connection, _id(me), limit=count, cursor=after
        ),
        total=lambda connection: store.count_own(connection, _id(me)),
        key=lambda row: (row.id,),
    )
    return shaped(page, OwnNotificationOut)


# --- For operators --------------------------------------------------------------------------------


@router.get("/notifications", summary="What was sent to whom", responses=documented())
async def list_deliveries(
    pool: Pool,
    _: Operator,
    status: Annotated[
        DeliveryStatus | None, Query(description="dead: what was given up; dropped: not wanted.")
    ] = None,
    channel: Annotated[Channel | None, Query(description="Only on this way.")] = None,
    event: Annotated[Name | None, Query(description="Only of this event.")] = None,
    person_id: Annotated[Identifier | None, Query(description="Only to this person.")] = None,
    client_id: Annotated[Identifier | None, Query(description="Only about this client.")] = None,
    from_at: From = None,
    to: To = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[DeliveryOut]:
    """The log of all deliveries with their proof, newest first."""
    page = await read_rows(
        pool,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_deliveries(
            connection,
            status=status,
            channel=channel,
            event=event,
            person_id=person_id,
            client_id=client_id,
            from_at=from_at,
            to_at=to,
            limit=count,
            cursor=after,
        ),
        total=lambda connection: store.count_deliveries(
            connection,
            status=status,
            channel=channel,
            event=event,
            person_id=person_id,
            client_id=client_id,
            from_at=from_at,
            to_at=to,
        ),
        key=lambda row: (row.id,),
    )
    return shaped(page, DeliveryOut)


@router.get("/notifications/events", summary="What can be told", responses=documented())
async def list_events(_: Operator) -> list[str]:
    """The codes of all events."""
    return list(CATALOGUE)


@router.get("/notifications/state", summary="What waits", responses=documented())
async def get_state(request: Request, pool: Pool, _: Operator) -> StateOut:
    """How much waits and was given up on each way, and whether there is a mail server."""
    settings: Settings = request.app.state.settings
    async with pool.connection() as connection:
        found = await store.backlogs(connection)
    channels = [BacklogOut.model_validate(one) for one in found]
    return StateOut(mail_server=settings.smtp_host, channels=channels)


@router.get("/notifications/{delivery_id}", summary="A delivery", responses=documented(404))
async def get_delivery(pool: Pool, _: Operator, delivery_id: DeliveryId) -> DeliveryOut:
    """One line of the log."""
    async with pool.connection() as connection:
        return await _delivery(connection, delivery_id)


@router.post(
    "/notifications/{delivery_id}/retry", summary="Send a dead letter", responses=documented(404)
)
async def retry_delivery(
    request: Request, pool: Pool, _: Operator, delivery_id: DeliveryId
) -> DeliveryOut:
    """Let a dead letter wait again. One whose link was wiped cannot be: have a new one sent."""
    settings: Settings = request.app.state.settings
    async with transaction(pool) as connection:
        await notices.retry(connection, settings, delivery_id, datetime.now(UTC))
        return await _delivery(connection, delivery_id)


async def _delivery(connection: AsyncConnection, delivery_id: int) -> DeliveryOut:
    """Raises: NotThere."""
    found = await store.get_delivery(connection, delivery_id)
    if found is None:
        raise NotThere(f"There is no delivery {delivery_id}.")
    return DeliveryOut.model_validate(found)


async def _choices(connection: AsyncConnection, person_id: int) -> ChoicesOut:
    preferences = await notices.preferences(connection, person_id)
    hours = await choices.fetch_quiet_hours(connection, person_id)
    shown = None
    if hours is not None:
        shown = QuietHoursOut(
            from_time=clock_of(hours.from_minute),
            to_time=clock_of(hours.to_minute),
            time_zone=hours.time_zone,
        )
    return ChoicesOut(
        preferences=[PreferenceOut.model_validate(one) for one in preferences], quiet_hours=shown
    )


def _id(me: Principal) -> int:
    assert me.person_id is not None, "the guard lets people only pass"
    return me.person_id


def _minute(text: str) -> int:
    minute = minute_of(text)
    assert minute is not None, "the shape lets times only pass"
    return minute
