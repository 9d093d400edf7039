"""SQL of money received: receipts, what they pay, and what is left of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class ReceiptRow:
    """Money that came in, or went back (below 0), and how much of it is on invoices."""

    id: int
    source_key: str
    person_id: int
    invoice_id: int | None
    client_id: int | None
    invoice_number: str | None
    amount_cents: int
    allocated_cents: int  # the rest is the driver's, in advance
    received_on: date
    booked_on: date
    means: str
    reverses_id: int | None
    reverses_key: str | None
    is_reversed: bool
    is_simulated: bool
    body_sha256: bytes
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True)
class PayableRow:
    """An invoice that money can name: of a corrective or credit, the one that it corrects."""

    id: int
    client_id: int
    person_id: int
    number: str


@dataclass(frozen=True, slots=True)
class ShareRow:
    """Money of a receipt on a session of an invoice. `earliest_on`: both are there by then.
    `correction_id`: the document since which it is too much."""

    receipt_id: int
    person_id: int
    client_id: int
    invoice_id: int
    number: str
    session_id: int
    amount_cents: int
    earliest_on: date
    correction_id: int | None = None


async def find_receipt(connection: AsyncConnection, source_key: str) -> ReceiptRow | None:
    """The receipt of this key."""
    found = await list_receipts(
        connection, source_key=source_key, person_id=None, client_id=None, limit=1, cursor=None
    )
    return found[0] if found else None


async def list_receipts(
    connection: AsyncConnection,
    *,
    source_key: str | None,
    person_id: int | None,
    client_id: int | None,
    limit: int,
    cursor: Cursor | None,
) -> list[ReceiptRow]:
    """Receipts, the last entered first; `client_id`: those with money on its invoices."""
    async with connection.cursor(row_factory=class_row(ReceiptRow)) as rows:
        await rows.execute(
            """
            SELECT r.id, r.source_key, r.person_id, r.invoice_id, r.client_id,
                   i.number AS invoice_number, r.amount_cents,
                   (SELECT coalesce(sum(s.amount_cents), 0)::bigint FROM receipt_share s
                     WHERE s.receipt_id = r.id) AS allocated_cents,
                   r.received_on, r.booked_on, r.means, r.reverses_id,
                   o.source_key AS reverses_key,
                   EXISTS (SELECT FROM receipt x WHERE x.reverses_id = r.id) AS is_reversed,
                   r.is_simulated, r.body_sha256, r.created_at, r.created_by
              FROM receipt r
              LEFT JOIN invoice i ON i.id = r.invoice_id
              LEFT JOIN receipt o ON o.id = r.reverses_id
             WHERE (%(source_key)s::text IS NULL OR r.source_key = %(source_key)s)
               AND (%(person_id)s::bigint IS NULL OR r.person_id = %(person_id)s)
               AND (%(client_id)s::bigint IS NULL
                    OR r.id IN (SELECT receipt_id FROM receipt_share
                                 WHERE client_id = %(client_id)s))
               AND (%(after)s::bigint IS NULL OR r.id < %(after)s)
             ORDER BY r.id DESC LIMIT %(limit)s
            """,
            {
                "source_key": source_key,
                "person_id": person_id,
                "client_id": client_id,
                "limit": limit,
                "after": None if cursor is None else cursor.key[0],
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_receipts(
    connection: AsyncConnection,
    *,
    source_key: str | None,
    person_id: int | None,
    client_id: int | None,
) -> int:
    """How many there are."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM receipt r
         WHERE (%(source_key)s::text IS NULL OR r.source_key = %(source_key)s)
           AND (%(person_id)s::bigint IS NULL OR r.person_id = %(person_id)s)
           AND (%(client_id)s::bigint IS NULL
                OR r.id IN (SELECT receipt_id FROM receipt_share WHERE client_id = %(client_id)s))
        """,
        {"source_key": source_key, "person_id": person_id, "client_id": client_id},
    )


async def find_payable(connection: AsyncConnection, number: str) -> PayableRow | None:
    """The invoice in a client's name that money for this number is for."""
    async with connection.cursor(row_factory=class_row(PayableRow)) as rows:
        await rows.execute(
            """
            SELECT o.id, o.client_id, o.person_id, o.number
              FROM invoice i JOIN invoice o ON o.id = coalesce(i.original_id, i.id)
             WHERE i.number = %s AND o.issuer = 'client'
            """,
            (number,),
        )
        return await rows.fetchone()


async def find_driver(connection: AsyncConnection, who: int | str) -> int | None:
    """The number of a driver, by it or by her e-mail address."""
    cursor = await connection.execute(
        """
        SELECT d.person_id FROM driver d JOIN person p ON p.id = d.person_id
         WHERE p.id = %(id)s::bigint OR lower(p.email) = lower(%(email)s)
        """,
        {
            "id": who if isinstance(who, int) else None,
            "email": who if isinstance(who, str) else None,
        },
    )
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def lock_drivers(connection: AsyncConnection, person_ids: Sequence[int]) -> None:
    """Hold what drivers have paid in advance until the transaction ends; in the order of their
    numbers, so that two who want the same ones never wait for each other."""
    await connection.execute(
        """
        SELECT FROM driver WHERE person_id = ANY (%s) ORDER BY person_id FOR NO KEY UPDATE
        """,
        (list(person_ids),),
    )


async def take_chains(connection: AsyncConnection, chain_keys: Sequence[int]) -> list[int]:
    """Those of these chains that nobody else holds; held until the transaction ends. Waits for
    none: whoever has some already would wait out of their order."""
    cursor = await connection.execute(
        """
        SELECT chain_key FROM ledger_chain WHERE chain_key = ANY (%s)
         ORDER BY chain_key FOR UPDATE SKIP LOCKED
        """,
        (list(chain_keys),),
    )
    return [row[0] for row in await cursor.fetchall()]


async def list_in_arrears(connection: AsyncConnection) -> list[int]:
    """Drivers who have something in advance and owe something all the same."""
    cursor = await connection.execute(
        """
        SELECT a.person_id
          FROM ledger_account a JOIN ledger_posting p ON p.account_id = a.id
         WHERE starts_with(a.code, 'wallet:')
         GROUP BY a.person_id
        HAVING sum(p.amount_cents) < 0
           AND EXISTS (SELECT FROM invoice_open o
                        WHERE o.person_id = a.person_id AND o.open_cents > 0)
         ORDER BY a.person_id
        """
    )
    return [row[0] for row in await cursor.fetchall()]


async def fetch_clients_concerned(
    connection: AsyncConnection, person_ids: Sequence[int], receipt_id: int | None
) -> set[int]:
    """Clients whom drivers owe something, who have more of theirs than they cost, or who have some
    of a receipt."""
    cursor = await connection.execute(
        """
        SELECT client_id FROM invoice_open WHERE person_id = ANY (%s) AND open_cents <> 0
        UNION SELECT client_id FROM receipt_share WHERE receipt_id = %s
        """,
        (list(person_ids), receipt_id),
    )
    return {row[0] for row in await cursor.fetchall()}


async def find_in_credit(connection: AsyncConnection, person_ids: Sequence[int]) -> list[int]:
    """Those of these drivers who have something in advance, or paid something that costs less
    now."""
    cursor = await connection.execute(
        """
        SELECT r.person_id
          FROM receipt r LEFT JOIN (SELECT s.receipt_id, sum(s.amount_cents) AS cents
                                      FROM receipt_share s JOIN receipt o ON o.id = s.receipt_id
                                     WHERE o.person_id = ANY (%(persons)s)
                                     GROUP BY s.receipt_id) s ON s.receipt_id = r.id
         WHERE r.person_id = ANY (%(persons)s)
         GROUP BY r.person_id HAVING sum(r.amount_cents - coalesce(s.cents, 0)) > 0
        UNION
        SELECT o.person_id FROM invoice c JOIN invoice o ON o.id = c.original_id
         WHERE o.person_id = ANY (%(persons)s) AND o.issuer = 'client'
        ORDER BY 1
        """,
        {"persons": list(person_ids)},
    )
    return [row[0] for row in await cursor.fetchall()]


async def insert_receipt(connection: AsyncConnection, values: dict[str, Any]) -> int:
    """A new receipt; its id. Raises: psycopg.errors.UniqueViolation for a key that is there."""
    cursor = await connection.execute(
        """
        INSERT INTO receipt (source_key, person_id, invoice_id, client_id, amount_cents,
                             received_on, booked_on, means, reverses_id, is_simulated, body_sha256,
                             created_at, created_by)
        VALUES (%(source_key)s, %(person_id)s, %(invoice_id)s, %(client_id)s, %(amount_cents)s,
                %(received_on)s, %(booked_on)s, %(means)s, %(reverses_id)s, %(is_simulated)s,
                %(body_sha256)s, %(created_at)s, %(created_by)s)
        RETURNING id
        """,
        values,
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def plan_payments(
    connection: AsyncConnection,
    person_ids: Sequence[int],
    client_ids: Sequence[int],
    first_invoice_id: int | None,
) -> list[ShareRow]:
    """What of the drivers' money would pay which session of these clients: the oldest money first,
    on one invoice before all others where it is named, then on the oldest, each line after the
    other."""
    async with connection.cursor(row_factory=class_row(ShareRow)) as rows:
        await rows.execute(
            """
            WITH money AS MATERIALIZED (
                SELECT r.id AS receipt_id, r.person_id, r.booked_on,
                       sum(l.cents) OVER w - l.cents AS from_cents, sum(l.cents) OVER w AS to_cents
                  FROM receipt r
                 CROSS JOIN LATERAL (
                       SELECT r.amount_cents - coalesce(sum(s.amount_cents), 0) AS cents
                         FROM receipt_share s WHERE s.receipt_id = r.id) l
                 WHERE r.person_id = ANY (%(persons)s) AND r.reverses_id IS NULL AND l.cents > 0
                   AND NOT EXISTS (SELECT FROM receipt x WHERE x.reverses_id = r.id)
                WINDOW w AS (PARTITION BY r.person_id ORDER BY r.received_on, r.id)),
            owing AS MATERIALIZED (
                SELECT * FROM invoice_open
                 WHERE person_id = ANY (%(persons)s) AND client_id = ANY (%(clients)s)
                   AND open_cents > 0),
            debt AS (
                SELECT o.person_id, o.client_id, o.invoice_id, o.number, o.issued_on, s.session_id,
                       sum(s.open_cents) OVER w - s.open_cents AS from_cents,
                       sum(s.open_cents) OVER w AS to_cents
                  FROM owing o JOIN invoice_session_open s ON s.invoice_id = o.invoice_id
                 WHERE s.open_cents > 0
                WINDOW w AS (PARTITION BY o.person_id
                             ORDER BY o.invoice_id IS DISTINCT FROM %(first)s::bigint, o.issued_on,
                                      o.invoice_id, s.position, s.session_id))
            SELECT m.receipt_id, m.person_id, d.client_id, d.invoice_id, d.number, d.session_id,
                   (least(m.to_cents, d.to_cents) - greatest(m.from_cents, d.from_cents))::bigint
                   AS amount_cents, greatest(m.booked_on, d.issued_on) AS earliest_on
              FROM money m JOIN debt d ON d.person_id = m.person_id
                   AND m.from_cents < d.to_cents AND d.from_cents < m.to_cents
             ORDER BY m.person_id, greatest(m.from_cents, d.from_cents)
            """,
            {
                "persons": list(person_ids),
                "clients": list(client_ids),
                "first": first_invoice_id,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def fetch_excess(
    connection: AsyncConnection, person_ids: Sequence[int], client_ids: Sequence[int]
) -> list[ShareRow]:
    """What drivers paid these clients for sessions beyond what they cost since they were corrected:
    amounts below 0, of the latest money first."""
    async with connection.cursor(row_factory=class_row(ShareRow)) as rows:
        await rows.execute(
            """
            WITH corrected AS MATERIALIZED (
                SELECT DISTINCT o.id FROM invoice o JOIN invoice c ON c.original_id = o.id
                 WHERE o.person_id = ANY (%(persons)s) AND o.client_id = ANY (%(clients)s)
                   AND o.issuer = 'client'),
            beyond AS MATERIALIZED (
                SELECT s.invoice_id, s.session_id, -s.open_cents AS cents
                  FROM corrected o JOIN invoice_session_open s ON s.invoice_id = o.id
                 WHERE s.open_cents < 0),
            paid AS (
                SELECT b.*, h.receipt_id, sum(h.amount_cents) AS of_receipt_cents,
                       max(h.booked_on) AS booked_on,
                       sum(sum(h.amount_cents)) OVER w - sum(h.amount_cents) AS later_cents
                  FROM beyond b JOIN receipt_share h USING (invoice_id, session_id)
                 GROUP BY b.invoice_id, b.session_id, b.cents, h.receipt_id
                HAVING sum(h.amount_cents) > 0
                WINDOW w AS (PARTITION BY b.invoice_id, b.session_id ORDER BY h.receipt_id DESC))
            SELECT p.receipt_id, r.person_id, i.client_id, p.invoice_id, i.number, p.session_id,
                   (-least(p.of_receipt_cents, p.cents - p.later_cents))::bigint AS amount_cents,
                   greatest(p.booked_on, (SELECT max(c.issued_on) FROM invoice c
                                           WHERE c.original_id = i.id)) AS earliest_on,
                   (SELECT max(c.id) FROM invoice c JOIN invoice_line l ON l.invoice_id = c.id
                     WHERE c.original_id = i.id AND l.session_id = p.session_id) AS correction_id
              FROM paid p JOIN receipt r ON r.id = p.receipt_id
              JOIN invoice i ON i.id = p.invoice_id
             WHERE p.cents > p.later_cents
             ORDER BY p.invoice_id, p.session_id, p.receipt_id DESC
            """,
            {"persons": list(person_ids), "clients": list(client_ids)},
            prepare=False,
        )
        return await rows.fetchall()


async def fetch_shares(connection: AsyncConnection, receipt_id: int) -> list[ShareRow]:
    """What of a receipt is on which session now."""
    async with connection.cursor(row_factory=class_row(ShareRow)) as rows:
        await rows.execute(
            """
            SELECT s.receipt_id, r.person_id, s.client_id, s.invoice_id, i.number, s.session_id,
                   sum(s.amount_cents)::bigint AS amount_cents, max(s.booked_on) AS earliest_on
              FROM receipt_share s JOIN receipt r ON r.id = s.receipt_id
              JOIN invoice i ON i.id = s.invoice_id
             WHERE s.receipt_id = %s
             GROUP BY s.receipt_id, r.person_id, s.client_id, s.invoice_id, i.number, s.session_id
            HAVING sum(s.amount_cents) <> 0
             ORDER BY s.invoice_id, s.session_id
            """,
            (receipt_id,),
        )
        return await rows.fetchall()


async def insert_shares(
    connection: AsyncConnection,
    rows: Sequence[tuple[int, int, int, int, int, date, int | None]],
    now: datetime,
) -> list[int]:
    """New shares; their ids in the order given. Rows are receipt_id, client_id, invoice_id,
    session_id, amount_cents, booked_on, correction_id."""
    cursor = await connection.execute(
        """
        INSERT INTO receipt_share (receipt_id, client_id, invoice_id, session_id, amount_cents,
                                   booked_on, correction_id, created_at)
        SELECT n.receipt_id, n.client_id, n.invoice_id, n.session_id, n.amount_cents,
               n.booked_on, n.correction_id, %s
          FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
                      %s::date[], %s::bigint[])
               WITH ORDINALITY AS n (receipt_id, client_id, invoice_id, session_id, amount_cents,
                                     booked_on, correction_id, position)
         ORDER BY n.position
        RETURNING id
        """,
        (now, *(list(column) for column in zip(*rows, strict=True))),
    )
    return sorted(row[0] for row in await cursor.fetchall())
