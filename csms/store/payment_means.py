"""SQL of means of payment: references by date, at whoever keeps the means itself."""

from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row

from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class PaymentMeans:
    """A means of payment by its reference at whoever keeps it."""

    id: int
    kind: str  # sepa_mandate, wallet, provider, employer
    reference: str
    label: str
    from_at: datetime
    to_at: datetime | None


async def list_means(
    connection: AsyncConnection, person_id: int, *, limit: int, cursor: Cursor | None
) -> list[PaymentMeans]:
    """Up to `limit` of the driver's means, the oldest first, past ones too."""
    async with connection.cursor(row_factory=class_row(PaymentMeans)) as rows:
        await rows.execute(
            """
            SELECT id, kind, reference, label, from_at, to_at FROM payment_means
             WHERE person_id = %(id)s
               AND (%(from_at)s::timestamptz IS NULL OR (from_at, id) > (%(from_at)s, %(after)s))
             ORDER BY from_at, id LIMIT %(limit)s
            """,
            {
                "id": person_id,
                "limit": limit,
                "from_at": cursor.key[0] if cursor else None,
                "after": cursor.key[1] if cursor else None,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_means(connection: AsyncConnection, person_id: int) -> int:
    """How many means the driver has and had."""
    return await fetch_count(
        connection,
        "SELECT count(*) FROM payment_means WHERE person_id = %(id)s",
        {"id": person_id},
    )


async def end_means(
    connection: AsyncConnection, person_id: int, at: datetime, *, means_id: int | None = None
) -> int:
    """What is in force at that moment ends then; one, or whichever it is. How many did."""
    cursor = await connection.execute(
        """
        UPDATE payment_means SET to_at = %(at)s
         WHERE person_id = %(person_id)s AND (%(id)s::bigint IS NULL OR id = %(id)s)
           AND from_at < %(at)s AND (to_at IS NULL OR to_at > %(at)s)
        """,
        {"person_id": person_id, "id": means_id, "at": at},
    )
    return cursor.rowcount


async def insert_means(
    connection: AsyncConnection,
    person_id: int,
    *,
    kind: str,
    reference: str,
    label: str,
    from_at: datetime,
    to_at: datetime | None,
) -> PaymentMeans:
    """Raises: psycopg.errors.ExclusionViolation where another is in force then."""
    async with connection.cursor(row_factory=class_row(PaymentMeans)) as rows:
        await rows.execute(
            """
            INSERT INTO payment_means (person_id, kind, reference, label, from_at, to_at)
            VALUES (%(person_id)s, %(kind)s, %(reference)s, %(label)s, %(from_at)s, %(to_at)s)
            RETURNING id, kind, reference, label, from_at, to_at
            """,
            {
                "person_id": person_id,
                "kind": kind,
                "reference": reference,
                "label": label,
                "from_at": from_at,
                "to_at": to_at,
            },
        )
        made = await rows.fetchone()
        assert made is not None
        return made
