"""A plan into the database, in one transaction: what differs is written, and counted."""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from csms import passwords
from csms.provisioning.own_csv import GENERATE
from csms.provisioning.plan import EvsePlan, ImportReport, Plan, StationPlan
from csms.store import provisioning as store
from csms.store import sites as sites_store
from csms.store.provisioning import ConnectorRow, EvseRow
from csms.store.sites import Site
from csms.store.stations import StationConfig

_HASHES_AT_ONCE = 2
_DEFAULT_ZONE = "Europe/Paris"


async def write(pool: AsyncConnectionPool, plan: Plan, *, dry_run: bool) -> ImportReport:
    """Write the plan and say what changed; with problems, or dry, nothing is written."""
    report = ImportReport(warnings=plan.warnings, dry_run=dry_run)
    async with pool.connection() as connection, connection.transaction() as transaction:
        await store.lock_import(connection)
        clients = await _write_sites(connection, plan, report)
        changed = await _write_stations(connection, plan, clients, report)
        changed |= await _write_evses(connection, plan, report)
        if plan.problems:
            transaction.force_rollback = True
            return ImportReport(problems=plan.sorted_problems(), warnings=plan.warnings)
        await store.notify_stations(connection, sorted(changed))
        transaction.force_rollback = dry_run
    if dry_run:
        report.generated_passwords.clear()
    return report


async def _write_sites(
    connection: AsyncConnection, plan: Plan, report: ImportReport
) -> dict[str, int]:
    """Write clients and sites; returns the client of every site of the plan."""
    names = sorted(
        {site.values["client"] for site in plan.sites.values() if "client" in site.values}
    )
    report.created["client"] = await store.insert_clients(connection, names)
    client_ids = await store.client_ids(connection, names)
    operator_id = await sites_store.operator_client_id(connection)
    known = {site.id: site for site in await store.fetch_sites(connection, list(plan.sites))}
    owners: dict[str, int] = {}
    records = []
    for site_id, planned in plan.sites.items():
        former = known.get(site_id)
        record = _site_record(former, site_id, operator_id)
        before = dict(record)
        if "client" in planned.values:
            record["client_id"] = client_ids[planned.values["client"]]
        for name in ("name", "time_zone"):
            record[name] = planned.values.get(name, record[name])
        stated = {name: value for name, value in planned.static.items() if value not in (None, "")}
        record["static"] = record["static"] | stated
        owners[site_id] = record["client_id"]
        if _count(report, "site", former is not None, before != record):
            records.append(record)
    if records:
        await store.write_sites(connection, records)
    return owners


def _site_record(former: Site | None, site_id: str, operator_id: int) -> dict[str, Any]:
    return {
        "id": site_id,
        "client_id": former.client_id if former else operator_id,
        "name": former.name if former else "",
        "time_zone": former.time_zone if former else _DEFAULT_ZONE,
        "static": former.static if former else {},
    }


async def _write_stations(
    connection: AsyncConnection, plan: Plan, owners: Mapping[str, int], report: ImportReport
) -> set[str]:
    """Write the stations; returns those that changed."""
    ids = list(plan.stations)
    operator_id = await sites_store.operator_client_id(connection)
    known = {config.id: config for config in await store.fetch_stations(connection, ids)}
    hashes = await _password_hashes(plan, known, report)
    records = []
    for station_id, planned in plan.stations.items():
        former = known.get(station_id)
        base = former or _new_station(station_id, operator_id)
        config = _station_config(planned, base, owners, hashes.get(station_id))
        if config.security_profile in (1, 2) and config.password_hash is None:
            reason = "needs a password in its row, or `generate`"
            profile = str(config.security_profile)
            plan.refuse(planned.line, "security_profile", profile, reason)
        elif _count(report, "station", former is not None, config != base):
            records.append(asdict(config))
    if records and not plan.problems:
        await store.write_stations(connection, records)
    return {record["id"] for record in records}


def _new_station(station_id: str, operator_id: int) -> StationConfig:
    return StationConfig(
        id=station_id,
        client_id=operator_id,
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


def _station_config(
    planned: StationPlan, base: StationConfig, owners: Mapping[str, int], password_hash: str | None
) -> StationConfig:
    """The station as it shall stand; what the plan does not name stays."""
    named = {name: value for name, value in planned.values.items() if name != "password"}
    if "site_id" in named:
        named["client_id"] = owners[named["site_id"]]
    if password_hash is not None and password_hash != base.password_hash:
        named["password_hash"] = password_hash
        if base.security_profile == 0:
            named.setdefault("security_profile", 1)
    return replace(base, **named, static=base.static | planned.static)


async def _password_hashes(
    plan: Plan, known: Mapping[str, StationConfig], report: ImportReport
) -> dict[str, str]:
    """Hashes by station: the present one where the password is that one already, or where one is
    to be generated and there is one. Hashing is slow by design: a few at a time, in threads."""
    hashes: dict[str, str] = {}
    limit = asyncio.Semaphore(_HASHES_AT_ONCE)

    async def find(station_id: str, password: str) -> None:
        present = known[station_id].password_hash if station_id in known else None
        if password == GENERATE:
            if present is None:
                report.generated_passwords[station_id], present = passwords.generate_hashed()
            hashes[station_id] = present
            return
        async with limit:
            hashes[station_id] = await asyncio.to_thread(_hash_of, password, present)

    async with asyncio.TaskGroup() as group:
        for station in plan.stations.values():
            if "password" in station.values:
                group.create_task(find(station.id, station.values["password"]))
    return hashes


def _hash_of(password: str, present: str | None) -> str:
    """The present hash if it is this password's, else a new one."""
    if present is not None and passwords.verify(present, password.encode()):
        return present
    return passwords.hash_chosen(password)


async def _write_evses(connection: AsyncConnection, plan: Plan, report: ImportReport) -> set[str]:
    """Write EVSEs and connectors; returns the stations that changed."""
    ids = list(plan.stations)
    evses: dict[str, dict[int, EvseRow]] = {}
    for row in await store.fetch_evses(connection, ids):
        evses.setdefault(row.station_id, {})[row.evse_id] = row
    connectors = {
        (row.station_id, row.evse_id, row.connector_id): row
        for row in await store.fetch_connectors(connection, ids)
    }
    evse_records: list[EvseRow] = []
    connector_records: list[ConnectorRow] = []
    for station in plan.stations.values():
        known = evses.get(station.id, {})
        _number_evses(station, known)
        for planned in station.evses:
            assert planned.evse_id is not None
            row = _evse_row(station.id, planned.evse_id, planned, known.get(planned.evse_id))
            if _count(report, "EVSE", planned.evse_id in known, row != known.get(planned.evse_id)):
                evse_records.append(row)
            for number, values in planned.connectors.items():
                place = (station.id, planned.evse_id, number)
                former = connectors.get(place)
                connector = _connector_row(place, values, former)
                if _count(report, "connector", former is not None, connector != former):
                    connector_records.append(connector)
    await _refuse_taken_uids(connection, plan)
    if not plan.problems:
        if evse_records:
            await store.write_evses(connection, [asdict(row) for row in evse_records])
        if connector_records:
            await store.write_connectors(connection, [asdict(row) for row in connector_records])
    changed = {row.station_id for row in evse_records}
    return changed | {row.station_id for row in connector_records}


def _number_evses(station: StationPlan, known: Mapping[int, EvseRow]) -> None:
    """Give EVSEs without a number the one that they have, by uid or local id, or the next one."""
    by_name: dict[str, int] = {}
    for number, row in known.items():
        by_name |= {name: number for name in (row.evse_uid, row.static.get("local_id")) if name}
    taken = set(known) | {evse.evse_id for evse in station.evses if evse.evse_id is not None}
    following = max(taken, default=0) + 1
    for evse in station.evses:
        if evse.evse_id is None:
            name = evse.values.get("evse_uid") or evse.static.get("local_id")
            evse.evse_id = by_name.get(str(name))
        if evse.evse_id is None:
            evse.evse_id, following = following, following + 1


def _evse_row(station_id: str, evse_id: int, planned: EvsePlan, former: EvseRow | None) -> EvseRow:
    base = former or EvseRow(station_id, evse_id, None, None, None, {})
    stated = {name: value for name, value in planned.static.items() if value not in (None, "")}
    return replace(
        base,
        **planned.values,
        power_w_max=planned.power_w_max or base.power_w_max,
        static=base.static | stated,
    )


def _connector_row(
    place: tuple[str, int, int], values: Mapping[str, Any], former: ConnectorRow | None
) -> ConnectorRow:
    base = former or ConnectorRow(*place, None, None)
    return replace(base, **{name: value for name, value in values.items() if value is not None})


async def _refuse_taken_uids(connection: AsyncConnection, plan: Plan) -> None:
    """A uid that another EVSE of the database has is a problem."""
    wanted = {
        evse.values["evse_uid"]: (station.id, evse)
        for station in plan.stations.values()
        for evse in station.evses
        if "evse_uid" in evse.values
    }
    for uid, station_id, evse_id in await store.fetch_uid_owners(connection, list(wanted)):
        claimant, evse = wanted[uid]
        if (station_id, evse_id) != (claimant, evse.evse_id):
            reason = f"belongs to EVSE {evse_id} of station {station_id}"
            plan.refuse(evse.line, "evse_uid", uid, reason)


def _count(report: ImportReport, kind: str, existed: bool, differs: bool) -> bool:
    """Count a thing; True when it is to be written."""
    if not existed:
        report.created[kind] += 1
    elif differs:
        report.updated[kind] += 1
    else:
        report.unchanged[kind] += 1
    return differs or not existed
