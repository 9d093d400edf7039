"""Operations on webhooks: addresses of machines that are told what happens."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from psycopg import AsyncConnection
from pydantic import Field

from csms import notices
from csms.config import Settings
from csms.db import transaction
from csms.notifications.webhooks import URL_LENGTH_MAX
from csms.registry import NotThere
from csms.store import webhooks as store
from csms.web.fields import CursorText, Identifier, Input, Limit, Name, Output, PageOf, Utc
from csms.web.guard import Operator, Pool, Reader
from csms.web.listing import Connections, read_rows, shaped
from csms.web.problems import documented

router = APIRouter(prefix="/webhooks", tags=["Notifications"])

Url = Annotated[str, Field(min_length=1, max_length=URL_LENGTH_MAX)]
Events = Annotated[list[Name], Field(max_length=100)]
WebhookId = Annotated[Identifier, Path(description="The webhook's number.")]


class WebhookIn(Input):
    client_id: Identifier | None = Field(
        default=None, description="Whose events it is told; null: those of every client."
    )
    url: Url = Field(description="https:// and a public host.")
    events: Events = Field(default=[], description="None: all that webhooks can be told.")


class WebhookChange(Input):
    url: Url | None = None
    events: Events | None = None


class WebhookOut(Output):
    id: int
    client_id: int
    url: str
    events: list[str]
    created_at: Utc
    created_by: str
    updated_at: Utc


class WebhookMade(WebhookOut):
    secret: str = Field(description="What messages are signed with. Shown once.")


class SecretOut(Output):
    secret: str = Field(description="What messages are signed with from now on. Shown once.")


class PingOut(Output):
    delivery_id: int = Field(description="See /api/v1/notifications/{delivery_id}.")


@router.get("", summary="List webhooks", responses=documented())
async def list_webhooks(
    reader: Reader,
    client_id: Annotated[Identifier | None, Query(description="Only of this client.")] = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[WebhookOut]:
    """Webhooks in use; managers see those of their clients."""
    page = await read_rows(
        reader,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_webhooks(
            connection, client_id=client_id, limit=count, cursor=after
        ),
        total=lambda connection: store.count_webhooks(connection, client_id),
        key=lambda row: (row.id,),
    )
    return shaped(page, WebhookOut)


@router.post("", summary="Create a webhook", status_code=201, responses=documented(404))
async def create_webhook(
    request: Request, pool: Pool, operator: Operator, body: WebhookIn
) -> WebhookMade:
    """Messages are POSTs of JSON with the header `T2P-Signature: t=<seconds>,v1=<hex>`, which is
    the HMAC-SHA256 of `<seconds>.<body>` under the secret. Answer any 2xx within ten seconds; the
    member `id` tells repetitions."""
    async with transaction(pool) as connection:
        webhook_id, secret = await notices.create_webhook(
            connection,
            _settings(request),
            client_id=body.client_id,
            url=body.url,
            events=body.events,
            created_by=operator.name,
            now=datetime.now(UTC),
        )
        made = await _fetch(connection, webhook_id)
    return WebhookMade(**made.model_dump(), secret=secret)


@router.get("/{webhook_id}", summary="A webhook", responses=documented(404))
async def get_webhook(reader: Reader, webhook_id: WebhookId) -> WebhookOut:
    """One webhook in use."""
    return await _read(reader, webhook_id)


@router.patch("/{webhook_id}", summary="Change a webhook", responses=documented(404))
async def change_webhook(
    request: Request, pool: Pool, _: Operator, webhook_id: WebhookId, body: WebhookChange
) -> WebhookOut:
    """Change the members that are named, no others."""
    async with transaction(pool) as connection:
        await notices.change_webhook(
            connection,
            _settings(request),
            webhook_id,
            url=body.url,
            events=body.events,
            now=datetime.now(UTC),
        )
        return await _fetch(connection, webhook_id)


@router.delete(
    "/{webhook_id}", summary="Retire a webhook", status_code=204, responses=documented(404)
)
async def retire_webhook(pool: Pool, _: Operator, webhook_id: WebhookId) -> None:
    """Nothing is sent to it any more, what waits neither."""
    async with transaction(pool) as connection:
        if not await store.retire_webhook(connection, webhook_id, datetime.now(UTC)):
            raise NotThere(f"There is no webhook {webhook_id}.")


@router.post("/{webhook_id}/secret", summary="Renew its secret", responses=documented(404))
async def renew_secret(
    request: Request, pool: Pool, _: Operator, webhook_id: WebhookId
) -> SecretOut:
    """Another secret; the former one signs nothing any more."""
    async with transaction(pool) as connection:
        secret = await notices.renew_secret(
            connection, _settings(request), webhook_id, datetime.now(UTC)
        )
    return SecretOut(secret=secret)


@router.post(
    "/{webhook_id}/test", summary="Test a webhook", status_code=202, responses=documented(404)
)
async def ping_webhook(request: Request, pool: Pool, _: Operator, webhook_id: WebhookId) -> PingOut:
    """Send it the event `webhook.ping`; what came of it stands in the log."""
    async with transaction(pool) as connection:
        delivery_id = await notices.ping_webhook(
            connection, _settings(request), webhook_id, datetime.now(UTC)
        )
    return PingOut(delivery_id=delivery_id)


async def _read(connections: Connections, webhook_id: int) -> WebhookOut:
    async with connections.connection() as connection:
        return await _fetch(connection, webhook_id)


async def _fetch(connection: AsyncConnection, webhook_id: int) -> WebhookOut:
    """Raises: NotThere."""
    found = await store.list_webhooks(connection, webhook_id=webhook_id)
    if not found:
        raise NotThere(f"There is no webhook {webhook_id}.")
    return WebhookOut.model_validate(found[0])


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings
