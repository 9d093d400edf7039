"""Operations on personal data: the register, one's own rights, requests, the restricted archive."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import IO, Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse

from csms import deadlines, own_data, privacy, processing
from csms.db import acting, transaction
from csms.domain.data_request import Act, Kind, State
from csms.principals import Principal
from csms.registry import NotThere
from csms.store import audit, erasure, retention
from csms.store import privacy as store
from csms.store.privacy import DataRequest
from csms.web.auditing import by
from csms.web.fields import CursorText, From, Identifier, Limit, Name, PageOf, To
from csms.web.guard import Admin, Own, Person, Pool
from csms.web.listing import read_rows, shaped
from csms.web.privacy_models import (
    ActIn,
    ArchivedOut,
    ArchivedSessionOut,
    ArchiveOut,
    ConsentIn,
    ConsentsOut,
    MyRequestIn,
    MyRequestOut,
    Purpose,
    RegisterOut,
    RequestIn,
    RequestOut,
    RunOut,
)
from csms.web.problems import documented

router = APIRouter(tags=["Personal data"])

_CHUNK_BYTES = 64 * 1024
_ZIP: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/zip": {}}, "description": "A ZIP file."}
}


@router.get(
    "/privacy/register",
    summary="What is done with personal data, and why",
    openapi_extra={"security": []},
)
async def get_register() -> RegisterOut:
    """The register of processing activities: purposes, legal bases, periods, cookies. Public."""
    return RegisterOut.model_validate(processing.register())


# --- One's own ------------------------------------------------------------------------------------


@router.get("/me/consents", summary="What I agree to", responses=documented())
async def list_my_consents(principal: Person, own: Own) -> ConsentsOut:
    """Consents of the person who asks, with the text of today."""
    assert principal.person_id is not None
    async with own.connection() as connection:
        found = await store.list_consents(connection, principal.person_id)
    register = processing.register()
    return ConsentsOut.model_validate(
        {
            "prospecting": any(
                c.purpose == privacy.PROSPECTING and c.withdrawn_at is None for c in found
            ),
            "version": register.prospecting_version,
            "text": register.prospecting_text,
            "items": found,
        }
    )


@router.put("/me/consents/{purpose}", summary="Agree", status_code=204, responses=documented())
async def give_my_consent(
    request: Request, pool: Pool, principal: Person, purpose: Purpose, body: ConsentIn
) -> None:
    """Agree to a purpose, having read its text of today. Nothing is asked for it, and nothing
    follows from not agreeing."""
    assert principal.person_id is not None
    async with transaction(pool) as connection:
        await privacy.give_consent(
            connection,
            principal.person_id,
            version=body.version,
            how="api",
            now=datetime.now(UTC),
            by=by(request, principal),
        )


@router.delete(
    "/me/consents/{purpose}", summary="Agree no more", status_code=204, responses=documented()
)
async def withdraw_my_consent(
    request: Request, pool: Pool, principal: Person, purpose: Purpose
) -> None:
    """Withdraw a consent, at any time; where there is none nothing happens."""
    assert principal.person_id is not None
    async with transaction(pool) as connection:
        await privacy.withdraw_consent(
            connection, principal.person_id, now=datetime.now(UTC), by=by(request, principal)
        )


@router.get("/me/data-requests", summary="My requests", responses=documented())
async def list_my_requests(
    principal: Person, own: Own, limit: Limit = 100, cursor: CursorText = None
) -> PageOf[MyRequestOut]:
    """Requests of the person who asks, oldest first."""
    person_id = principal.person_id
    page = await read_rows(
        own,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_requests(
            connection,
            person_id=person_id,
            kind=None,
            state=None,
            due_before=None,
            limit=count,
            cursor=after,
        ),
        total=lambda connection: store.count_requests(
            connection, person_id=person_id, kind=None, state=None, due_before=None
        ),
        key=lambda row: (row.id,),
    )
    return shaped(page, MyRequestOut)


@router.post(
    "/me/data-requests", summary="Exercise a right", status_code=201, responses=documented(409)
)
async def make_my_request(
    request: Request, pool: Pool, principal: Person, body: MyRequestIn
) -> MyRequestOut:
    """Ask for access, rectification, erasure, restriction, portability, to object, or to have the
    account closed. `due_on` says by when it is answered."""
    assert principal.person_id is not None
    now = datetime.now(UTC)
    async with transaction(pool) as connection:
        request_id = await privacy.receive_request(
            connection,
            kind=body.kind,
            person_id=principal.person_id,
            received_at=now,
            message=body.message or "",
            now=now,
            by=by(request, principal),
        )
        found = await store.lock_request(connection, request_id)
    return MyRequestOut.model_validate(found)


@router.delete(
    "/me/data-requests/{request_id}", summary="Withdraw a request", responses=documented(404)
)
async def withdraw_my_request(
    request: Request, pool: Pool, principal: Person, request_id: Identifier
) -> MyRequestOut:
    """Take a request of one's own back while it is open."""
    async with transaction(pool) as connection:
        found = await store.lock_request(connection, request_id)
        if found is None or found.person_id != principal.person_id:
            raise NotThere(f"You have made no request {request_id}.")
        changed = await privacy.act(
            connection,
            request.app.state.settings,
            request_id,
            Act.WITHDRAW,
            now=datetime.now(UTC),
            by=by(request, principal),
        )
    return MyRequestOut.model_validate(changed)


@router.get(
    "/me/export",
    summary="My data",
    response_class=StreamingResponse,
    responses={**documented(), **_ZIP},
)
async def export_mine(request: Request, pool: Pool, principal: Person, own: Own) -> Response:
    """Everything about the person who asks: JSON for machines, her sessions as CSV, and a summary
    for reading, in one ZIP."""
    assert principal.person_id is not None
    now = datetime.now(UTC)
    async with own.connection() as connection:
        file = await own_data.export(
            connection, processing.register(), principal.person_id, principal.language, now
        )
    await _note_export(request, pool, principal, principal.person_id, now)
    return _download(file, now)


# --- Requests, for administrators -----------------------------------------------------------------


@router.get("/data-requests", summary="Requests of people", responses=documented())
async def list_requests(
    pool: Pool,
    _: Admin,
    kind: Annotated[Kind | None, Query(description="Only of this kind.")] = None,
    state: Annotated[State | None, Query(description="Only in this state.")] = None,
    person_id: Annotated[Identifier | None, Query(description="Only of this person.")] = None,
    overdue: Annotated[bool, Query(description="Only what is open after its last day.")] = False,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[RequestOut]:
    """Requests about personal data, oldest first."""
    today = deadlines.paris_day(datetime.now(UTC))
    page = await read_rows(
        pool,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_requests(
            connection,
            person_id=person_id,
            kind=kind,
            state=state,
            due_before=today if overdue else None,
            limit=count,
            cursor=after,
        ),
        total=lambda connection: store.count_requests(
            connection,
            person_id=person_id,
            kind=kind,
            state=state,
            due_before=today if overdue else None,
        ),
        key=lambda row: (row.id,),
    )
    return shaped(page, RequestOut)


@router.post(
    "/data-requests", summary="Enter a request", status_code=201, responses=documented(404, 409)
)
async def enter_request(
    request: Request, pool: Pool, principal: Admin, body: RequestIn
) -> RequestOut:
    """Enter a request that came by letter or mail; its days run from when it was received."""
    async with transaction(pool) as connection:
        request_id = await privacy.receive_request(
            connection,
            kind=body.kind,
            person_id=body.person_id,
            received_at=body.received_at,
            requester=body.requester,
            message=body.message or "",
            now=datetime.now(UTC),
            by=by(request, principal),
        )
        found = await store.lock_request(connection, request_id)
    return RequestOut.model_validate(found)


@router.get("/data-requests/{request_id}", summary="A request", responses=documented(404))
async def get_request(pool: Pool, _: Admin, request_id: Identifier) -> RequestOut:
    """One request, whatever its state."""
    return RequestOut.model_validate(await _find_request(pool, request_id))


@router.post(
    "/data-requests/{request_id}/acts", summary="Work on a request", responses=documented(404)
)
async def act_on_request(
    request: Request, pool: Pool, principal: Admin, request_id: Identifier, body: ActIn
) -> RequestOut:
    """Start, extend, complete, refuse or withdraw a request.

    To complete does what was asked where a machine can: `erasure` closes the account and erases it,
    `closing` closes it, `objection` ends the consent to prospecting. `outcome` is what the person
    is told; with `kept_until` it says what the law keeps, and until when.
    """
    async with transaction(pool) as connection:
        changed = await privacy.act(
            connection,
            request.app.state.settings,
            request_id,
            body.act,
            reason=body.reason or "",
            now=datetime.now(UTC),
            by=by(request, principal),
        )
    return RequestOut.model_validate(changed)


@router.get(
    "/data-requests/{request_id}/export",
    summary="The data that a request asks for",
    response_class=StreamingResponse,
    responses={**documented(404), **_ZIP},
)
async def export_for_request(
    request: Request, pool: Pool, principal: Admin, request_id: Identifier
) -> Response:
    """What the person would get by `/me/export`, for one who asked by letter: only for an open
    request for access or portability, and read with her rights, not with the administrator's."""
    found = await _find_request(pool, request_id)
    asked = found.kind in (Kind.ACCESS, Kind.PORTABILITY) and found.finished_at is None
    if not asked or found.person_id is None:
        raise NotThere("No open request asks for the data of an account here.")
    now = datetime.now(UTC)
    async with acting(request.app.state.people, person_id=found.person_id) as connection:
        file = await own_data.export(connection, processing.register(), found.person_id, "fr", now)
    await _note_export(request, pool, principal, found.person_id, now)
    return _download(file, now)


# --- The archive and the runs ---------------------------------------------------------------------


@router.get("/archive/sessions", summary="Open the restricted archive", responses=documented(404))
async def open_archive(
    request: Request,
    pool: Pool,
    principal: Admin,
    reason: Annotated[
        str, Query(min_length=10, max_length=500, description="Why; it goes into the audit.")
    ],
    person_id: Annotated[Identifier | None, Query(description="Number of the person.")] = None,
    token_uid: Annotated[Name | None, Query(description="Or a badge that was hers.")] = None,
    from_at: From = None,
    to: To = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> ArchiveOut:
    """To whom the sessions of an erased account were invoiced, and these sessions, newest first.

    Only accounts whose active period is over are here, for ten years. Each call is in the audit.
    """
    async with transaction(pool) as connection:
        persons = await erasure.open_archive(
            connection,
            reader=principal.actor,
            reader_person=principal.person_id,
            reason=reason,
            address=by(request, principal).remote_address,
            person_id=person_id,
            badge=token_uid,
        )
    ids = [person.person_id for person in persons]
    page = await read_rows(
        pool,
        limit,
        cursor,
        (datetime, int),
        rows=lambda connection, count, after: erasure.list_archived_sessions(
            connection, ids, from_at=from_at, to_at=to, limit=count, cursor=after
        ),
        total=lambda connection: erasure.count_archived_sessions(
            connection, ids, from_at=from_at, to_at=to
        ),
        key=lambda row: (row.started_at, row.id),
    )
    return ArchiveOut(
        persons=[ArchivedOut.model_validate(person) for person in persons],
        items=[ArchivedSessionOut.model_validate(row) for row in page.items],
        next=page.next,
        total=page.total,
    )


@router.get("/privacy/runs", summary="What the periods did", responses=documented())
async def list_runs(
    pool: Pool,
    _: Admin,
    rule: Annotated[Name | None, Query(description="Only of this rule.")] = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[RunOut]:
    """What the nightly job deleted, emptied, archived or anonymised, rule by rule, newest first."""
    page = await read_rows(
        pool,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: retention.list_runs(
            connection, rule=rule, limit=count, cursor=after
        ),
        total=lambda connection: retention.count_runs(connection, rule=rule),
        key=lambda row: (row.id,),
    )
    return shaped(page, RunOut)


async def _find_request(pool: Pool, request_id: int) -> DataRequest:
    async with transaction(pool) as connection:
        found = await store.lock_request(connection, request_id)
    if found is None:
        raise NotThere(f"There is no request {request_id}.")
    return found


async def _note_export(
    request: Request, pool: Pool, principal: Principal, person_id: int, now: datetime
) -> None:
    who = by(request, principal)
    async with transaction(pool) as connection:
        await audit.add_entry(
            connection,
            now,
            actor=who.actor,
            person_id=who.person_id,
            action="data exported",
            subject=f"person {person_id}",
            remote_address=who.remote_address,
        )


def _download(file: IO[bytes], now: datetime) -> StreamingResponse:
    def chunks() -> Iterator[bytes]:
        with file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk

    name = f"time2plug-donnees-{deadlines.paris_day(now)}.zip"
    return StreamingResponse(
        chunks(),
        media_type="application/zip",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
