"""A plan into the database, in one transaction: what differs is written, and counted."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from psycopg import AsyncConnection
from psycopg.errors import UniqueViolation
from psycopg_pool import AsyncConnectionPool

from csms import passwords, registry, static_data, static_history
from csms.provisioning.own_csv import GENERATE
from csms.provisioning.plan import EvsePlan, ImportReport, Plan, Problem, StationPlan
from csms.provisioning.static_cells import check_together
from csms.static_data import EvseStatic, SiteStatic, StationStatic
from csms.static_history import Change
from csms.store import provisioning as store
from csms.store import sites as sites_store
from csms.store.provisioning import ConnectorRow, EvseRow
from csms.store.sites import Site
from csms.store.stations import StationConfig

_HASHES_AT_ONCE = 2
_DEFAULT_ZONE = "Europe/Paris"


async def write(
    pool: AsyncConnectionPool, plan: Plan, *, dry_run: bool, actor: str
) -> ImportReport:
    """Write the plan and say what changed; with problems, or dry, nothing is written."""
    try:
        return await _write(pool, plan, dry_run, actor)
    except UniqueViolation:
        reason = "another change took one of the identifiers at the same moment: import it again"
        return ImportReport(problems=[Problem(1, None, "", reason)], warnings=plan.warnings)


async def _write(pool: AsyncConnectionPool, plan: Plan, dry_run: bool, actor: str) -> ImportReport:
    report = ImportReport(warnings=plan.warnings, dry_run=dry_run)
    history: list[Change] = []
    async with pool.connection() as connection, connection.transaction() as transaction:
        await store.lock_import(connection)
        clients = await _write_sites(connection, plan, report, history)
        owners, changed = await _write_stations(connection, plan, clients, report, history)
        changed |= await _write_evses(connection, plan, owners, report, history)
        if plan.problems:
            transaction.force_rollback = True
            return ImportReport(problems=plan.sorted_problems(), warnings=plan.warnings)
        await static_history.record(connection, actor, history)
        await store.notify_stations(connection, sorted(changed))
        transaction.force_rollback = dry_run
    if dry_run:
        report.generated_passwords.clear()
    return report


async def _write_sites(
    connection: AsyncConnection, plan: Plan, report: ImportReport, history: list[Change]
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
        record["static"] = _merged(planned.static, record["static"])
        check_together(SiteStatic, before["static"], record["static"], planned.line, plan)
        owners[site_id] = record["client_id"]
        if _count(report, "site", former is not None, before != record):
            records.append(record)
            place = (record["client_id"], site_id, None, None)
            history.append(
                Change("site", *place, _site_facts(before) if former else None, _site_facts(record))
            )
    await _refuse_taken_station_ids(connection, plan, records)
    if records and not plan.problems:
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


def _site_facts(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "id"}


def _merged(stated: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """What is known with what the file states in it; it states nothing by an empty cell."""
    named = {name: value for name, value in stated.items() if value not in (None, "")}
    return static_data.merged(known, named)


async def _refuse_taken_station_ids(
    connection: AsyncConnection, plan: Plan, records: Sequence[Mapping[str, Any]]
) -> None:
    """An AFIREV identifier that another site has, in the file or the database, is a problem."""
    wanted: dict[str, str] = {}
    for record in records:
        identifier = record["static"].get("afirev_station_id")
        if identifier is not None and wanted.setdefault(identifier, record["id"]) != record["id"]:
            reason = f"site {wanted[identifier]} has it already"
            plan.refuse(plan.sites[record["id"]].line, "afirev_station_id", identifier, reason)
    for identifier, owner in await store.fetch_station_id_owners(connection, list(wanted)):
        if owner != wanted[identifier]:
            line = plan.sites[wanted[identifier]].line
            plan.refuse(line, "afirev_station_id", identifier, f"site {owner} has it already")


async def _write_stations(
    connection: AsyncConnection,
    plan: Plan,
    owners: Mapping[str, int],
    report: ImportReport,
    history: list[Change],
) -> tuple[dict[str, StationConfig], set[str]]:
    """Write the stations; returns all of the plan as they stand, and which changed."""
    ids = list(plan.stations)
    operator_id = await sites_store.operator_client_id(connection)
    known = {config.id: config for config in await store.fetch_stations(connection, ids)}
    hashes = await _password_hashes(plan, known, report)
    records = []
    configs: dict[str, StationConfig] = {}
    for station_id, planned in plan.stations.items():
        former = known.get(station_id)
        base = former or _new_station(station_id, operator_id)
        config = _station_config(planned, base, owners, hashes.get(station_id))
        configs[station_id] = config
        check_together(StationStatic, base.static, config.static, planned.line, plan)
        if config.security_profile in (1, 2) and config.password_hash is None:
            reason = "needs a password in its row, or `generate`"
            profile = str(config.security_profile)
            plan.refuse(planned.line, "security_profile", profile, reason)
        elif _count(report, "station", former is not None, config != base):
            records.append(asdict(config))
            history.append(registry.station_change(former, config))
    if records and not plan.problems:
        await store.write_stations(connection, records)
    return configs, {record["id"] for record in records}


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
    return replace(base, **named, static=_merged(planned.static, base.static))


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


async def _write_evses(
    connection: AsyncConnection,
    plan: Plan,
    owners: Mapping[str, StationConfig],
    report: ImportReport,
    history: list[Change],
) -> set[str]:
    """Write EVSEs and connectors; returns the stations that changed."""
    ids = list(plan.stations)
    evses: dict[str, dict[int, EvseRow]] = {}
    for row in await store.fetch_evses(connection, ids):
        evses.setdefault(row.station_id, {})[row.evse_id] = row
    connectors: dict[tuple[str, int], dict[tuple[str, int, int], ConnectorRow]] = {}
    for held_row in await store.fetch_connectors(connection, ids):
        place = (held_row.station_id, held_row.evse_id)
        connectors.setdefault(place, {})[*place, held_row.connector_id] = held_row
    evse_records: list[EvseRow] = []
    connector_records: list[ConnectorRow] = []
    for station in plan.stations.values():
        known = evses.get(station.id, {})
        _number_evses(station, known)
        for planned in station.evses:
            assert planned.evse_id is not None
            former = known.get(planned.evse_id)
            row = _evse_row(station.id, planned.evse_id, planned, former)
            check_together(
                EvseStatic, former.static if former else {}, row.static, planned.line, plan
            )
            if _count(report, "EVSE", former is not None, row != former):
                evse_records.append(row)
            held = connectors.get((station.id, planned.evse_id), {})
            wanted = dict(held)
            for number, values in planned.connectors.items():
                spot = (station.id, planned.evse_id, number)
                connector = _connector_row(spot, values, held.get(spot))
                wanted[spot] = connector
                if _count(report, "connector", spot in held, connector != held.get(spot)):
                    connector_records.append(connector)
            before = registry.evse_facts(_evse_values(former, held)) if former else None
            after = registry.evse_facts(_evse_values(row, wanted))
            config = owners[station.id]
            place_of = (config.client_id, config.site_id, station.id, planned.evse_id)
            history.append(Change("evse", *place_of, before, after))
    await _refuse_taken_uids(connection, plan)
    if not plan.problems:
        if evse_records:
            await store.write_evses(connection, [asdict(row) for row in evse_records])
        if connector_records:
            await store.write_connectors(connection, [asdict(row) for row in connector_records])
    changed = {row.station_id for row in evse_records}
    return changed | {row.station_id for row in connector_records}


def _evse_values(
    row: EvseRow, connectors: Mapping[tuple[str, int, int], ConnectorRow]
) -> dict[str, Any]:
    return asdict(row) | {"connectors": [asdict(connector) for connector in connectors.values()]}


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
    return replace(
        base,
        **planned.values,
        power_w_max=planned.power_w_max or base.power_w_max,
        static=_merged(planned.static, base.static),
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
