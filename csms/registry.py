"""What people decide of stations and badges: created, replaced, changed, retired.

One place for the API, the command line and the import, so that all three keep the same rules.
Every function runs in the caller's transaction and tells the gateways at its commit. An expected
refusal is a `Refusal`: its `field` says where, its text is a sentence for people.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.errors import UniqueViolation

from csms import passwords, static_data, static_history
from csms.domain import point_rules
from csms.domain.point_rules import Broken
from csms.static_data import EvseStatic, SiteStatic, StationStatic
from csms.static_history import SYSTEM, Change
from csms.store import provisioning, sites, stations, tokens
from csms.store.stations import StationConfig
from csms.store.tokens import TokenConfig

PROTOCOLS = ("ocpp1.6", "ocpp2.0.1")
BOOT_STATUSES = ("accepted", "pending", "rejected")
TOKEN_STATUSES = ("accepted", "blocked", "expired", "invalid")
TOKEN_TYPES = (
    "Central",
    "eMAID",
    "ISO14443",
    "ISO15693",
    "KeyCode",
    "Local",
    "MacAddress",
    "NoAuthorization",
)

CONNECTOR_TYPES = (  # ConnectorEnumType of OCPP 2.0.1
    "cCCS1",
    "cCCS2",
    "cG105",
    "cTesla",
    "cType1",
    "cType2",
    "s309-1P-16A",
    "s309-1P-32A",
    "s309-3P-16A",
    "s309-3P-32A",
    "sBS1361",
    "sCEE-7-7",
    "sType2",
    "sType3",
    "Other1PhMax16A",
    "Other1PhOver16A",
    "Other3Ph",
    "Pan",
    "wInductive",
    "wResonant",
    "Undetermined",
    "Unknown",
)
_CONNECTOR_NAMES = {name.lower(): name for name in CONNECTOR_TYPES} | {
    "ccs": "cCCS2",
    "combo": "cCCS2",
    "chademo": "cG105",
    "ef": "sCEE-7-7",
    "type1": "cType1",
    "type2": "sType2",
    "type3": "sType3",
}


class Refusal(Exception):
    """A change that cannot be made: `field` names what is wrong, None for the whole."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class NotThere(Refusal):
    """The thing to change does not exist or is retired."""


class AlreadyThere(Refusal):
    """The thing to create exists."""


class Conflict(Refusal):
    """What is asked for does not go with how things stand."""


def check_station_id(station_id: str) -> None:
    """Accept an OCPP identity: 1 to 255 printable characters, no space at either end.

    Raises: Refusal.
    """
    _check_name(station_id, "A station's identity", "id")


def check_uid(uid: str) -> None:
    """Accept a badge's number: as an identity. Raises: Refusal."""
    _check_name(uid, "A badge's number", "uid")


def _check_name(text: str, what: str, field: str) -> None:
    if not 1 <= len(text) <= 255:
        raise Refusal(f"{what} has 1 to 255 characters.", field)
    if not text.isprintable() or text != text.strip():
        raise Refusal(f"{what} has printable characters only, and no space at its ends.", field)


def connector_type(text: str) -> str | None:
    """The OCPP 2.0.1 name of a connector type, from that name or a common one (type2, ef, ccs,
    chademo), without case; None when there is no such type."""
    return _CONNECTOR_NAMES.get(text.strip().lower().replace(" ", ""))


def checked_static(
    model: type[SiteStatic] | type[StationStatic] | type[EvseStatic],
    values: Mapping[str, Any],
    place: str = "static",
) -> dict[str, Any]:
    """Static data in the form in which they are stored. Raises: Refusal, with the field."""
    for flaw in static_data.flaws(model, values):
        raise Refusal(
            f"{flaw.text[:1].upper()}{flaw.text[1:]}.", f"{place}.{flaw.field}".strip(".")
        )
    return model.model_validate(values).stored()


async def create_station(
    connection: AsyncConnection,
    station_id: str,
    values: Mapping[str, Any],
    *,
    length_min: int,
    actor: str = SYSTEM,
) -> None:
    """A new station from the named values; what is not named takes its default.

    `values` takes the fields of `StationConfig` but client_id and password_hash, and `password`
    and `evses` ([{evse_id, evse_uid, public, power_w_max, static, connectors: [{connector_id,
    type, power_w_max}]}]; no `static`, or None: as it is). A retired station of this id comes
    back, as created. `actor` goes into the history.

    Raises: AlreadyThere, also for an identifier that another station's point has; Refusal for a
    site that does not exist, a bad password, static data that break a rule.
    """
    base = await _new_config(connection, station_id)
    config = await _merged(connection, base, values, length_min)
    if not await _write(connection, None, config, values, actor):
        raise AlreadyThere(f"Station {station_id} exists already.", "id")


async def put_station(
    connection: AsyncConnection,
    station_id: str,
    values: Mapping[str, Any],
    *,
    length_min: int,
    actor: str = SYSTEM,
) -> bool:
    """Create or replace a station; True when it was created.

    What is not named takes its default, with two exceptions: the password, which nobody can read
    back, stays unless it is named; and so do the EVSEs, which the station itself reports.

    Raises: as `create_station`, but not that it exists.
    """
    former = await stations.lock_config(connection, station_id)
    base = await _new_config(connection, station_id)
    if former is not None and "password" not in values:
        secured = 1 if former.password_hash else 0
        base = replace(base, password_hash=former.password_hash, security_profile=secured)
    config = await _merged(connection, base, values, length_min)
    await _write(connection, former, config, values, actor, replacing=True)
    return former is None


async def change_station(
    connection: AsyncConnection,
    station_id: str,
    values: Mapping[str, Any],
    *,
    length_min: int,
    actor: str = SYSTEM,
) -> None:
    """Change the named fields of a station, no other; `evses` is replaced as a whole.

    Raises: NotThere; Refusal as `create_station`.
    """
    former = await stations.lock_config(connection, station_id)
    if former is None:
        raise NotThere(f"There is no station {station_id}.")
    config = await _merged(connection, former, values, length_min)
    await _write(connection, former, config, values, actor, replacing=True)


async def retire_station(
    connection: AsyncConnection, station_id: str, now: datetime, *, actor: str = SYSTEM
) -> None:
    """Retire a station: the gateways refuse it from now on. Raises: NotThere."""
    former = await stations.lock_config(connection, station_id)
    if former is None:
        raise NotThere(f"There is no station {station_id}.")
    await stations.retire_station(connection, station_id, now)
    states: list[dict[str, Any]] = [{"retired": False}, {"retired": True}]
    change = Change("station", former.client_id, former.site_id, station_id, None, *states)
    await static_history.record(connection, actor, [change])
    await stations.notify_station(connection, station_id)


async def create_token(
    connection: AsyncConnection, uid: str, values: Mapping[str, Any], *, replacing: bool = False
) -> bool:
    """A new badge, or with `replacing` whatever stands under its uid; True when it was created.

    `values` takes the fields of `TokenConfig` but uid. Raises: AlreadyThere; Refusal.
    """
    former = await tokens.lock_config(connection, uid)
    config = TokenConfig(
        uid=uid,
        client_id=await sites.operator_client_id(connection),
        type="ISO14443",
        status="accepted",
        group_uid=None,
        valid_until=None,
        site_ids=None,
        concurrent_max=None,
    )
    config = replace(config, **await _token_values(connection, values))
    if await tokens.write_config(connection, config, replace=replacing) is None:
        raise AlreadyThere(f"Badge {uid} exists already.", "uid")
    await tokens.notify_token(connection, uid)
    return former is None


async def change_token(connection: AsyncConnection, uid: str, values: Mapping[str, Any]) -> None:
    """Change the named fields of a badge, no other. Raises: NotThere; Refusal."""
    former = await tokens.lock_config(connection, uid)
    if former is None:
        raise NotThere(f"There is no badge {uid}.")
    config = replace(former, **await _token_values(connection, values))
    await tokens.write_config(connection, config, replace=True)
    await tokens.notify_token(connection, uid)


async def retire_token(connection: AsyncConnection, uid: str, now: datetime) -> None:
    """Retire a badge: unknown from now on. Raises: NotThere."""
    if not await tokens.retire_token(connection, uid, now):
        raise NotThere(f"There is no badge {uid}.")
    await tokens.notify_token(connection, uid)


async def _new_config(connection: AsyncConnection, station_id: str) -> StationConfig:
    return StationConfig(
        id=station_id,
        client_id=await sites.operator_client_id(connection),
        site_id=None,
        protocol=None,
        security_profile=0,
        password_hash=None,
        boot_status="accepted",
        auto_configure=True,
        public=False,
        ping_interval_s=None,
        compression=False,
        vendor=None,
        model=None,
        serial=None,
        static={},
    )


async def _merged(
    connection: AsyncConnection, base: StationConfig, values: Mapping[str, Any], length_min: int
) -> StationConfig:
    """The configuration with the named values in it, its client and password hash found."""
    named = {k: v for k, v in values.items() if k not in ("password", "evses", "password_hash")}
    if "site_id" in named:
        named["client_id"] = await _client_of(connection, named["site_id"])
    if "static" in named:
        named["static"] = checked_static(StationStatic, named["static"])
    if "password" in values:
        password = values["password"]
        named["password_hash"] = await _hashed(password, length_min)
        if password is not None and base.security_profile == 0:
            named.setdefault("security_profile", 1)
    if values.get("password_hash") is not None:  # one that we generated ourselves
        named["password_hash"] = values["password_hash"]
        named.setdefault("security_profile", max(base.security_profile, 1))
    config = replace(base, **named)
    if config.security_profile in (1, 2) and config.password_hash is None:
        raise Refusal(
            f"Security profile {config.security_profile} needs a password: set one, "
            "or lower the profile to 0.",
            "password",
        )
    return config


async def _client_of(connection: AsyncConnection, site_id: str | None) -> int:
    if site_id is None:
        return await sites.operator_client_id(connection)
    client_id = await sites.client_of_site(connection, site_id)
    if client_id is None:
        raise Refusal(f"There is no site {site_id}.", "site_id")
    return client_id


async def _hashed(password: str | None, length_min: int) -> str | None:
    if password is None:
        return None
    try:
        passwords.check_policy(password, length_min)
    except passwords.PasswordRefused as refusal:
        text = str(refusal)
        raise Refusal(text[0].upper() + text[1:] + ".", "password") from None
    return await asyncio.to_thread(passwords.hash_chosen, password)


async def _write(
    connection: AsyncConnection,
    former: StationConfig | None,
    config: StationConfig,
    values: Mapping[str, Any],
    actor: str,
    *,
    replacing: bool = False,
) -> bool:
    """Write the station with its EVSEs where they are named, and what changed into the history;
    False when it exists and may not be replaced."""
    station_key = await stations.write_config(connection, config, replace=replacing)
    if station_key is None:
        return False
    evses = values.get("evses")
    changes = [station_change(former, config)]
    if evses is not None:
        known = await stations.lock_evses(connection, station_key)
        wanted = _checked_evses(evses, known)
        await _refuse_taken_uids(connection, config.id, wanted)
        await _write_evses(connection, station_key, wanted)
        changes += _evse_changes(config, known, wanted)
    await static_history.record(connection, actor, changes)
    await stations.notify_station(connection, config.id)
    return True


async def _write_evses(
    connection: AsyncConnection, station_key: int, wanted: list[dict[str, Any]]
) -> None:
    await stations.delete_other_evses(connection, station_key, wanted)
    await stations.delete_other_connectors(connection, station_key, wanted)
    await stations.release_uids(connection, station_key, wanted)
    try:
        await stations.write_evses(connection, station_key, wanted)
    except UniqueViolation:  # taken in the same moment
        raise AlreadyThere(
            "Another station's point has one of these identifiers.", "evses"
        ) from None
    await stations.write_connectors(connection, station_key, wanted)


def _checked_evses(
    evses: Sequence[Mapping[str, Any]], known: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The EVSEs in the form in which they are stored, with the static data that they keep.
    Raises: Refusal."""
    kept = {evse["evse_id"]: evse["static"] for evse in known}
    wanted = []
    for position, evse in enumerate(evses):
        static, place = evse.get("static"), f"evses.{position}"
        if static is None:
            static = kept.get(evse["evse_id"], {})
        else:
            static = checked_static(EvseStatic, static, f"{place}.static")
        uid = evse.get("evse_uid")
        if uid is not None:
            try:
                uid = point_rules.point_id(uid)
            except Broken as broken:
                text = static_data.message(broken.code, "en", **broken.parts)
                raise Refusal(f"{text[0].upper()}{text[1:]}.", f"{place}.evse_uid") from None
        wanted.append({"connectors": [], **evse, "evse_uid": uid, "static": static})
    uids = Counter(evse["evse_uid"] for evse in wanted if evse["evse_uid"] is not None)
    for uid, count in uids.items():
        if count > 1:
            raise Refusal(f"Two of the EVSEs have the identifier {uid}.", "evses")
    return wanted


async def _refuse_taken_uids(
    connection: AsyncConnection, station_id: str, wanted: list[dict[str, Any]]
) -> None:
    """Raises: AlreadyThere, when a point of another station has one of the identifiers."""
    uids = [evse["evse_uid"] for evse in wanted if evse["evse_uid"] is not None]
    for uid, owner, evse_id in await provisioning.fetch_uid_owners(connection, uids):
        if owner != station_id:
            raise AlreadyThere(f"{uid} belongs to EVSE {evse_id} of station {owner}.", "evses")


def station_change(former: StationConfig | None, config: StationConfig) -> Change:
    """A station's line of the history."""
    before = None if former is None else _station_facts(former)
    after = _station_facts(config)
    return Change("station", config.client_id, config.site_id, config.id, None, before, after)


def _station_facts(config: StationConfig) -> dict[str, Any]:
    """What the history keeps of a station: nothing of its password or its connection."""
    names = ("client_id", "site_id", "public", "vendor", "model", "serial", "static")
    return {name: getattr(config, name) for name in names}


def _evse_changes(
    config: StationConfig, known: Sequence[dict[str, Any]], wanted: Sequence[dict[str, Any]]
) -> list[Change]:
    before = {evse["evse_id"]: evse_facts(evse) for evse in known}
    after = {evse["evse_id"]: evse_facts(evse) for evse in wanted}
    place = (config.client_id, config.site_id, config.id)
    return [
        Change("evse", *place, number, before.get(number), after.get(number))
        for number in sorted(before | after)
    ]


def evse_facts(evse: Mapping[str, Any]) -> dict[str, Any]:
    """What the history keeps of a point."""
    names = ("evse_uid", "public", "power_w_max", "static")
    connectors = sorted(evse.get("connectors", ()), key=lambda k: int(k["connector_id"]))
    return {name: evse.get(name) for name in names} | {
        "connectors": [
            {name: k.get(name) for name in ("connector_id", "type", "power_w_max")}
            for k in connectors
        ]
    }


async def _token_values(connection: AsyncConnection, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, checked against the database."""
    named = dict(values)
    if named.get("site_ids") is not None:
        named["site_ids"] = list(dict.fromkeys(named["site_ids"]))
        unknown = await sites.unknown_sites(connection, named["site_ids"])
        if unknown:
            raise Refusal(f"There is no site {unknown[0]}.", "site_ids")
    if "client_id" in named:
        if named["client_id"] is None:
            named["client_id"] = await sites.operator_client_id(connection)
        elif await sites.get_client(connection, named["client_id"]) is None:
            raise Refusal(f"There is no client {named['client_id']}.", "client_id")
    return named
