"""SQL of what stations say of their configuration."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from csms.store.columns import json_rows
from csms.store.paging import Cursor, fetch_count

VALUE_LENGTH_MAX = 2_500


@dataclass(frozen=True, slots=True)
class Variable:
    """One value, as people see it; component '' is OCPP 1.6."""

    component: str
    component_instance: str
    evse_id: int
    connector_id: int
    variable: str
    variable_instance: str
    attribute: str
    value: str | None
    mutability: str | None
    reported_at: datetime

    @property
    def key(self) -> tuple[Any, ...]:
        """What the list is in the order of."""
        return (
            self.component,
            self.component_instance,
            self.evse_id,
            self.connector_id,
            self.variable,
            self.variable_instance,
            self.attribute,
        )


async def write_variables(
    connection: AsyncConnection, station_key: int, rows: Sequence[dict[str, Any]], now: datetime
) -> None:
    """Values that the station told: component, component_instance, evse_id, connector_id, variable,
    variable_instance, attribute, value, mutability (null: as it was)."""
    await connection.execute(
        """
        INSERT INTO station_variable AS v (
            station_key, component, component_instance, evse_id, connector_id, variable,
            variable_instance, attribute, value, mutability, reported_at)
        SELECT DISTINCT ON (r.component, r.component_instance, r.evse_id, r.connector_id,
                            r.variable, r.variable_instance, r.attribute)
               %(station_key)s, r.component, r.component_instance, r.evse_id, r.connector_id,
               r.variable, r.variable_instance, r.attribute, left(r.value, %(length)s),
               r.mutability, %(now)s
          FROM json_populate_recordset(NULL::station_variable, %(rows)s::json) r
        ON CONFLICT (station_key, component, component_instance, evse_id, connector_id, variable,
                     variable_instance, attribute)
           DO UPDATE SET value = excluded.value,
                         mutability = coalesce(excluded.mutability, v.mutability),
                         reported_at = excluded.reported_at
        """,
        {
            "station_key": station_key,
            "length": VALUE_LENGTH_MAX,
            "now": now,
            "rows": json_rows(rows),
        },
    )


async def fetch_values(
    connection: AsyncConnection, station_key: int, component: str, instance: str
) -> dict[str, str | None]:
    """The values of a component's variables of that instance, for the station as a whole."""
    cursor = await connection.execute(
        """
        SELECT variable, value FROM station_variable
         WHERE station_key = %s AND component = %s AND component_instance = ''
           AND variable_instance = %s AND evse_id = 0 AND attribute = 'Actual'
        """,
        (station_key, component, instance),
    )
    return dict(await cursor.fetchall())


async def list_variables(
    connection: AsyncConnection,
    station_id: str,
    *,
    component: str | None,
    variable: str | None,
    limit: int,
    cursor: Cursor | None,
) -> list[Variable]:
    """Up to `limit` values of a station, by component and variable."""
    after = cursor.key if cursor else (None,) * 7
    async with connection.cursor(row_factory=class_row(Variable)) as rows:
        await rows.execute(
            """
            SELECT v.component, v.component_instance, v.evse_id, v.connector_id, v.variable,
                   v.variable_instance, v.attribute, v.value, v.mutability, v.reported_at
              FROM station_variable v JOIN station s USING (station_key)
             WHERE s.id = %(station_id)s
               AND (%(component)s::text IS NULL OR lower(v.component) = lower(%(component)s))
               AND (%(variable)s::text IS NULL OR lower(v.variable) = lower(%(variable)s))
               AND (%(a0)s::text IS NULL OR
                    (v.component, v.component_instance, v.evse_id, v.connector_id, v.variable,
                     v.variable_instance, v.attribute)
                    > (%(a0)s, %(a1)s::text, %(a2)s::integer, %(a3)s::integer, %(a4)s::text,
                       %(a5)s::text, %(a6)s::text))
             ORDER BY v.component, v.component_instance, v.evse_id, v.connector_id, v.variable,
                      v.variable_instance, v.attribute
             LIMIT %(limit)s
            """,
            {
                "station_id": station_id,
                "component": component,
                "variable": variable,
                "limit": limit,
                **{f"a{number}": value for number, value in enumerate(after)},
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_variables(
    connection: AsyncConnection, station_id: str, *, component: str | None, variable: str | None
) -> int:
    """How many values those filters leave."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM station_variable v JOIN station s USING (station_key)
         WHERE s.id = %(station_id)s
           AND (%(component)s::text IS NULL OR lower(v.component) = lower(%(component)s))
           AND (%(variable)s::text IS NULL OR lower(v.variable) = lower(%(variable)s))
        """,
        {"station_id": station_id, "component": component, "variable": variable},
    )
