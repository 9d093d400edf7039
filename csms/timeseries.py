"""How readings, statuses and messages are kept: native months, or TimescaleDB where it is there.

The migrator asks once: is the extension available, loaded, under its community licence (compression
and continuous aggregates are not in the Apache edition), and may the owner have it? Then the three
tables become hypertables with compression, and their daily counts continuous aggregates. Otherwise
they stay what 0001 made them, and the counts are tables that the worker keeps (csms.store.rollups).

The same SQL runs above both: the tables have the same names and columns, and the views
`message_day`, `status_day` and `reading_day` give the same rows. Only documented functions of
TimescaleDB 2.13 or newer are used.
"""

import logging
from typing import Final, NamedTuple

import psycopg
from psycopg import AsyncConnection

log = logging.getLogger(__name__)

NATIVE: Final = "native"
TIMESCALE: Final = "timescale"


class Series(NamedTuple):
    """One of the large tables and its daily counts."""

    table: str
    time: str  # the column that it is cut by
    chunk: str  # interval
    compress_after: str
    rollup: str
    view: str
    groups: tuple[tuple[str, str], ...]  # (expression, name)
    counts: tuple[tuple[str, str], ...]


SERIES: Final = (
    Series(
        "meter_reading",
        "stated_at",
        "7 days",
        "60 days",  # queues of stations that were offline come within weeks
        "reading_rollup",
        "reading_day",
        (("station_key", "station_key"), ("coalesce(evse_id, 0)", "evse_id")),
        (
            ("count(*)", "readings"),
            ("min(stated_at)", "first_at"),
            ("max(stated_at)", "last_at"),
        ),
    ),
    Series(
        "evse_status",
        "received_at",
        "30 days",
        "60 days",
        "status_rollup",
        "status_day",
        (("station_key", "station_key"), ("evse_id", "evse_id"), ("status", "status")),
        (("count(*)", "changes"),),
    ),
    Series(
        "ocpp_message",
        "at",
        "1 day",
        "7 days",
        "message_rollup",
        "message_day",
        (
            ("station_key", "station_key"),
            ("direction", "direction"),
            ("coalesce(action, '')", "action"),
        ),
        (("count(*)", "messages"), ("count(answer)", "answered")),
    ),
)


async def settle(connection: AsyncConnection) -> str:
    """Decide how the tables are kept, and see to it; `NATIVE` or `TIMESCALE`. For the migrator, as
    the owner, after the migrations and without views."""
    cursor = await connection.execute("SELECT kind FROM schema_storage")
    row = await cursor.fetchone()
    kind = NATIVE if row is None else str(row[0])
    if kind == NATIVE and await is_usable(connection):
        async with connection.transaction():
            for statement in conversion():
                await connection.execute(statement.encode())
        log.info("readings, statuses and messages are kept by TimescaleDB from now on")
        return TIMESCALE
    return kind


async def may_move(connection: AsyncConnection) -> bool:
    """Whether the tables are native, and the server has since got the extension."""
    cursor = await connection.execute(
        """
        SELECT to_regclass('schema_storage') IS NOT NULL AND EXISTS (
               SELECT FROM pg_available_extensions WHERE name = 'timescaledb')
        """
    )
    if await cursor.fetchone() != (True,):
        return False
    cursor = await connection.execute("SELECT kind FROM schema_storage")
    return await cursor.fetchone() == (NATIVE,)


async def is_usable(connection: AsyncConnection) -> bool:
    """Whether TimescaleDB can keep the tables here. Creates the extension where it may."""
    cursor = await connection.execute(
        """
        SELECT count(*) > 0
               AND 'timescaledb' = ANY (string_to_array(
                   replace(current_setting('shared_preload_libraries'), ' ', ''), ','))
          FROM pg_available_extensions WHERE name = 'timescaledb'
        """
    )
    if await cursor.fetchone() != (True,):
        return False
    try:
        async with connection.transaction():
            await connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    except psycopg.errors.InsufficientPrivilege:
        log.warning(
            "TimescaleDB is there, and this role may not have it: let an administrator run "
            "CREATE EXTENSION timescaledb in this database, then migrate again"
        )
        return False
    cursor = await connection.execute("SELECT current_setting('timescaledb.license', true)")
    return await cursor.fetchone() == ("timescale",)


def conversion() -> list[str]:
    """The statements that make hypertables of the native tables, with what they hold."""
    statements = []
    for series in SERIES:
        statements += _hypertable(series)
        statements += _continuous_aggregate(series)
    return [*statements, _ENSURE_MONTH, _DROP_JOURNAL, *_AFTERWARDS]


def _hypertable(series: Series) -> list[str]:
    table, former = series.table, f"{series.table}_native"
    return [
        f"ALTER TABLE {table} RENAME TO {former}",
        f"CREATE TABLE {table} (LIKE {former} INCLUDING DEFAULTS INCLUDING CONSTRAINTS "
        "INCLUDING INDEXES)",
        f"SELECT create_hypertable('{table}', by_range('{series.time}', "
        f"INTERVAL '{series.chunk}'), create_default_indexes => false)",
        f"INSERT INTO {table} SELECT * FROM {former}",
        f"DROP TABLE {former}",
        f"ALTER TABLE {table} SET (timescaledb.compress, "
        f"timescaledb.compress_segmentby = 'station_key', "
        f"timescaledb.compress_orderby = '{series.time} DESC')",
        f"SELECT add_compression_policy('{table}', INTERVAL '{series.compress_after}')",
        # Append-only, as in 0001: evidence is never rewritten, not even by our own code.
        f"GRANT SELECT, INSERT ON {table} TO t2p_app",
    ]


def _continuous_aggregate(series: Series) -> list[str]:
    groups = ", ".join(f"{expression} AS {name}" for expression, name in series.groups)
    counts = ", ".join(f"{expression} AS {name}" for expression, name in series.counts)
    by = ", ".join(expression for expression, _ in series.groups)
    return [
        f"DROP TABLE {series.rollup}",
        # With what is not yet materialized, as the native view has it.
        f"CREATE MATERIALIZED VIEW {series.rollup} "
        "WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS "
        f"SELECT {groups}, time_bucket(INTERVAL '1 day', {series.time}) AS day, {counts} "
        f"FROM {series.table} GROUP BY {by}, time_bucket(INTERVAL '1 day', {series.time}) "
        "WITH NO DATA",
        f"SELECT add_continuous_aggregate_policy('{series.rollup}', "
        "start_offset => INTERVAL '90 days', end_offset => INTERVAL '1 day', "
        "schedule_interval => INTERVAL '15 minutes')",
        f"GRANT SELECT ON {series.rollup} TO t2p_app",
    ]


_ENSURE_MONTH: Final = """
CREATE OR REPLACE FUNCTION ensure_month(parent text, month date) RETURNS boolean
    LANGUAGE sql AS 'SELECT false'  -- chunks come by themselves
"""
_DROP_JOURNAL: Final = """
CREATE OR REPLACE FUNCTION drop_journal_before(moment timestamptz) RETURNS SETOF text
    LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS
    $$ SELECT drop_chunks('ocpp_message', older_than => moment)::text $$
"""
_AFTERWARDS: Final = (
    "DROP TABLE schema_rollup",
    "UPDATE schema_storage SET kind = 'timescale', decided_at = now()",
)


def views(kind: str) -> str:
    """The statements that make the views of daily counts above either."""
    return ";\n".join(
        statement for series in SERIES for statement in (_view(series, kind), _grant(series))
    )


def _view(series: Series, kind: str) -> str:
    names = ", ".join([name for _, name in series.groups] + ["day"] + [n for _, n in series.counts])
    if kind == TIMESCALE:
        return (
            f"CREATE VIEW {series.view} WITH (security_invoker = true) AS "
            f"SELECT {names} FROM {series.rollup}"
        )
    return (
        f"CREATE VIEW {series.view} WITH (security_invoker = true) AS "
        f"SELECT {names} FROM {series.rollup} WHERE day < {_open_day(series)} "
        f"UNION ALL {daily_counts(series)} WHERE {series.time} >= {_open_day(series)} "
        f"GROUP BY {grouping(series)}"
    )


def _open_day(series: Series) -> str:
    """From when on the native view counts for itself: the day that was counted last."""
    name = series.rollup.removesuffix("_rollup")
    return f"(SELECT date_trunc('day', counted_to, 'UTC') FROM schema_rollup WHERE name = '{name}')"


def daily_counts(series: Series) -> str:
    """The native SELECT of a series' counts by day, without its WHERE and GROUP BY."""
    groups = ", ".join(f"{expression} AS {name}" for expression, name in series.groups)
    counts = ", ".join(f"{expression} AS {name}" for expression, name in series.counts)
    day = f"date_trunc('day', {series.time}, 'UTC')"
    return f"SELECT {groups}, {day} AS day, {counts} FROM {series.table}"


def grouping(series: Series) -> str:
    """What its counts are grouped by."""
    by = [expression for expression, _ in series.groups]
    return ", ".join([*by, f"date_trunc('day', {series.time}, 'UTC')"])


def _grant(series: Series) -> str:
    return f"GRANT SELECT ON {series.view} TO t2p_app"
