"""SQL of what is laid down for an approved platform."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from psycopg import AsyncConnection
from psycopg.rows import class_row


@dataclass(frozen=True, slots=True)
class Waiting:
    """An invoice between businesses that was not laid down yet."""

    id: int
    client_id: int
    issuer: str
    number: str


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Sales to consumers of one seller, day and rate; credit notes taken off."""

    issued_on: date
    category: str  # goods | services
    vat_percent: Decimal
    documents: int  # of all rates of the day, those without VAT apart
    base_cents: int
    vat_cents: int


async def fetch_waiting(connection: AsyncConnection, after: int, limit: int) -> list[Waiting]:
    """Invoices between businesses that lie nowhere yet, by their number, after the one given. A
    seller that is not subject to VAT makes none."""
    async with connection.cursor(row_factory=class_row(Waiting)) as rows:
        await rows.execute(
            """
            SELECT i.id, i.client_id, i.issuer, i.number FROM invoice i
             WHERE i.id > %s AND i.vat_case <> 'non_assujetti'
               AND NOT i.to_consumer
               AND NOT EXISTS (SELECT FROM platform_file f WHERE f.invoice_id = i.id)
             ORDER BY i.id LIMIT %s
            """,
            (after, limit),
        )
        return await rows.fetchall()


async def fetch_aggregated_days(
    connection: AsyncConnection, before: date
) -> list[tuple[int | None, date]]:
    """Sellers (None: the operator) and days before one with sales to consumers that lie nowhere
    yet."""
    cursor = await connection.execute(
        """
        SELECT DISTINCT CASE WHEN i.issuer = 'client' THEN i.client_id END AS seller, i.issued_on
          FROM invoice i
         WHERE i.issued_on < %s AND i.vat_case <> 'non_assujetti'
           AND i.to_consumer
           AND NOT EXISTS (SELECT FROM supply_document d
                            WHERE d.invoice_id IN (i.id, i.original_id) AND d.kind = 'advance')
           AND NOT EXISTS (
                SELECT FROM platform_file f
                 WHERE f.source_key = 'b2c:' || CASE WHEN i.issuer = 'client'
                       THEN i.client_id::text ELSE 'operator' END || ':' || i.issued_on)
         ORDER BY 2, 1
        """,
        (before,),
    )
    return [(row[0], row[1]) for row in await cursor.fetchall()]


async def fetch_aggregates(
    connection: AsyncConnection, seller: int | None, day: date
) -> list[Aggregate]:
    """A seller's sales to consumers of a day, by category and rate. A corrective counts with its
    difference to what it replaces. What is asked of co-owners in advance is no sale: the bills are,
    whole."""
    async with connection.cursor(row_factory=class_row(Aggregate)) as rows:
        await rows.execute(
            """
            WITH sold AS (
                SELECT i.id, i.issuer, i.issued_on, i.type_code, i.original_id,
                       i.content::jsonb AS content
                  FROM invoice i
                 WHERE i.issued_on = %(day)s AND i.vat_case <> 'non_assujetti' AND i.to_consumer
                   AND NOT EXISTS (SELECT FROM supply_document d
                                    WHERE d.invoice_id IN (i.id, i.original_id)
                                      AND d.kind = 'advance')
                   AND CASE WHEN %(seller)s::bigint IS NULL THEN i.issuer = 'operator'
                            ELSE i.issuer = 'client' AND i.client_id = %(seller)s END),
            replaced AS (  -- by correctives: the last that stated everything, then credits on it
                SELECT s.id, s.original_id, max(b.id) AS base_id
                  FROM sold s
                  JOIN invoice b ON (b.id = s.original_id OR b.original_id = s.original_id)
                                AND b.id < s.id AND b.type_code IN (380, 384)
                 WHERE s.type_code = 384 GROUP BY s.id, s.original_id),
            parts AS (
                SELECT id, CASE type_code WHEN 381 THEN -1 ELSE 1 END AS sign, content FROM sold
                UNION ALL
                SELECT r.id, -1, b.content::jsonb FROM replaced r JOIN invoice b ON b.id = r.base_id
                UNION ALL
                SELECT r.id, 1, c.content::jsonb
                  FROM replaced r JOIN invoice c ON c.original_id = r.original_id
                   AND c.type_code = 381 AND c.id > r.base_id AND c.id < r.id),
            told AS (
                SELECT s.id, s.issued_on,
                       CASE WHEN s.issuer = 'client' OR line.value ->> 'energy_wh' IS NOT NULL
                            THEN 'goods' ELSE 'services' END AS category,
                       (line.value ->> 'vat_percent')::numeric AS percent,
                       p.sign * (line.value ->> 'net_cents')::bigint AS base_cents,
                       p.sign * (line.value ->> 'vat_cents')::bigint AS vat_cents
                  FROM parts p JOIN sold s ON s.id = p.id
                 CROSS JOIN jsonb_array_elements(p.content -> 'lines') AS line)
            SELECT issued_on, category, percent AS vat_percent,
                   (SELECT count(DISTINCT d.id) FROM told d
                     WHERE d.category = told.category
                       AND (d.percent = 0) = (told.percent = 0)) AS documents,
                   sum(base_cents)::bigint AS base_cents, sum(vat_cents)::bigint AS vat_cents
              FROM told GROUP BY issued_on, category, percent ORDER BY category, percent
            """,
            {"day": day, "seller": seller},
        )
        return await rows.fetchall()


async def insert_file(
    connection: AsyncConnection,
    *,
    client_id: int | None,
    kind: str,
    invoice_id: int | None,
    source_key: str,
    name: str,
    sha256: bytes,
    now: datetime,
) -> bool:
    """Note what lies in the folder; False when it was noted before."""
    cursor = await connection.execute(
        """
        INSERT INTO platform_file (client_id, kind, invoice_id, source_key, name, sha256, laid_at)
        VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
        """,
        (client_id, kind, invoice_id, source_key, name, sha256, now),
    )
    return cursor.rowcount == 1
