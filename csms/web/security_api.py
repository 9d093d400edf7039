"""Operations on how stations prove who they are, and on what they report of attacks."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from psycopg import AsyncConnection
from pydantic import Field

from csms import passwords
from csms.commands import OPERATOR
from csms.config import Settings
from csms.db import transaction
from csms.principals import Principal
from csms.registry import NotThere, Refusal
from csms.store import commands, observations, stations
from csms.store.observations import EventFilter
from csms.web.fields import CursorText, From, Input, Limit, Name, Output, PageOf, To
from csms.web.guard import Operator, Pool
from csms.web.listing import read_rows, shaped
from csms.web.problems import documented
from csms.web.record_models import StationEventOut
from csms.wire import ocpp16, orders

router = APIRouter(tags=["Certificates"])

StationId = Annotated[Name, Path(description="OCPP identity: the last part of the station's URL.")]


class ProfileIn(Input):
    profile: Literal[1, 2, 3] = Field(description="1 password, 2 password over TLS, 3 certificate.")
    configuration_slot: Annotated[int, Field(strict=True, ge=0)] | None = Field(
        default=None, description="2.0.1: the slot of the network profile to write."
    )
    csms_url: Annotated[str, Field(max_length=512)] | None = Field(
        default=None, description="2.0.1: where the station connects to with it."
    )


class PlacedOut(Output):
    command_id: int


@router.post(
    "/stations/{station_id:path}/rotate-password",
    summary="Give a station a new password",
    status_code=202,
    responses=documented(404),
)
async def rotate_password(
    pool: Pool, operator: Operator, request: Request, station_id: StationId
) -> PlacedOut:
    """Make a password, and order the station to use it. Nobody sees it: the order carries it, and
    only its hash is kept. The former one stays valid until the station has come in with the new."""
    settings: Settings = request.app.state.settings
    async with transaction(pool) as connection:
        target = await commands.fetch_target(connection, station_id)
        if target is None:
            raise NotThere(f"There is no station {station_id}.")
        password = passwords.generate()
        if target.protocol == ocpp16.PROTOCOL:
            action = "ChangeConfiguration"
            # The white paper of 1.6 wants it as hex: these are the bytes of its 20 characters.
            payload: dict[str, Any] = {
                "key": "AuthorizationKey",
                "value": password[:20].encode().hex(),
            }
        else:
            action = "SetVariables"
            variable = {
                "attributeValue": password,
                "component": {"name": "SecurityCtrlr"},
                "variable": {"name": "BasicAuthPassword"},
            }
            payload = {"setVariableData": [variable]}
        return await _placed(connection, settings, operator, station_id, action, payload)


@router.post(
    "/stations/{station_id:path}/security-profile",
    summary="Raise a station's security profile",
    status_code=202,
    responses=documented(404),
)
async def raise_profile(
    pool: Pool, operator: Operator, request: Request, station_id: StationId, body: ProfileIn
) -> PlacedOut:
    """Order the station to use a higher profile, when all is there that it needs. It becomes the
    least that the station must do once it has come in so; until then it may come as before."""
    settings: Settings = request.app.state.settings
    async with transaction(pool) as connection:
        station = await stations.get_station(connection, station_id)
        if station is None:
            raise NotThere(f"There is no station {station_id}.")
        _check_ready(settings, station, body.profile)
        target = await commands.fetch_target(connection, station_id)
        protocol = target.protocol if target is not None else None
        action, payload = _profile_order(protocol, body)
        return await _placed(connection, settings, operator, station_id, action, payload)


async def _placed(
    connection: AsyncConnection,
    settings: Settings,
    operator: Principal,
    station_id: str,
    action: str,
    payload: dict[str, Any],
) -> PlacedOut:
    command_id = await orders.place(
        connection,
        station_id,
        action,
        payload,
        origin=OPERATOR,
        created_by=operator.name,
        now=datetime.now(UTC),
        expires_in_s=settings.own_order_expires_in_s,
        settings=settings,
    )
    return PlacedOut(command_id=command_id)


def _check_ready(settings: Settings, station: stations.Station, profile: int) -> None:
    """Raises: Refusal, saying what is missing."""
    if profile <= station.security_profile:
        raise Refusal(
            f"The station has profile {station.security_profile} already; a lower one is set by "
            "a person at the station.",
            "profile",
        )
    if profile >= 2 and not settings.tls_cert:
        raise Refusal("Profiles 2 and 3 need TLS: set T2P_TLS_CERT and T2P_TLS_KEY.", "profile")
    if profile == 3 and settings.tls_ca is None and settings.station_ca_cert is None:
        raise Refusal(
            "Profile 3 needs a CA for the stations' certificates: set T2P_TLS_CA or "
            "T2P_STATION_CA_CERT.",
            "profile",
        )
    if profile in (1, 2) and not station.has_password:
        raise Refusal(f"Profile {profile} needs a password: give the station one first.", "profile")


def _profile_order(protocol: str | None, body: ProfileIn) -> tuple[str, dict[str, Any]]:
    """The order in the words of the version. Raises: Refusal."""
    if protocol == ocpp16.PROTOCOL:
        return "ChangeConfiguration", {"key": "SecurityProfile", "value": str(body.profile)}
    if body.configuration_slot is None or body.csms_url is None:
        raise Refusal(
            "A station of OCPP 2.0.1 takes a network profile: name its configuration_slot, and the "
            "csms_url that it shall connect to.",
            "configuration_slot",
        )
    connection = {
        "ocppVersion": "OCPP20",
        "ocppTransport": "JSON",
        "ocppCsmsUrl": body.csms_url,
        "messageTimeout": 30,
        "securityProfile": body.profile,
        "ocppInterface": "Wired0",
    }
    slot = body.configuration_slot
    return "SetNetworkProfile", {"configurationSlot": slot, "connectionData": connection}


@router.get("/security-events", summary="List security events", responses=documented())
async def list_security_events(
    pool: Pool,
    _: Operator,
    station_id: Annotated[Name | None, Query(description="Only those of this station.")] = None,
    type: Annotated[
        Name | None, Query(description="Only this, like TamperDetectionActivated.")
    ] = None,
    from_at: From = None,
    to: To = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[StationEventOut]:
    """What stations reported by SecurityEventNotification, newest first."""
    which = EventFilter("security", station_id, type, from_at, to)
    page = await read_rows(
        pool,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: observations.list_events_of_kind(
            connection, which, limit=count, cursor=after
        ),
        total=lambda connection: observations.count_events_of_kind(connection, which),
        key=lambda row: (row.id,),
    )
    return shaped(page, StationEventOut)
