"""SQL of bills to co-owners: what is not billed, documents, provisions."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class UsedRow:
    """An ended session at a supplied site whose energy is not billed, or not as it is now."""

    id: int
    site_id: str
    station_id: str
    evse_id: int | None
    started_at: datetime
    ended_at: datetime
    ended_on: date  # in Paris
    energy_wh: int | None
    billed_wh: int
    billed_holding_id: int | None  # to whom, the last time
    billed_on: date | None  # the first time
    bill_id: int | None  # the last bill, no credit note, that has energy of it
    flags: list[str]
    lot_id: int | None  # of its point at that site, on that day
    person_id: int | None  # whose badge it was


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """A document to a co-owner, with what is left of it to be paid."""

    invoice_id: int
    number: str
    client_id: int
    holding_id: int
    person_id: int
    kind: str  # bill | advance | credit
    month: date
    issued_on: date
    due_on: date
    energy_wh: int
    energy_excl_cents: int
    telemetering_excl_cents: int
    amount_incl_cents: int
    open_cents: int  # below 0: to be given back; of a credit note 0
    lot: str
    site_id: str


async def fetch_unbilled(
    connection: AsyncConnection, client_id: int, from_at: datetime, to_at: datetime
) -> list[UsedRow]:
    """Sessions of a client's that ended in [from_at, to_at) at a site that was supplied on that day
    and are not billed as they are now, by end."""
    async with connection.cursor(row_factory=class_row(UsedRow)) as rows:
        await rows.execute(
            """
            SELECT s.id, s.site_id, t.id AS station_id, s.evse_id, s.started_at, s.ended_at,
                   (s.ended_at AT TIME ZONE 'Europe/Paris')::date AS ended_on, s.energy_wh,
                   b.billed_wh, b.billed_holding_id, b.billed_on, b.bill_id, s.flags,
                   q.lot_id, d.person_id
              FROM session s
              JOIN station t USING (station_key)
              JOIN supply u ON u.site_id = s.site_id AND u.client_id = s.client_id
                   AND u.from_on <= (s.ended_at AT TIME ZONE 'Europe/Paris')::date
                   AND (u.to_on IS NULL
                        OR (s.ended_at AT TIME ZONE 'Europe/Paris')::date < u.to_on)
             CROSS JOIN LATERAL (
                   SELECT coalesce(sum(x.energy_wh), 0)::bigint AS billed_wh,
                          (max(ARRAY[y.invoice_id, y.holding_id]))[2] AS billed_holding_id,
                          min(i.issued_on) AS billed_on,
                          max(i.id) FILTER (WHERE i.original_id IS NULL AND x.energy_wh > 0)
                          AS bill_id
                     FROM supply_session x JOIN supply_document y USING (invoice_id)
                     JOIN invoice i ON i.id = x.invoice_id
                    WHERE x.session_id = s.id) b
              LEFT JOIN (lot_point q JOIN lot l ON l.id = q.lot_id)
                   ON q.station_key = s.station_key AND q.evse_id = s.evse_id
                   AND l.site_id = s.site_id
                   AND q.from_on <= (s.ended_at AT TIME ZONE 'Europe/Paris')::date
                   AND (q.to_on IS NULL
                        OR (s.ended_at AT TIME ZONE 'Europe/Paris')::date < q.to_on)
              LEFT JOIN driver_badge d ON d.uid_key = lower(s.token_uid)
                   AND s.started_at >= d.from_at AND (d.to_at IS NULL OR s.started_at < d.to_at)
             WHERE s.client_id = %(client_id)s AND s.state <> 'active'
               AND s.ended_at >= %(from_at)s AND s.ended_at < %(to_at)s
               AND s.energy_wh IS DISTINCT FROM b.billed_wh
             ORDER BY s.ended_at, s.id
            """,
            {"client_id": client_id, "from_at": from_at, "to_at": to_at},
            prepare=False,
        )
        return await rows.fetchall()


async def fetch_billed(connection: AsyncConnection, client_id: int, month: date) -> set[int]:
    """Holdings of a client's that have a bill of a month."""
    cursor = await connection.execute(
        """
        SELECT holding_id FROM supply_document
         WHERE client_id = %s AND month = %s AND kind = 'bill'
        """,
        (client_id, month),
    )
    return {row[0] for row in await cursor.fetchall()}


async def fetch_fees(connection: AsyncConnection, client_id: int) -> list[tuple[int, date, int]]:
    """The telemetering on bills of a client's: holding, month, cents without VAT."""
    cursor = await connection.execute(
        """
        SELECT holding_id, month, telemetering_excl_cents FROM supply_document
         WHERE client_id = %s AND kind = 'bill'
        """,
        (client_id,),
    )
    return await cursor.fetchall()


async def fetch_paused(connection: AsyncConnection, holding_id: int) -> set[int]:
    """Documents of a holding that are contested, or being debited."""
    cursor = await connection.execute(
        """
        SELECT p.invoice_id FROM paused_invoice p JOIN supply_document d USING (invoice_id)
         WHERE d.holding_id = %s
        """,
        (holding_id,),
    )
    return {row[0] for row in await cursor.fetchall()}


async def insert_documents(
    connection: AsyncConnection, rows: list[tuple[Any, ...]], now: datetime
) -> None:
    """Documents: invoice_id, client_id, holding_id, person_id, kind, month, energy_wh,
    energy_excl_cents, telemetering_excl_cents, amount_incl_cents."""
    await connection.execute(
        """
        INSERT INTO supply_document (invoice_id, client_id, holding_id, person_id, kind, month,
                                     energy_wh, energy_excl_cents, telemetering_excl_cents,
                                     amount_incl_cents, created_at)
        SELECT n.*, %s FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
                                   %s::text[], %s::date[], %s::bigint[], %s::bigint[],
                                   %s::bigint[], %s::bigint[]) AS n
        """,
        (now, *(list(column) for column in zip(*rows, strict=True))),
    )


async def insert_sessions(
    connection: AsyncConnection, rows: list[tuple[int, int, int, int]]
) -> None:
    """What documents billed of sessions: session_id, invoice_id, client_id, energy_wh."""
    if not rows:
        return
    await connection.execute(
        """
        INSERT INTO supply_session (session_id, invoice_id, client_id, energy_wh)
        SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])
        """,
        tuple(list(column) for column in zip(*rows, strict=True)),
    )


async def list_documents(
    connection: AsyncConnection,
    *,
    client_id: int | None = None,
    person_id: int | None = None,
    holding_id: int | None = None,
    invoice_id: int | None = None,
    limit: int | None = None,
    cursor: Cursor | None = None,
) -> list[DocumentRow]:
    """Documents to co-owners, the oldest first."""
    async with connection.cursor(row_factory=class_row(DocumentRow)) as rows:
        await rows.execute(
            """
            SELECT d.invoice_id, i.number, d.client_id, d.holding_id, d.person_id, d.kind, d.month,
                   i.issued_on, i.due_on, d.energy_wh, d.energy_excl_cents,
                   d.telemetering_excl_cents, d.amount_incl_cents,
                   coalesce(o.open_cents, 0)::bigint AS open_cents, l.reference AS lot, l.site_id
              FROM supply_document d
              JOIN invoice i ON i.id = d.invoice_id
              JOIN lot_holding h ON h.id = d.holding_id JOIN lot l ON l.id = h.lot_id
              LEFT JOIN supply_invoice_open o ON o.invoice_id = d.invoice_id
             WHERE (%(client_id)s::bigint IS NULL OR d.client_id = %(client_id)s)
               AND (%(person_id)s::bigint IS NULL OR d.person_id = %(person_id)s)
               AND (%(holding_id)s::bigint IS NULL OR d.holding_id = %(holding_id)s)
               AND (%(invoice_id)s::bigint IS NULL OR d.invoice_id = %(invoice_id)s)
               AND (%(after)s::bigint IS NULL OR d.invoice_id > %(after)s)
             ORDER BY d.invoice_id LIMIT %(limit)s
            """,
            {
                "client_id": client_id,
                "person_id": person_id,
                "holding_id": holding_id,
                "invoice_id": invoice_id,
                "after": None if cursor is None else cursor.key[0],
                "limit": limit,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_documents(
    connection: AsyncConnection, *, client_id: int | None = None, person_id: int | None = None
) -> int:
    """How many `list_documents` has in all."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM supply_document
         WHERE (%(client_id)s::bigint IS NULL OR client_id = %(client_id)s)
           AND (%(person_id)s::bigint IS NULL OR person_id = %(person_id)s)
        """,
        {"client_id": client_id, "person_id": person_id},
    )


@dataclass(frozen=True, slots=True)
class ProvisionRow:
    """What happened to a provision."""

    id: int
    holding_id: int
    kind: str  # received | used | credited
    invoice_id: int
    amount_cents: int
    vat_cents: int


async def list_provisions(connection: AsyncConnection, holding_id: int) -> list[ProvisionRow]:
    """All that happened to the provision of a holding, in its order."""
    async with connection.cursor(row_factory=class_row(ProvisionRow)) as rows:
        await rows.execute(
            """
            SELECT id, holding_id, kind, invoice_id, amount_cents, vat_cents FROM supply_provision
             WHERE holding_id = %s ORDER BY id
            """,
            (holding_id,),
        )
        return await rows.fetchall()


async def insert_provision(connection: AsyncConnection, values: Mapping[str, Any]) -> int | None:
    """Something that happened to a provision; its id. None: its source key is there."""
    cursor = await connection.execute(
        """
        INSERT INTO supply_provision (client_id, holding_id, person_id, kind, invoice_id,
                                      amount_cents, vat_cents, source_key, created_at, created_by)
        VALUES (%(client_id)s, %(holding_id)s, %(person_id)s, %(kind)s, %(invoice_id)s,
                %(amount_cents)s, %(vat_cents)s, %(source_key)s, %(now)s, %(actor)s)
        ON CONFLICT (source_key) DO NOTHING RETURNING id
        """,
        values,
    )
    row = await cursor.fetchone()
    return None if row is None else int(row[0])


async def list_ended(
    connection: AsyncConnection, client_id: int, before: date
) -> list[tuple[int, int]]:
    """Holdings (id, person) of a client's that ended on a day or before, whose provision is not
    withheld, and of which an advance is not settled."""
    cursor = await connection.execute(
        """
        SELECT h.id, h.person_id FROM lot_holding h
         WHERE h.client_id = %s AND h.to_on <= %s AND h.withheld_for IS NULL
           AND EXISTS (SELECT FROM supply_document d
                        WHERE d.holding_id = h.id AND d.kind = 'advance')
         ORDER BY h.id
        """,
        (client_id, before),
    )
    return await cursor.fetchall()


@dataclass(frozen=True, slots=True)
class AdvanceRow:
    """A prepayment invoice: what of it was paid, and is asked for still."""

    invoice_id: int
    number: str
    received_cents: int  # less what came back
    unpaid_cents: int  # not paid, and not credited
    credited_cents: int  # of what was paid
    credits: int  # credit notes on it


async def list_advances(connection: AsyncConnection, holding_id: int) -> list[AdvanceRow]:
    """The prepayment invoices of a holding, the oldest first."""
    async with connection.cursor(row_factory=class_row(AdvanceRow)) as rows:
        await rows.execute(
            """
            SELECT d.invoice_id, i.number, r.cents AS received_cents,
                   d.amount_incl_cents - r.cents + c.cents + c.paid_cents AS unpaid_cents,
                   c.paid_cents AS credited_cents, c.credits
              FROM supply_document d JOIN invoice i ON i.id = d.invoice_id
             CROSS JOIN LATERAL (
                   SELECT coalesce(sum(amount_cents), 0)::bigint AS cents FROM supply_provision
                    WHERE invoice_id = d.invoice_id AND kind = 'received') r
             CROSS JOIN LATERAL (
                   SELECT coalesce(sum(n.amount_incl_cents), 0)::bigint AS cents,
                          coalesce(-sum(v.amount_cents), 0)::bigint AS paid_cents,
                          count(n.invoice_id) AS credits
                     FROM invoice x JOIN supply_document n ON n.invoice_id = x.id
                     LEFT JOIN supply_provision v ON v.invoice_id = x.id AND v.kind = 'credited'
                    WHERE x.original_id = d.invoice_id) c
             WHERE d.holding_id = %s AND d.kind = 'advance' ORDER BY d.invoice_id
            """,
            (holding_id,),
        )
        return await rows.fetchall()


@dataclass(frozen=True, slots=True)
class SupplyRefund:
    """A provision that is to be given back."""

    invoice_id: int
    number: str
    client_id: int
    person_id: int
    holding_id: int
    lot: str
    amount_cents: int
    since_on: date  # of the last credit note on it or payment of it, or its own


async def list_refunds(connection: AsyncConnection) -> list[SupplyRefund]:
    """What is to be given back to co-owners, by invoice."""
    async with connection.cursor(row_factory=class_row(SupplyRefund)) as rows:
        await rows.execute(
            """
            SELECT o.invoice_id, o.number, o.client_id, o.person_id, d.holding_id,
                   l.reference AS lot, -o.open_cents AS amount_cents,
                   greatest(o.issued_on,
                            (SELECT max(issued_on) FROM invoice WHERE original_id = o.invoice_id),
                            (SELECT max(received_on) FROM own_receipt
                              WHERE invoice_id = o.invoice_id AND amount_cents > 0)) AS since_on
              FROM supply_invoice_open o JOIN supply_document d USING (invoice_id)
              JOIN lot_holding h ON h.id = d.holding_id JOIN lot l ON l.id = h.lot_id
             WHERE o.open_cents < 0
             ORDER BY o.invoice_id
            """
        )
        return await rows.fetchall()
