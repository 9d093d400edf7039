"""Checks of statements: against their lines, and against what the books owe each client."""

from psycopg import AsyncConnection
from psycopg.rows import class_row

from csms.store.checking import Offence


async def sums_beside_lines(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Statements whose figures are not those of their lines, or whose net is not their sum."""
    async with connection.cursor(row_factory=class_row(Offence)) as cursor:
        await cursor.execute(
            """
            SELECT 'statement ' || s.id AS subject,
                   format('its lines say: collected %%s, deducted %%s, set off %%s, adjusted %%s, '
                          'held %%s, net %%s', l.collected, l.deducted, l.taken, l.adjusted,
                          l.held, s.opening_cents + l.all_cents) AS detail,
                   count(*) OVER () AS total
              FROM statement s
              LEFT JOIN LATERAL (
                    SELECT coalesce(sum(amount_cents) FILTER (WHERE kind = 'receipt'), 0)
                           AS collected,
                           coalesce(-sum(amount_cents) FILTER (WHERE kind = 'own_sale'), 0)
                           AS deducted,
                           coalesce(-sum(amount_cents) FILTER (WHERE kind = 'offset'), 0) AS taken,
                           coalesce(sum(amount_cents) FILTER (WHERE kind = 'adjustment'), 0)
                           AS adjusted,
                           coalesce(-sum(amount_cents)
                                    FILTER (WHERE kind IN ('hold', 'release')), 0) AS held,
                           coalesce(sum(amount_cents)
                                    FILTER (WHERE kind NOT IN ('session', 'late_session')), 0)
                           AS all_cents
                      FROM statement_line WHERE statement_id = s.id) l ON true
             WHERE (s.collected_cents, s.commission_cents + s.fees_cents, s.offset_cents,
                    s.adjustment_cents, s.disputed_cents, s.net_cents)
                   IS DISTINCT FROM (l.collected, l.deducted, l.taken, l.adjusted, l.held,
                                     s.opening_cents + l.all_cents)
             ORDER BY s.id LIMIT %s
            """,
            (rows_max,),
        )
        return await cursor.fetchall()


async def openings_beside_nets(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Statements that do not begin with what the one before carried over."""
    async with connection.cursor(row_factory=class_row(Offence)) as cursor:
        await cursor.execute(
            """
            SELECT 'statement ' || id AS subject,
                   format('begins with %%s, the one before carried over %%s', opening_cents,
                          carried) AS detail,
                   count(*) OVER () AS total
              FROM (SELECT s.*, least(coalesce(lag(net_cents) OVER w, 0), 0) AS carried
                      FROM statement s WINDOW w AS (PARTITION BY client_id ORDER BY month)) AS s
             WHERE opening_cents <> carried ORDER BY id LIMIT %s
            """,
            (rows_max,),
        )
        return await cursor.fetchall()


async def lines_beside_sources(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Lines that say another amount than the session, share or sale that they lead to."""
    async with connection.cursor(row_factory=class_row(Offence)) as cursor:
        await cursor.execute(
            """
            SELECT 'statement line ' || l.id AS subject,
                   format('%%s of %%s cents, its source has %%s', l.kind, l.amount_cents, l.source)
                   AS detail,
                   count(*) OVER () AS total
              FROM (SELECT l.id, l.kind, l.amount_cents,
                           CASE WHEN l.kind IN ('session', 'late_session') THEN p.amount_incl_cents
                                WHEN l.receipt_share_id IS NOT NULL THEN r.amount_cents
                                WHEN l.kind = 'own_sale'
                                THEN CASE WHEN i.type_code = 381 THEN 1 ELSE -1 END
                                     * o.amount_incl_cents
                                WHEN l.kind = 'hold' THEN -d.held_cents
                                WHEN l.kind = 'release' THEN d.held_cents
                                ELSE l.amount_cents END AS source
                      FROM statement_line l
                      LEFT JOIN priced_session p ON p.session_id = l.session_id
                      LEFT JOIN receipt_share r ON r.id = l.receipt_share_id
                      LEFT JOIN invoice i ON i.id = l.invoice_id
                      LEFT JOIN invoice_line o ON o.own_sale_id = l.own_sale_id AND o.is_original
                      LEFT JOIN dispute d ON d.id = l.dispute_id) AS l
             WHERE l.amount_cents IS DISTINCT FROM l.source ORDER BY l.id LIMIT %s
            """,
            (rows_max,),
        )
        return await cursor.fetchall()
