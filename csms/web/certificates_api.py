"""Operations on certificates of stations: requests decided, certificates listed and revoked."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from psycopg import AsyncConnection
from pydantic import Field

from csms.db import transaction
from csms.registry import NotThere
from csms.store import security as store
from csms.web.fields import (
    CursorText,
    Identifier,
    Input,
    Limit,
    Name,
    Note,
    Output,
    PageOf,
    Utc,
)
from csms.web.guard import Operator, Pool
from csms.web.listing import read_rows, shaped
from csms.web.problems import Problem, documented

router = APIRouter(tags=["Certificates"])

RequestStatus = Literal["waiting", "approved", "signed", "rejected"]


class CertificateRequestOut(Output):
    id: int
    station_id: str
    received_at: Utc
    subject: str
    status: RequestStatus
    reason: str | None = Field(description="Why it was rejected.")
    decided_by: str | None = Field(description="Null: nobody yet, or the server's setting.")
    decided_at: Utc | None
    command_id: int | None = Field(description="The order that carries the certificate.")


class CertificateOut(Output):
    id: int
    station_id: str
    serial: str
    fingerprint_sha256: str
    subject: str
    issuer: str
    not_before: Utc
    not_after: Utc
    revoked_at: Utc | None


class Rejection(Input):
    reason: Note


RequestId = Annotated[Identifier, Path(description="The request's number.")]


@router.get(
    "/certificate-requests", summary="List requests for certificates", responses=documented()
)
async def list_requests(
    pool: Pool,
    _: Operator,
    station_id: Annotated[Name | None, Query(description="Only those of this station.")] = None,
    status: Annotated[RequestStatus | None, Query(description="Only those.")] = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[CertificateRequestOut]:
    """What stations want signed, newest first."""
    page = await read_rows(
        pool,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_requests(
            connection, station_id=station_id, status=status, limit=count, cursor=after
        ),
        total=lambda connection: store.count_requests(
            connection, station_id=station_id, status=status
        ),
        key=lambda row: (row.id,),
    )
    return shaped(page, CertificateRequestOut)


@router.post(
    "/certificate-requests/{request_id}/approve",
    summary="Let a request be signed",
    responses=documented(404, 409),
)
async def approve(pool: Pool, operator: Operator, request_id: RequestId) -> CertificateRequestOut:
    """The request is signed within seconds, and the certificate sent to its station."""
    async with transaction(pool) as connection:
        if not await store.approve_request(
            connection, request_id, operator.name, datetime.now(UTC)
        ):
            await _not_waiting(connection, request_id)
        return await _shown(connection, request_id)


@router.post(
    "/certificate-requests/{request_id}/reject",
    summary="Reject a request",
    responses=documented(404, 409),
)
async def reject(
    pool: Pool, operator: Operator, request_id: RequestId, body: Rejection
) -> CertificateRequestOut:
    """The request is not signed; the station hears nothing, and may ask again."""
    async with transaction(pool) as connection:
        if not await store.reject_request(
            connection, request_id, body.reason, operator.name, datetime.now(UTC)
        ):
            await _not_waiting(connection, request_id)
        return await _shown(connection, request_id)


@router.get("/certificates", summary="List certificates of stations", responses=documented())
async def list_certificates(
    pool: Pool,
    _: Operator,
    station_id: Annotated[Name | None, Query(description="Only those of this station.")] = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[CertificateOut]:
    """Certificates that were issued to stations, newest first."""
    page = await read_rows(
        pool,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_certificates(
            connection, station_id=station_id, limit=count, cursor=after
        ),
        total=lambda connection: store.count_certificates(connection, station_id=station_id),
        key=lambda row: (row.id,),
    )
    return shaped(page, CertificateOut)


@router.post(
    "/certificates/{certificate_id}/revoke",
    summary="Revoke a certificate",
    status_code=204,
    responses=documented(404),
)
async def revoke(
    pool: Pool,
    _: Operator,
    certificate_id: Annotated[Identifier, Path(description="The certificate's number.")],
) -> None:
    """Nobody comes in with it any more; a station that is connected stays until it is cut."""
    async with transaction(pool) as connection:
        if await store.revoke_certificate(connection, certificate_id, datetime.now(UTC)) is None:
            raise NotThere(f"There is no certificate {certificate_id}.")


async def _not_waiting(connection: AsyncConnection, request_id: int) -> None:
    """Raises: NotThere, Problem."""
    found = await _shown(connection, request_id)
    raise Problem(409, f"Request {request_id} is {found.status} already.")


async def _shown(connection: AsyncConnection, request_id: int) -> CertificateRequestOut:
    """Raises: NotThere."""
    found = await store.list_requests(connection, request_id=request_id)
    if not found:
        raise NotThere(f"There is no request {request_id}.")
    return CertificateRequestOut.model_validate(found[0])
