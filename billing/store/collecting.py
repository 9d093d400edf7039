"""SQL of collections: mandates, and direct debits of invoices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from csms.store.paging import Cursor


@dataclass(frozen=True, slots=True)
class MandateRow:
    """A mandate: of a driver, or of a client."""

    id: int
    reference: str
    person_id: int | None
    client_id: int | None
    iban: str
    bic: str | None
    holder: str
    signed_on: date
    notice_days: int
    created_at: datetime
    created_by: str
    revoked_at: datetime | None
    revoked_for: str | None


@dataclass(frozen=True, slots=True)
class OpenRow:
    """An invoice that can be debited."""

    mandate_id: int
    notice_days: int
    reference: str
    invoice_id: int
    number: str
    client_id: int
    person_id: int | None  # None: the operator's invoice to the client
    is_own: bool  # the operator's: to the client, or to a co-owner
    due_on: date | None
    left_cents: int


@dataclass(frozen=True, slots=True)
class DebitRow:
    """A direct debit with its mandate and its invoice."""

    id: int
    mandate_id: int
    client_id: int
    person_id: int | None
    is_own: bool  # of the operator's invoice: into its own account
    invoice_id: int
    number: str
    amount_cents: int
    collection_on: date
    end_to_end_id: str
    status: str
    file_id: int | None
    reference: str
    signed_on: date
    iban: str
    bic: str | None
    holder: str
    revoked_at: datetime | None
    was_debited: bool  # the mandate has been used


_DEBIT = """
    SELECT d.id, d.mandate_id, d.client_id, d.person_id, i.issuer = 'operator' AS is_own,
           d.invoice_id, i.number, d.amount_cents,
           d.collection_on, d.end_to_end_id, d.status, d.file_id, m.reference, m.signed_on, m.iban,
           m.bic, m.holder, m.revoked_at,
           EXISTS (SELECT FROM direct_debit x WHERE x.mandate_id = m.id
                    AND x.status IN ('sent', 'collected', 'returned')) AS was_debited
      FROM direct_debit d
      JOIN sepa_mandate m ON m.id = d.mandate_id
      JOIN invoice i ON i.id = d.invoice_id
"""


async def insert_mandate(connection: AsyncConnection, values: Mapping[str, Any]) -> int:
    """A mandate; its id."""
    cursor = await connection.execute(
        """
        INSERT INTO sepa_mandate (reference, person_id, client_id, iban, bic, holder, signed_on,
                                  notice_days, created_at, created_by)
        VALUES (%(reference)s, %(person_id)s, %(client_id)s, %(iban)s, %(bic)s, %(holder)s,
                %(signed_on)s, %(notice_days)s, %(now)s, %(actor)s)
        RETURNING id
        """,
        values,
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def revoke_mandate(
    connection: AsyncConnection, mandate_id: int, why: str, by: str, now: datetime
) -> bool:
    """Nothing is debited by it any more; whether it was in force."""
    cursor = await connection.execute(
        """
        UPDATE sepa_mandate SET revoked_at = %s, revoked_by = %s, revoked_for = %s
         WHERE id = %s AND revoked_at IS NULL
        """,
        (now, by, why, mandate_id),
    )
    return cursor.rowcount > 0


async def is_payer(
    connection: AsyncConnection, *, person_id: int | None, client_id: int | None
) -> bool:
    """Whether there is such a driver, or such a client."""
    cursor = await connection.execute(
        """
        SELECT EXISTS (SELECT FROM driver WHERE person_id = %s)
            OR EXISTS (SELECT FROM client WHERE id = %s AND NOT is_operator)
        """,
        (person_id, client_id),
    )
    row = await cursor.fetchone()
    assert row is not None
    return bool(row[0])


async def has_mandate(connection: AsyncConnection, reference: str) -> bool:
    """Whether a mandate is called so, of whomever."""
    cursor = await connection.execute(
        "SELECT EXISTS (SELECT FROM sepa_mandate WHERE reference = %s)", (reference,)
    )
    row = await cursor.fetchone()
    assert row is not None
    return bool(row[0])


async def list_mandates(
    connection: AsyncConnection, *, person_id: int | None, client_id: int | None
) -> list[MandateRow]:
    """A payer's mandates, the newest first: their history."""
    async with connection.cursor(row_factory=class_row(MandateRow)) as rows:
        await rows.execute(
            """
            SELECT id, reference, person_id, client_id, iban, bic, holder, signed_on, notice_days,
                   created_at, created_by, revoked_at, revoked_for
              FROM sepa_mandate
             WHERE person_id IS NOT DISTINCT FROM %s AND client_id IS NOT DISTINCT FROM %s
             ORDER BY id DESC
            """,
            (person_id, client_id),
        )
        return await rows.fetchall()


async def list_open(connection: AsyncConnection) -> list[OpenRow]:
    """Invoices of payers under a mandate that have something left to be paid, are not contested,
    are not being debited or charged by a provider, and never came back from a debit; the oldest
    first. Of the operator's own invoices those that no statement deducts."""
    async with connection.cursor(row_factory=class_row(OpenRow)) as rows:
        await rows.execute(
            """
            SELECT m.id AS mandate_id, m.notice_days, m.reference, i.invoice_id, i.number,
                   i.client_id, i.person_id, i.is_own, i.due_on, i.open_cents AS left_cents
              FROM sepa_mandate m
              JOIN payable_invoice i ON i.person_id = m.person_id
                   OR (i.person_id IS NULL AND i.client_id = m.client_id)
             WHERE m.revoked_at IS NULL AND i.open_cents > 0
               AND NOT EXISTS (SELECT FROM direct_debit d
                                WHERE d.invoice_id = i.invoice_id
                                  AND d.status IN ('notified', 'sent', 'collected', 'returned'))
               AND NOT EXISTS (SELECT FROM provider_payment p
                                WHERE p.invoice_id = i.invoice_id
                                  AND p.status IN ('requested', 'authorised', 'unknown'))
               AND NOT EXISTS (SELECT FROM dispute d
                                WHERE d.invoice_id = i.invoice_id AND d.decided_at IS NULL)
               AND NOT EXISTS (SELECT FROM invoice_line l JOIN own_sale s ON s.id = l.own_sale_id
                                WHERE l.invoice_id = i.invoice_id
                                  AND s.kind IN ('commission', 'management_fee'))
             ORDER BY i.invoice_id
            """,
            prepare=False,
        )
        return await rows.fetchall()


async def insert_debit(
    connection: AsyncConnection, row: OpenRow, collection_on: date, now: datetime
) -> int | None:
    """A direct debit that its payer is told of; its id. None: the invoice is being debited."""
    cursor = await connection.execute(
        """
        WITH number AS (SELECT count(*) + 1 AS attempt FROM direct_debit
                         WHERE invoice_id = %(invoice_id)s)
        INSERT INTO direct_debit (mandate_id, client_id, person_id, invoice_id, amount_cents,
                                  notified_at, collection_on, end_to_end_id, status)
        SELECT %(mandate_id)s, %(client_id)s, %(person_id)s, %(invoice_id)s, %(cents)s, %(now)s,
               %(day)s, format('T2P-P-%%s-%%s', %(invoice_id)s::bigint, attempt), 'notified'
          FROM number
        ON CONFLICT (invoice_id) WHERE status IN ('notified', 'sent', 'collected') DO NOTHING
        RETURNING id
        """,
        {
            "mandate_id": row.mandate_id,
            "client_id": row.client_id,
            "person_id": row.person_id,
            "invoice_id": row.invoice_id,
            "cents": row.left_cents,
            "now": now,
            "day": collection_on,
        },
    )
    made = await cursor.fetchone()
    return None if made is None else int(made[0])


async def take_due(
    connection: AsyncConnection, until_on: date, is_own: bool
) -> list[tuple[DebitRow, int, bool]]:
    """Debits to be collected until a day that are in no file, of drivers or (is_own) of clients,
    held to the end of the transaction; each with what its invoice has left to be paid, and whether
    it is contested."""
    async with connection.cursor(row_factory=class_row(DebitRow)) as rows:
        await rows.execute(
            _DEBIT
            + """
             WHERE d.status = 'notified' AND d.file_id IS NULL AND d.collection_on <= %s
               AND (i.issuer = 'operator') = %s
             ORDER BY d.id FOR UPDATE OF d
            """,
            (until_on, is_own),
        )
        debits = await rows.fetchall()
    cursor = await connection.execute(
        """
        SELECT i.invoice_id, i.open_cents,
               EXISTS (SELECT FROM dispute d
                        WHERE d.invoice_id = i.invoice_id AND d.decided_at IS NULL)
          FROM payable_invoice i WHERE i.invoice_id = ANY (%s)
        """,
        ([debit.invoice_id for debit in debits],),
    )
    state = {row[0]: (row[1], row[2]) for row in await cursor.fetchall()}
    return [(debit, *state[debit.invoice_id]) for debit in debits]


async def get_debit(connection: AsyncConnection, end_to_end_id: str) -> DebitRow | None:
    """A direct debit by its reference, held to the end of the transaction."""
    async with connection.cursor(row_factory=class_row(DebitRow)) as rows:
        await rows.execute(_DEBIT + " WHERE d.end_to_end_id = %s FOR UPDATE OF d", (end_to_end_id,))
        return await rows.fetchone()


async def put_in_file(
    connection: AsyncConnection, debits: Sequence[tuple[int, str, date]], file_id: int
) -> None:
    """Debits of a new file: id, sequence and the day that the file says."""
    await connection.execute(
        """
        UPDATE direct_debit d SET file_id = %s, sequence = n.sequence, collection_on = n.day
          FROM unnest(%s::bigint[], %s::text[], %s::date[]) AS n (id, sequence, day)
         WHERE d.id = n.id
        """,
        (
            file_id,
            [debit_id for debit_id, _, _ in debits],
            [sequence for _, sequence, _ in debits],
            [day for _, _, day in debits],
        ),
    )


async def set_status(
    connection: AsyncConnection,
    debit_id: int,
    status: str,
    *,
    settled_on: date | None = None,
    reason: str | None = None,
) -> None:
    """The state that a debit is in now."""
    await connection.execute(
        """
        UPDATE direct_debit
           SET status = %s, settled_on = coalesce(%s, settled_on), reason = coalesce(%s, reason)
         WHERE id = %s
        """,
        (status, settled_on, reason, debit_id),
    )


@dataclass(frozen=True, slots=True)
class DebitListed:
    """A direct debit, in a list."""

    id: int
    client_id: int
    person_id: int | None
    mandate_reference: str
    invoice_id: int
    invoice_number: str
    amount_cents: int
    sequence: str | None
    notified_at: datetime
    collection_on: date
    end_to_end_id: str
    status: str
    file_id: int | None
    settled_on: date | None
    reason: str | None


async def list_debits(
    connection: AsyncConnection,
    *,
    client_id: int | None,
    person_id: int | None,
    status: str | None,
    limit: int,
    cursor: Cursor | None = None,
) -> list[DebitListed]:
    """Direct debits, the last announced first."""
    async with connection.cursor(row_factory=class_row(DebitListed)) as rows:
        await rows.execute(
            """
            SELECT d.id, d.client_id, d.person_id, m.reference AS mandate_reference, d.invoice_id,
                   i.number AS invoice_number, d.amount_cents, d.sequence, d.notified_at,
                   d.collection_on, d.end_to_end_id, d.status, d.file_id, d.settled_on, d.reason
              FROM direct_debit d JOIN sepa_mandate m ON m.id = d.mandate_id
              JOIN invoice i ON i.id = d.invoice_id
             WHERE (%(client_id)s::bigint IS NULL OR d.client_id = %(client_id)s)
               AND (%(person_id)s::bigint IS NULL OR d.person_id = %(person_id)s)
               AND (%(status)s::text IS NULL OR d.status = %(status)s)
               AND (%(after)s::bigint IS NULL OR d.id < %(after)s)
             ORDER BY d.id DESC LIMIT %(limit)s
            """,
            {
                "client_id": client_id,
                "person_id": person_id,
                "status": status,
                "after": cursor.key[0] if cursor else None,
                "limit": limit,
            },
        )
        return await rows.fetchall()


async def count_debits(
    connection: AsyncConnection,
    *,
    client_id: int | None,
    person_id: int | None,
    status: str | None,
) -> int:
    """How many `list_debits` has."""
    cursor = await connection.execute(
        """
        SELECT count(*) FROM direct_debit d
         WHERE (%(client_id)s::bigint IS NULL OR d.client_id = %(client_id)s)
           AND (%(person_id)s::bigint IS NULL OR d.person_id = %(person_id)s)
           AND (%(status)s::text IS NULL OR d.status = %(status)s)
        """,
        {"client_id": client_id, "person_id": person_id, "status": status},
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])
