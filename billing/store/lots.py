"""SQL of what the operator supplies to co-owners: sites, lots, holdings, meter readings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class SupplyRow:
    """A site whose delivery point the operator holds."""

    id: int
    client_id: int
    site_id: str
    from_on: date
    to_on: date | None
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True)
class HoldingRow:
    """A co-owner's lot, with what is left of his provision and what he owes."""

    id: int
    client_id: int
    lot_id: int
    site_id: str
    lot: str
    person_id: int
    name: str
    email: str | None
    signed_on: date
    provision_cents: int  # as agreed, VAT included
    from_on: date
    to_on: date | None
    ended_for: str | None
    withheld_for: str | None
    left_cents: int  # of what he paid in advance
    open_cents: int  # of all documents; below 0: to be given back


@dataclass(frozen=True, slots=True)
class LotMonth:
    """A lot in a month, as the co-ownership reads it: one line. Amounts are of the bill; `holder`
    is empty for a manager whose driver he is not."""

    site_id: str
    lot: str
    points: list[str]
    holder: str
    energy_wh: int
    energy_excl_cents: int
    telemetering_excl_cents: int
    vat_cents: int
    amount_incl_cents: int


@dataclass(frozen=True, slots=True)
class ReadingRow:
    """What the supply's meter showed."""

    id: int
    client_id: int
    site_id: str
    at: datetime
    index_wh: int
    is_new_meter: bool  # the first of a meter that replaces the one before
    source: str
    created_at: datetime
    created_by: str
    withdrawn_at: datetime | None


@dataclass(frozen=True, slots=True)
class MeteredPeriod:
    """Between two readings that follow each other: what the meter and the points counted. A session
    counts whole, where it ended. Where the meter was replaced meanwhile: what both counted, the old
    one up to its last reading and the new one from its first."""

    site_id: str
    from_at: datetime
    to_at: datetime
    meter_wh: int
    points_wh: int
    sessions: int
    without_energy: int


async def insert_supply(connection: AsyncConnection, values: Mapping[str, Any]) -> int:
    """A site that is supplied from a day on; its id. Raises: ExclusionViolation where it is."""
    cursor = await connection.execute(
        """
        INSERT INTO supply (client_id, site_id, from_on, created_at, created_by)
        VALUES (%(client_id)s, %(site_id)s, %(from_on)s, %(now)s, %(actor)s) RETURNING id
        """,
        values,
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def end_supply(connection: AsyncConnection, supply_id: int, to_on: date) -> bool:
    """It is not supplied from that day on; False where it had an end, or is not there."""
    cursor = await connection.execute(
        "UPDATE supply SET to_on = %s WHERE id = %s AND to_on IS NULL AND from_on <= %s",
        (to_on, supply_id, to_on),
    )
    return cursor.rowcount > 0


async def list_supplies(
    connection: AsyncConnection,
    client_id: int | None = None,
    *,
    client_ids: Sequence[int] | None = None,
    supply_id: int | None = None,
    limit: int | None = None,
    cursor: Cursor | None = None,
) -> list[SupplyRow]:
    """Sites that are or were supplied, in the order in which that was entered; client_ids: of these
    clients at most."""
    async with connection.cursor(row_factory=class_row(SupplyRow)) as rows:
        await rows.execute(
            """
            SELECT id, client_id, site_id, from_on, to_on, created_at, created_by FROM supply
             WHERE (%(client_id)s::bigint IS NULL OR client_id = %(client_id)s)
               AND (%(client_ids)s::bigint[] IS NULL OR client_id = ANY (%(client_ids)s))
               AND (%(supply_id)s::bigint IS NULL OR id = %(supply_id)s)
               AND (%(after)s::bigint IS NULL OR id > %(after)s)
             ORDER BY id LIMIT %(limit)s
            """,
            {
                "client_id": client_id,
                "client_ids": None if client_ids is None else list(client_ids),
                "supply_id": supply_id,
                "after": None if cursor is None else cursor.key[0],
                "limit": limit,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_supplies(
    connection: AsyncConnection,
    client_id: int | None = None,
    *,
    client_ids: Sequence[int] | None = None,
) -> int:
    """How many `list_supplies` has in all."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM supply
         WHERE (%(client_id)s::bigint IS NULL OR client_id = %(client_id)s)
           AND (%(client_ids)s::bigint[] IS NULL OR client_id = ANY (%(client_ids)s))
        """,
        {
            "client_id": client_id,
            "client_ids": None if client_ids is None else list(client_ids),
        },
    )


async def count_lots(connection: AsyncConnection, site_id: str) -> int:
    """How many lots a site has."""
    return await fetch_count(
        connection,
        "SELECT count(*) FROM lot WHERE site_id = %(site_id)s",
        {"site_id": site_id},
    )


async def is_invoiced_since(connection: AsyncConnection, site_id: str, day: date) -> bool:
    """Whether a session at a site has a price under the client's mandate, from a day on."""
    cursor = await connection.execute(
        "SELECT EXISTS (SELECT FROM priced_session WHERE site_id = %s AND supplied_on >= %s)",
        (site_id, day),
    )
    row = await cursor.fetchone()
    assert row is not None
    return bool(row[0])


async def fetch_last_billed(connection: AsyncConnection, site_id: str) -> date | None:
    """The last day of a site, in Paris, of which something is billed."""
    cursor = await connection.execute(
        """
        SELECT max((s.ended_at AT TIME ZONE 'Europe/Paris')::date)
          FROM supply_session b JOIN session s ON s.id = b.session_id WHERE s.site_id = %s
        """,
        (site_id,),
    )
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def fetch_last_billed_at(
    connection: AsyncConnection, station_key: int, evse_id: int
) -> date | None:
    """The last day of a point, in Paris, of which something is billed."""
    cursor = await connection.execute(
        """
        SELECT max((s.ended_at AT TIME ZONE 'Europe/Paris')::date)
          FROM supply_session b JOIN session s ON s.id = b.session_id
         WHERE s.station_key = %s AND s.evse_id = %s
        """,
        (station_key, evse_id),
    )
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def fetch_last_used(connection: AsyncConnection, holding_id: int) -> date | None:
    """The last day, in Paris, of which something was billed to a holding."""
    cursor = await connection.execute(
        """
        SELECT max((s.ended_at AT TIME ZONE 'Europe/Paris')::date)
          FROM supply_session b JOIN session s ON s.id = b.session_id
          JOIN supply_document d ON d.invoice_id = b.invoice_id WHERE d.holding_id = %s
        """,
        (holding_id,),
    )
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def put_lot(
    connection: AsyncConnection, client_id: int, site_id: str, reference: str, now: datetime
) -> int:
    """The lot of that name at a site, made where it is new; its id."""
    await connection.execute(
        """
        INSERT INTO lot (client_id, site_id, reference, created_at) VALUES (%s, %s, %s, %s)
        ON CONFLICT (site_id, reference) DO NOTHING
        """,
        (client_id, site_id, reference, now),
    )
    cursor = await connection.execute(
        "SELECT id FROM lot WHERE site_id = %s AND reference = %s", (site_id, reference)
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def find_point(
    connection: AsyncConnection, client_id: int, site_id: str, station_id: str, evse_id: int
) -> int | None:
    """The station's key where it stands at that site and has such a point."""
    cursor = await connection.execute(
        """
        SELECT s.station_key FROM station s JOIN evse e USING (station_key)
         WHERE s.client_id = %s AND s.site_id = %s AND s.id = %s AND e.evse_id = %s
        """,
        (client_id, site_id, station_id, evse_id),
    )
    row = await cursor.fetchone()
    return None if row is None else int(row[0])


async def fetch_lot_of_point(
    connection: AsyncConnection, station_key: int, evse_id: int, day: date
) -> tuple[int, int, date] | None:
    """The assignment of a point on a day: its id, the lot, since when."""
    cursor = await connection.execute(
        """
        SELECT id, lot_id, from_on FROM lot_point
         WHERE station_key = %s AND evse_id = %s AND from_on <= %s
           AND (to_on IS NULL OR %s < to_on)
        """,
        (station_key, evse_id, day, day),
    )
    return await cursor.fetchone()


async def end_point(connection: AsyncConnection, assignment_id: int, to_on: date) -> None:
    """The point is the lot's no more from that day on."""
    await connection.execute(
        "UPDATE lot_point SET to_on = %s WHERE id = %s", (to_on, assignment_id)
    )


async def insert_point(
    connection: AsyncConnection,
    lot_id: int,
    client_id: int,
    point: tuple[int, int],
    from_on: date,
) -> None:
    """A point (station key, EVSE) is a lot's from a day on. Raises: ExclusionViolation."""
    await connection.execute(
        """
        INSERT INTO lot_point (lot_id, client_id, station_key, evse_id, from_on)
        VALUES (%s, %s, %s, %s, %s)
        """,
        (lot_id, client_id, *point, from_on),
    )


async def insert_holding(connection: AsyncConnection, values: Mapping[str, Any]) -> int:
    """A co-owner has a lot from a day on; the holding's id. Raises: ExclusionViolation."""
    cursor = await connection.execute(
        """
        INSERT INTO lot_holding (client_id, lot_id, person_id, signed_on, provision_cents, from_on,
                                 created_at, created_by)
        VALUES (%(client_id)s, %(lot_id)s, %(person_id)s, %(signed_on)s, %(provision_cents)s,
                %(from_on)s, %(now)s, %(actor)s)
        RETURNING id
        """,
        values,
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def end_holding(
    connection: AsyncConnection, holding_id: int, to_on: date, why: str, withheld_for: str | None
) -> None:
    """The lot is his no more from that day on."""
    await connection.execute(
        "UPDATE lot_holding SET to_on = %s, ended_for = %s, withheld_for = %s WHERE id = %s",
        (to_on, why, withheld_for, holding_id),
    )


async def release_holding(connection: AsyncConnection, holding_id: int) -> bool:
    """What is left of the provision is not withheld any more; False: it was not."""
    cursor = await connection.execute(
        "UPDATE lot_holding SET withheld_for = NULL WHERE id = %s AND withheld_for IS NOT NULL",
        (holding_id,),
    )
    return cursor.rowcount > 0


async def list_holdings(
    connection: AsyncConnection,
    *,
    client_id: int | None = None,
    person_id: int | None = None,
    lot_id: int | None = None,
    holding_id: int | None = None,
    limit: int | None = None,
    cursor: Cursor | None = None,
) -> list[HoldingRow]:
    """Holdings, in the order in which they were entered."""
    async with connection.cursor(row_factory=class_row(HoldingRow)) as rows:
        await rows.execute(
            """
            SELECT h.id, h.client_id, h.lot_id, l.site_id, l.reference AS lot, h.person_id,
                   trim(p.given_name || ' ' || p.family_name) AS name, p.email, h.signed_on,
                   h.provision_cents, h.from_on, h.to_on, h.ended_for, h.withheld_for,
                   (SELECT coalesce(sum(v.amount_cents), 0)::bigint FROM supply_provision v
                     WHERE v.holding_id = h.id) AS left_cents,
                   (SELECT coalesce(sum(o.open_cents), 0)::bigint
                      FROM supply_document d JOIN supply_invoice_open o USING (invoice_id)
                     WHERE d.holding_id = h.id) AS open_cents
              FROM lot_holding h
              JOIN lot l ON l.id = h.lot_id JOIN person p ON p.id = h.person_id
             WHERE (%(client_id)s::bigint IS NULL OR h.client_id = %(client_id)s)
               AND (%(person_id)s::bigint IS NULL OR h.person_id = %(person_id)s)
               AND (%(lot_id)s::bigint IS NULL OR h.lot_id = %(lot_id)s)
               AND (%(holding_id)s::bigint IS NULL OR h.id = %(holding_id)s)
               AND (%(after)s::bigint IS NULL OR h.id > %(after)s)
             ORDER BY h.id LIMIT %(limit)s
            """,
            {
                "client_id": client_id,
                "person_id": person_id,
                "lot_id": lot_id,
                "holding_id": holding_id,
                "after": None if cursor is None else cursor.key[0],
                "limit": limit,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_holdings(
    connection: AsyncConnection,
    *,
    client_id: int | None = None,
    person_id: int | None = None,
    lot_id: int | None = None,
) -> int:
    """How many `list_holdings` has in all."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM lot_holding
         WHERE (%(client_id)s::bigint IS NULL OR client_id = %(client_id)s)
           AND (%(person_id)s::bigint IS NULL OR person_id = %(person_id)s)
           AND (%(lot_id)s::bigint IS NULL OR lot_id = %(lot_id)s)
        """,
        {"client_id": client_id, "person_id": person_id, "lot_id": lot_id},
    )


async def list_lot_months(
    connection: AsyncConnection,
    client_id: int,
    month: date,
    *,
    client_ids: Sequence[int] | None = None,
) -> list[LotMonth]:
    """What was billed of a client's lots for a month: a line for each lot and holder. client_ids:
    nothing of others."""
    async with connection.cursor(row_factory=class_row(LotMonth)) as rows:
        await rows.execute(
            """
            SELECT l.site_id, l.reference AS lot,
                   ARRAY(SELECT t.id || '/' || q.evse_id
                           FROM lot_point q JOIN station t USING (station_key)
                          WHERE q.lot_id = l.id AND q.from_on < d.month + interval '1 month'
                            AND (q.to_on IS NULL OR q.to_on > d.month)
                          ORDER BY t.id, q.evse_id) AS points,
                   coalesce(trim(p.given_name || ' ' || p.family_name), '') AS holder,
                   d.energy_wh,
                   d.energy_excl_cents, d.telemetering_excl_cents,
                   d.amount_incl_cents - d.energy_excl_cents - d.telemetering_excl_cents
                   AS vat_cents, d.amount_incl_cents
              FROM supply_document d
              JOIN lot_holding h ON h.id = d.holding_id JOIN lot l ON l.id = h.lot_id
              LEFT JOIN person p ON p.id = h.person_id
             WHERE d.client_id = %(client_id)s AND d.month = %(month)s AND d.kind = 'bill'
               AND (%(client_ids)s::bigint[] IS NULL OR d.client_id = ANY (%(client_ids)s))
             ORDER BY l.site_id, l.reference, h.from_on
            """,
            {
                "client_id": client_id,
                "month": month,
                "client_ids": None if client_ids is None else list(client_ids),
            },
            prepare=False,
        )
        return await rows.fetchall()


async def insert_reading(connection: AsyncConnection, values: Mapping[str, Any]) -> int | None:
    """What the meter of a site showed; its id. None: there is one of that moment."""
    cursor = await connection.execute(
        """
        INSERT INTO supply_reading (client_id, site_id, at, index_wh, is_new_meter, source,
                                    created_at, created_by)
        VALUES (%(client_id)s, %(site_id)s, %(at)s, %(index_wh)s, %(is_new_meter)s, %(source)s,
                %(now)s, %(actor)s)
        ON CONFLICT DO NOTHING RETURNING id
        """,
        values,
    )
    row = await cursor.fetchone()
    return None if row is None else int(row[0])


async def get_index(
    connection: AsyncConnection, site_id: str, at: datetime
) -> tuple[int, bool] | None:
    """What was read at a moment, and whether as the first of a new meter; None: nothing was."""
    cursor = await connection.execute(
        """
        SELECT index_wh, is_new_meter FROM supply_reading
         WHERE site_id = %s AND at = %s AND withdrawn_at IS NULL
        """,
        (site_id, at),
    )
    return await cursor.fetchone()


async def find_backward(connection: AsyncConnection, site_id: str) -> tuple[int, int] | None:
    """The first two readings that follow each other of one meter of a site, of which the later has
    less; None: there are none."""
    cursor = await connection.execute(
        """
        SELECT former_wh, index_wh
          FROM (SELECT at, index_wh, is_new_meter, lag(index_wh) OVER (ORDER BY at) AS former_wh
                  FROM supply_reading WHERE site_id = %s AND withdrawn_at IS NULL) r
         WHERE NOT is_new_meter AND index_wh < former_wh
         ORDER BY at LIMIT 1
        """,
        (site_id,),
    )
    return await cursor.fetchone()


async def withdraw_reading(
    connection: AsyncConnection, reading_id: int, by: str, now: datetime
) -> tuple[int, str] | None:
    """A reading was wrong; its client and site. None: there is none, or it was withdrawn."""
    cursor = await connection.execute(
        """
        UPDATE supply_reading SET withdrawn_at = %s, withdrawn_by = %s
         WHERE id = %s AND withdrawn_at IS NULL RETURNING client_id, site_id
        """,
        (now, by, reading_id),
    )
    return await cursor.fetchone()


async def list_readings(
    connection: AsyncConnection, client_id: int | None, *, limit: int, cursor: Cursor | None
) -> list[ReadingRow]:
    """Readings of a client's supplies, or of all (None), the last entered first."""
    async with connection.cursor(row_factory=class_row(ReadingRow)) as rows:
        await rows.execute(
            """
            SELECT id, client_id, site_id, at, index_wh, is_new_meter, source, created_at,
                   created_by, withdrawn_at
              FROM supply_reading
             WHERE (%(client_id)s::bigint IS NULL OR client_id = %(client_id)s)
               AND (%(after)s::bigint IS NULL OR id < %(after)s)
             ORDER BY id DESC LIMIT %(limit)s
            """,
            {
                "client_id": client_id,
                "after": None if cursor is None else cursor.key[0],
                "limit": limit,
            },
        )
        return await rows.fetchall()


async def count_readings(connection: AsyncConnection, client_id: int | None) -> int:
    """How many `list_readings` has in all."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM supply_reading
         WHERE %(client_id)s::bigint IS NULL OR client_id = %(client_id)s
        """,
        {"client_id": client_id},
    )


async def list_metered(
    connection: AsyncConnection, client_id: int, from_at: datetime, to_at: datetime
) -> list[MeteredPeriod]:
    """Periods between readings of a client's supplies that end in (from_at, to_at], in order. The
    first reading of a new meter ends none: the period goes on to the next one."""
    async with connection.cursor(row_factory=class_row(MeteredPeriod)) as rows:
        await rows.execute(
            """
            WITH step AS (
                SELECT site_id, at, is_new_meter,
                       CASE WHEN is_new_meter THEN 0 ELSE index_wh - lag(index_wh) OVER w END AS wh,
                       count(*) FILTER (WHERE NOT is_new_meter) OVER w AS place
                  FROM supply_reading
                 WHERE client_id = %(client_id)s AND withdrawn_at IS NULL
                WINDOW w AS (PARTITION BY site_id ORDER BY at)),
            summed AS (  -- the first ones of new meters go with the reading after them
                SELECT site_id, max(at) FILTER (WHERE NOT is_new_meter) AS to_at,
                       sum(wh)::bigint AS meter_wh, min(at) AS first_at
                  FROM (SELECT step.*, place + is_new_meter::int AS period FROM step) s
                 GROUP BY site_id, period),
            read AS (
                SELECT site_id, to_at, meter_wh,
                       coalesce(lag(to_at) OVER (PARTITION BY site_id ORDER BY first_at),
                                nullif(first_at, to_at)) AS from_at
                  FROM summed)
            SELECT r.site_id, r.from_at, r.to_at, r.meter_wh, c.points_wh, c.sessions,
                   c.without_energy
              FROM read r
             CROSS JOIN LATERAL (
                   SELECT coalesce(sum(s.energy_wh), 0)::bigint AS points_wh,
                          count(*) AS sessions,
                          count(*) FILTER (WHERE s.energy_wh IS NULL) AS without_energy
                     FROM session s
                    WHERE s.client_id = %(client_id)s AND s.site_id = r.site_id
                      AND s.state <> 'active' AND s.ended_at > r.from_at
                      AND s.ended_at <= r.to_at) c
             WHERE r.from_at IS NOT NULL AND r.to_at > %(from_at)s AND r.to_at <= %(to_at)s
             ORDER BY r.to_at, r.site_id
            """,
            {"client_id": client_id, "from_at": from_at, "to_at": to_at},
            prepare=False,
        )
        return await rows.fetchall()


async def count_unbilled(connection: AsyncConnection, month: date) -> int:
    """Holdings of a month (its first day) at supplied sites, of all clients, that have something to
    be billed and no bill of it."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM lot_holding h JOIN lot l ON l.id = h.lot_id
         WHERE h.from_on < %(month)s::date + interval '1 month'
           AND (h.to_on IS NULL OR h.to_on > %(month)s)
           AND EXISTS (SELECT FROM supply u
                        WHERE u.site_id = l.site_id
                          AND u.from_on < %(month)s::date + interval '1 month'
                          AND (u.to_on IS NULL OR u.to_on > %(month)s))
           AND NOT EXISTS (SELECT FROM supply_document d
                            WHERE d.holding_id = h.id AND d.month = %(month)s AND d.kind = 'bill')
           AND (EXISTS (SELECT FROM contract_terms t
                         WHERE t.client_id = h.client_id AND t.monthly_telemetering_cents > 0
                           AND t.from_on < %(month)s::date + interval '1 month'
                           AND (t.to_on IS NULL OR t.to_on > %(month)s))
                OR EXISTS (SELECT FROM session s
                            WHERE s.client_id = h.client_id AND s.site_id = l.site_id
                              AND s.energy_wh > 0 AND s.state <> 'active'
                              AND s.ended_at >= %(month)s::timestamp AT TIME ZONE 'Europe/Paris'
                              AND s.ended_at < (%(month)s::date + interval '1 month')
                                               AT TIME ZONE 'Europe/Paris'
                              AND NOT EXISTS (SELECT FROM supply_session b
                                               WHERE b.session_id = s.id)))
        """,
        {"month": month},
    )
