"""Operations on keys of machines, for administrators; and the audit, for whoever may read it."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from csms import keys
from csms.db import transaction
from csms.registry import NotThere
from csms.store import audit
from csms.store import keys as store
from csms.web.account_models import AuditOut, KeyCreated, KeyIn, KeyOut
from csms.web.auditing import concerns
from csms.web.fields import CursorText, From, Identifier, Limit, Name, PageOf, To
from csms.web.guard import Admin, Anybody, Pool, Reader
from csms.web.listing import read_rows
from csms.web.problems import documented

router = APIRouter(tags=["People and keys"])


@router.get("/keys", summary="List keys", responses=documented(403))
async def list_keys(pool: Pool, _: Admin) -> PageOf[KeyOut]:
    """All keys, oldest first; never their text, which is not stored."""
    async with pool.connection() as connection:
        items = [KeyOut.model_validate(row) for row in await store.list_keys(connection)]
    return PageOf[KeyOut](items=items, next=None, total=len(items))


@router.post("/keys", summary="Create a key", status_code=201, responses=documented(403, 404))
async def create_key(pool: Pool, admin: Admin, request: Request, body: KeyIn) -> KeyCreated:
    """Create a key: its text is in this answer, and never again."""
    async with transaction(pool) as connection:
        text, record = await keys.grant(
            connection,
            name=body.name,
            role=body.role,
            scopes=body.scopes,
            client_id=body.client_id,
            expires_at=body.expires_at,
            actor=admin.actor,
            person_id=admin.person_id,
            now=datetime.now(UTC),
        )
    concerns(request, record.client_id, f"key_id={record.id}")
    return KeyCreated(key=text, **KeyOut.model_validate(record).model_dump())


@router.delete(
    "/keys/{key_id}", summary="Revoke a key", status_code=204, responses=documented(403, 404)
)
async def revoke_key(
    pool: Pool, admin: Admin, key_id: Annotated[Identifier, Path(description="A key's id.")]
) -> None:
    """Revoke a key, at once and for good."""
    async with transaction(pool) as connection:
        revoked = await keys.revoke(
            connection,
            key_id,
            actor=admin.actor,
            person_id=admin.person_id,
            now=datetime.now(UTC),
        )
        if not revoked:
            raise NotThere(f"There is no key {key_id}.")


@router.get("/audit", summary="Who did what", responses=documented(403))
async def list_audit(
    reading: Reader,
    asker: Anybody,
    client_id: Annotated[Identifier | None, Query(description="Only this client's.")] = None,
    person_id: Annotated[Identifier | None, Query(description="Only what she did.")] = None,
    action: Annotated[Name | None, Query(description="Only this act.")] = None,
    start: From = None,
    to: To = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[AuditOut]:
    """Acts, newest first: all of them for operators; for managers those that concern their
    clients, and their own. From where others acted, and on what somebody was refused to act,
    operators alone see."""
    page = await read_rows(
        reading,
        limit,
        cursor,
        (datetime, int),
        rows=lambda connection, count, after: audit.list_entries(
            connection,
            client_id=client_id,
            person_id=person_id,
            action=action,
            from_at=start,
            to_at=to,
            limit=count,
            cursor=after,
        ),
        total=lambda connection: audit.count_entries(
            connection,
            client_id=client_id,
            person_id=person_id,
            action=action,
            from_at=start,
            to_at=to,
        ),
        key=lambda row: (row.at, row.id),
    )
    items = [AuditOut.model_validate(row) for row in page.items]
    if not asker.is_operator:
        for item in items:
            if item.person_id is None or item.person_id != asker.person_id:
                item.remote_address = None
            if item.detail.get("status", 0) >= 400:
                item.subject = ""  # refused, maybe since it is another's
    return PageOf[AuditOut](items=items, next=page.next, total=page.total)
