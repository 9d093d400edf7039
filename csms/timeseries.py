"""How readings, statuses and messages are kept: native months, or TimescaleDB where it is there.

The migrator asks: is the extension available, new enough, loaded, under its community licence
(compression and continuous aggregates are not in the Apache edition), and may the owner have it?
Then the three tables become hypertables with compression, and their daily counts continuous
aggregates, once and for good. Otherwise they stay what 0001 made them, and the counts are tables
that the worker keeps (csms.store.rollups).

The same SQL runs above both: the tables have the same names and columns, and the views
`message_day`, `status_day` and `reading_day` give the same rows. Only documented functions of
TimescaleDB 2.13 or newer are used.
"""

import logging
import re
from typing import Final, NamedTuple

import psycopg
from psycopg import AsyncConnection

log = logging.getLogger(__name__)

NATIVE: Final = "native"
TIMESCALE: Final = "timescale"
JOURNAL: Final = "ocpp_message"
VERSION_MIN: Final = (2, 13)  # the first with by_range


class Series(NamedTuple):
    """One of the large tables and its daily counts."""

    table: str
    time: str  # the column that it is cut by
    chunk: str  # interval
    compress_after: str
    refresh_from: str  # how late a row may come to be counted; NULL: however late
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
        "NULL",
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
        "NULL",
        "status_rollup",
        "status_day",
        (("station_key", "station_key"), ("evse_id", "evse_id"), ("status", "status")),
        (("count(*)", "changes"),),
    ),
    Series(
        JOURNAL,
        "at",
        "1 day",
        "7 days",
        # A refresh forgets days whose rows were dropped, and these counts outlive the journal, of
        # which a month stays at least.
        "INTERVAL '27 days'",
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
    the owner, in autocommit, after the migrations and without the views."""
    if await kept_by(connection) == NATIVE:
        if not await is_usable(connection):
            return NATIVE
        async with connection.transaction():
            for statement in conversion():
                await connection.execute(statement.encode())
        log.info("readings, statuses and messages are kept by TimescaleDB from now on")
    cursor = await connection.execute("SELECT to_regclass('schema_rollup') IS NOT NULL")
    if await cursor.fetchone() == (True,):  # not yet done, or interrupted
        for statement in first_count():
            await connection.execute(statement.encode())
    return TIMESCALE


async def kept_by(connection: AsyncConnection) -> str:
    """How the tables are kept now: `NATIVE` or `TIMESCALE`; native before it was ever asked."""
    cursor = await connection.execute("SELECT to_regclass('schema_storage') IS NULL")
    if await cursor.fetchone() == (True,):
        return NATIVE
    cursor = await connection.execute("SELECT kind FROM schema_storage")
    row = await cursor.fetchone()
    return NATIVE if row is None else str(row[0])


async def is_usable(connection: AsyncConnection) -> bool:
    """Whether TimescaleDB can keep the tables here. Creates the extension where it may; what stands
    in the way of one that is there is told in the log."""
    obstacle = await _obstacle(connection)
    if obstacle:
        log.warning("TimescaleDB is there and not used: %s", obstacle)
    return obstacle is None


async def _obstacle(connection: AsyncConnection) -> str | None:
    """Why TimescaleDB cannot be used, as a sentence; '' where the server has none at all."""
    # Its settings are there when its library is loaded. shared_preload_libraries would say so too,
    # but not to everybody; to create the extension without it ends the connection.
    cursor = await connection.execute(
        """
        SELECT coalesce(installed_version, default_version), installed_version IS NOT NULL,
               EXISTS (SELECT FROM pg_settings WHERE name LIKE 'timescaledb.%')
          FROM pg_available_extensions WHERE name = 'timescaledb'
        """
    )
    row = await cursor.fetchone()
    if row is None:
        return ""
    version, installed, loaded = row
    if _numbers(version) < VERSION_MIN:
        return f"version {version} is older than {VERSION_MIN[0]}.{VERSION_MIN[1]}"
    if not loaded:
        return "it is not in the server's shared_preload_libraries"
    if not installed:
        try:
            async with connection.transaction():
                await connection.execute("CREATE EXTENSION timescaledb")
        except psycopg.errors.InsufficientPrivilege:
            return (
                "this role may not have it; let an administrator run CREATE EXTENSION timescaledb "
                "in this database, then migrate again"
            )
    cursor = await connection.execute(
        """
        SELECT current_setting('timescaledb.license', true) IS NOT DISTINCT FROM 'timescale',
               extnamespace = current_schema()::regnamespace
          FROM pg_extension WHERE extname = 'timescaledb'
        """
    )
    licensed, at_hand = await cursor.fetchone() or (False, False)
    if not licensed:
        return "its Apache edition has no compression and no continuous aggregates"
    if not at_hand:
        return "it was created in another schema than ours"
    return None


def _numbers(version: str) -> tuple[int, ...]:
    """Major and minor number of a version like 2.17.2 or 2.23.0-dev."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def conversion() -> list[str]:
    """The statements that make hypertables of the native tables, with what they hold. Views go with
    the native tables; the migrator builds them anew."""
    statements = []
    for series in SERIES:
        statements += _hypertable(series)
        statements += _continuous_aggregate(series)
    return [*statements, _ENSURE_MONTH, _DROP_JOURNAL, *_AFTERWARDS]


def first_count() -> list[str]:
    """The statements that count what the tables held at their conversion: the policies look back
    from now on, and one of them not far. No transaction can hold them."""
    return [
        *(
            f"CALL refresh_continuous_aggregate('{series.rollup}', NULL, "
            "date_trunc('day', now(), 'UTC'))"
            for series in SERIES
        ),
        "DROP TABLE schema_rollup",
    ]


def _hypertable(series: Series) -> list[str]:
    table, former = series.table, f"{series.table}_native"
    return [
        f"ALTER TABLE {table} RENAME TO {former}",
        f"CREATE TABLE {table} (LIKE {former} INCLUDING DEFAULTS INCLUDING CONSTRAINTS "
        "INCLUDING INDEXES)",
        # Chunks take it over, as ensure_month gives it to the journal's months.
        *([f"ALTER TABLE {table} SET (toast_tuple_target = 8160)"] if table == JOURNAL else []),
        f"SELECT create_hypertable('{table}', by_range('{series.time}', "
        f"INTERVAL '{series.chunk}'), create_default_indexes => false)",
        f"INSERT INTO {table} SELECT * FROM {former}",
        f"DROP TABLE {former} CASCADE",
        f"ALTER TABLE {table} SET (timescaledb.compress, "
        f"timescaledb.compress_segmentby = 'station_key', "
        f"timescaledb.compress_orderby = '{series.time} DESC')",
        f"SELECT add_compression_policy('{table}', INTERVAL '{series.compress_after}')",
        # Append-only, as in 0001: evidence is never rewritten, not even by our own code.
        f"GRANT SELECT, INSERT ON {table} TO t2p_service",
    ]


def _continuous_aggregate(series: Series) -> list[str]:
    groups = ", ".join(f"{expression} AS {name}" for expression, name in series.groups)
    counts = ", ".join(f"{expression} AS {name}" for expression, name in series.counts)
    by = ", ".join(expression for expression, _ in series.groups)
    return [
        f"DROP TABLE {series.rollup} CASCADE",
        # With what is not yet materialized, as the native view has it.
        f"CREATE MATERIALIZED VIEW {series.rollup} "
        "WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS "
        f"SELECT {groups}, time_bucket(INTERVAL '1 day', {series.time}) AS day, {counts} "
        f"FROM {series.table} GROUP BY {by}, time_bucket(INTERVAL '1 day', {series.time}) "
        "WITH NO DATA",
        f"SELECT add_continuous_aggregate_policy('{series.rollup}', "
        f"start_offset => {series.refresh_from}, end_offset => INTERVAL '1 day', "
        "schedule_interval => INTERVAL '15 minutes')",
        f"GRANT SELECT ON {series.rollup} TO t2p_service",
    ]


_ENSURE_MONTH: Final = """
CREATE OR REPLACE FUNCTION ensure_month(parent text, month date) RETURNS boolean
    LANGUAGE sql AS 'SELECT false'  -- chunks come by themselves
"""
_DROP_JOURNAL: Final = """
CREATE OR REPLACE FUNCTION drop_journal_before(moment timestamptz) RETURNS SETOF text
    LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '2s' AS
    $$ SELECT drop_chunks('ocpp_message', older_than => moment)::text $$
"""
_AFTERWARDS: Final = (
    "DELETE FROM schema_views",
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
    return f"GRANT SELECT ON {series.view} TO t2p_service"
