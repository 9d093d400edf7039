"""Checks of payments: payouts, files, debits and the bank's lines, beside what they stand for."""

from psycopg import AsyncConnection

from billing.store.checking import offences
from csms.store.checking import Offence


async def payouts_beside_lines(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Payouts of another amount than what they pay."""
    return await offences(
        connection,
        """
        SELECT 'payout ' || p.id AS subject,
               format('it is of %%s cents, its lines of %%s', p.amount_cents,
                      coalesce(l.cents, 0)) AS detail, count(*) OVER () AS total
          FROM payout p
          LEFT JOIN (SELECT payout_id, sum(amount_cents) AS cents
                       FROM payout_line GROUP BY payout_id) l ON l.payout_id = p.id
         WHERE p.amount_cents IS DISTINCT FROM l.cents
         ORDER BY p.id LIMIT %(rows_max)s
        """,
        rows_max,
    )


async def paid_beyond_statements(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Statements and decisions of which more was paid, or is on its way, than they leave."""
    return await offences(
        connection,
        """
        WITH live AS (
            SELECT l.* FROM payout_line l JOIN payout p ON p.id = l.payout_id
             WHERE p.status IN ('draft', 'sent', 'settled')),
        beyond AS (
            SELECT 'statement ' || s.id AS subject, s.net_cents AS due, sum(l.amount_cents) AS paid
              FROM live l JOIN statement s ON s.id = l.statement_id
             GROUP BY s.id HAVING sum(l.amount_cents) > s.net_cents
            UNION ALL
            SELECT 'dispute ' || d.id, d.held_cents, sum(l.amount_cents)
              FROM live l JOIN dispute d ON d.id = l.dispute_id
             GROUP BY d.id HAVING sum(l.amount_cents) > d.held_cents
            UNION ALL
            SELECT 'late payment ' || x.id, x.interest_cents + x.indemnity_cents,
                   sum(l.amount_cents)
              FROM live l JOIN late_payment x ON x.id = l.late_payment_id
             GROUP BY x.id HAVING sum(l.amount_cents) > x.interest_cents + x.indemnity_cents)
        SELECT subject, format('it leaves %%s cents, %%s are paid', due, paid) AS detail,
               count(*) OVER () AS total
          FROM beyond ORDER BY subject LIMIT %(rows_max)s
        """,
        rows_max,
    )


async def payouts_beside_books(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Payouts whose entries are not those of their state, or of another amount; and entries of
    payouts that are not there."""
    return await offences(
        connection,
        """
        WITH expected AS (
            SELECT e.kind || ':' || p.id AS source_key, p.id, p.amount_cents
              FROM payout p
              JOIN (VALUES ('draft', 'paying'), ('sent', 'paying'), ('settled', 'paying'),
                           ('settled', 'paid'), ('returned', 'paying'), ('returned', 'paid'),
                           ('returned', 'given_back'), ('refused', 'paying'), ('refused', 'unpaid'),
                           ('cancelled', 'paying'), ('cancelled', 'unpaid'))
                   AS e (status, kind) ON e.status = p.status),
        booked AS (
            SELECT e.source_key, sum(p.amount_cents) FILTER (WHERE p.amount_cents > 0) AS cents
              FROM ledger_entry e JOIN ledger_posting p ON p.entry_id = e.id
             WHERE e.kind IN ('paying', 'paid', 'given_back', 'unpaid') GROUP BY e.id)
        SELECT coalesce('payout ' || x.id, 'entry ' || b.source_key) AS subject,
               CASE WHEN b.source_key IS NULL THEN 'entry ' || x.source_key || ' is missing'
                    WHEN x.id IS NULL THEN 'its payout is not there, or stands otherwise'
                    ELSE format('entry %%s has %%s cents, not %%s', b.source_key, b.cents,
                                x.amount_cents) END AS detail,
               count(*) OVER () AS total
          FROM expected x FULL JOIN booked b USING (source_key)
         WHERE x.amount_cents IS DISTINCT FROM b.cents
         ORDER BY 1, 2 LIMIT %(rows_max)s
        """,
        rows_max,
    )


async def files_beside_payments(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Payment files whose number or sum is not that of what they hold."""
    return await offences(
        connection,
        """
        WITH held AS (
            SELECT file_id, amount_cents FROM payout WHERE file_id IS NOT NULL
            UNION ALL
            SELECT file_id, amount_cents FROM internal_transfer
            UNION ALL
            SELECT file_id, amount_cents FROM direct_debit WHERE file_id IS NOT NULL)
        SELECT 'payment file ' || f.id AS subject,
               format('%%s payments of %%s cents, it says %%s of %%s', count(h.amount_cents),
                      coalesce(sum(h.amount_cents), 0), f.payments, f.total_cents) AS detail,
               count(*) OVER () AS total
          FROM payment_file f LEFT JOIN held h ON h.file_id = f.id
         WHERE f.kind = 'payout' OR f.cancelled_at IS NULL
         GROUP BY f.id
        HAVING (count(h.amount_cents), coalesce(sum(h.amount_cents), 0))
               <> (f.payments, f.total_cents)
         ORDER BY f.id LIMIT %(rows_max)s
        """,
        rows_max,
    )


async def debits_beside_receipts(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Direct debits whose money is not received as they stand: collected, and given back."""
    return await offences(
        connection,
        """
        WITH received AS (
            SELECT source_key, amount_cents FROM receipt WHERE source_key LIKE 'debit:%%'
            UNION ALL
            SELECT source_key, amount_cents FROM own_receipt WHERE source_key LIKE 'debit:%%'),
        expected AS (
            SELECT 'debit:' || id AS source_key, amount_cents
              FROM direct_debit WHERE status IN ('collected', 'returned')
            UNION ALL
            SELECT 'debit:' || id || ':returned', -amount_cents
              FROM direct_debit WHERE status = 'returned')
        SELECT 'receipt ' || source_key AS subject,
               format('%%s cents received, %%s collected', coalesce(r.amount_cents, 0),
                      coalesce(e.amount_cents, 0)) AS detail,
               count(*) OVER () AS total
          FROM expected e FULL JOIN received r USING (source_key)
         WHERE e.amount_cents IS DISTINCT FROM r.amount_cents
         ORDER BY source_key LIMIT %(rows_max)s
        """,
        rows_max,
    )


async def own_receipts_beside_books(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """What clients paid of the operator's invoices that is not in its books, or otherwise."""
    return await offences(
        connection,
        """
        WITH booked AS (
            SELECT e.source_key, p.amount_cents
              FROM ledger_entry e JOIN ledger_posting p ON p.entry_id = e.id
              JOIN ledger_account a ON a.id = p.account_id
             WHERE e.kind = 'own_receipt' AND a.code = 'bank:own')
        SELECT coalesce('own receipt ' || r.id, 'entry ' || b.source_key) AS subject,
               format('%%s cents received, %%s booked', coalesce(r.amount_cents, 0),
                      coalesce(b.amount_cents, 0)) AS detail,
               count(*) OVER () AS total
          FROM own_receipt r FULL JOIN booked b ON b.source_key = 'own_receipt:' || r.id
         WHERE r.amount_cents IS DISTINCT FROM b.amount_cents
         ORDER BY 1 LIMIT %(rows_max)s
        """,
        rows_max,
    )


async def lines_beside_books(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Lines of the bank's that were taken for something that does not have their amount; and what
    two lines were taken for."""
    return await offences(
        connection,
        """
        WITH taken AS (
            SELECT m.*, l.amount_cents, l.account, l.reference,
                   count(*) OVER (PARTITION BY m.kind, m.subject) AS times
              FROM bank_match m JOIN bank_line l ON l.id = m.line_id),
        compared AS (
            SELECT t.*, CASE t.kind
                   WHEN 'payout' THEN (SELECT -amount_cents FROM payout
                                        WHERE 'payout ' || id = t.subject)
                   WHEN 'payout_return' THEN (SELECT amount_cents FROM payout
                                               WHERE 'payout ' || id = t.subject)
                   WHEN 'transfer' THEN (SELECT -amount_cents FROM internal_transfer
                                          WHERE 'internal transfer ' || id = t.subject)
                   WHEN 'debit' THEN (SELECT amount_cents FROM direct_debit
                                       WHERE 'debit ' || id = t.subject)
                   WHEN 'debit_return' THEN (SELECT -amount_cents FROM direct_debit
                                              WHERE 'debit ' || id = t.subject)
                   WHEN 'receipt' THEN (SELECT amount_cents FROM receipt
                                         WHERE source_key = 'bank:' || t.account || ':'
                                                            || t.reference)
                   WHEN 'fee' THEN (
                        SELECT -p.amount_cents
                          FROM ledger_entry e JOIN ledger_posting p ON p.entry_id = e.id
                          JOIN ledger_account a ON a.id = p.account_id
                         WHERE e.source_key = 'bank_fee:' || t.line_id
                           AND a.code = 'expense:bank_fees')
                   WHEN 'refund' THEN (SELECT amount_cents FROM own_receipt
                                        WHERE source_key = 'bank:' || t.account || ':'
                                                           || t.reference)
                   WHEN 'own_receipt' THEN (SELECT amount_cents FROM own_receipt
                                             WHERE source_key = 'bank:' || t.account || ':'
                                                                || t.reference)
                   WHEN 'settlement' THEN (
                        SELECT sum(p.amount_cents)
                          FROM ledger_entry e JOIN ledger_posting p ON p.entry_id = e.id
                          JOIN ledger_account a ON a.id = p.account_id
                         WHERE e.source_key = replace(t.subject, 'settlement ', 'settlement:')
                           AND a.code IN ('bank:mandate', 'bank:own'))
                   WHEN 'suspense' THEN (
                        SELECT -p.amount_cents
                          FROM ledger_entry e JOIN ledger_posting p ON p.entry_id = e.id
                          JOIN ledger_account a ON a.id = p.account_id
                         WHERE e.source_key = 'suspense:' || t.line_id AND a.code = 'suspense')
                   ELSE t.amount_cents END AS source_cents
              FROM taken t)
        SELECT 'bank line ' || line_id AS subject,
               CASE WHEN source_cents IS DISTINCT FROM amount_cents
                    THEN format('%%s cents, %%s has %%s', amount_cents, subject,
                                coalesce(source_cents::text, 'nothing'))
                    ELSE format('%%s is taken %%s times for %%s', kind, times, subject) END
               AS detail, count(*) OVER () AS total
          FROM compared
         WHERE source_cents IS DISTINCT FROM amount_cents
            OR (times > 1 AND kind NOT IN ('other', 'suspense'))
         ORDER BY line_id LIMIT %(rows_max)s
        """,
        rows_max,
    )


async def late_payments_beside_books(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """What late payouts cost that is not in the books, or otherwise."""
    return await offences(
        connection,
        """
        WITH booked AS (
            SELECT e.source_key, p.amount_cents
              FROM ledger_entry e JOIN ledger_posting p ON p.entry_id = e.id
              JOIN ledger_account a ON a.id = p.account_id
             WHERE e.kind = 'late_payment' AND a.code = 'expense:late_payment')
        SELECT coalesce('late payment ' || x.id, 'entry ' || b.source_key) AS subject,
               format('%%s cents are owed, %%s booked',
                      coalesce(x.interest_cents + x.indemnity_cents, 0),
                      coalesce(b.amount_cents, 0)) AS detail,
               count(*) OVER () AS total
          FROM late_payment x FULL JOIN booked b ON b.source_key = 'late_payment:' || x.id
         WHERE x.interest_cents + x.indemnity_cents IS DISTINCT FROM b.amount_cents
         ORDER BY 1 LIMIT %(rows_max)s
        """,
        rows_max,
    )
