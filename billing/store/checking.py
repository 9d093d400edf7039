"""The statements of `time2plug billing check` on the books and on money received: each returns what
contradicts one promise, as `csms.store.checking` does. One pass over each table, however long."""

from typing import LiteralString

from psycopg import AsyncConnection
from psycopg.rows import class_row

from csms.store.checking import Offence


async def offences(
    connection: AsyncConnection, statement: LiteralString, rows_max: int
) -> list[Offence]:
    """What a statement finds; it takes `rows_max` and gives subject, detail and total."""
    async with connection.cursor(row_factory=class_row(Offence)) as rows:
        await rows.execute(statement, {"rows_max": rows_max}, prepare=False)
        return await rows.fetchall()


async def unbalanced_entries(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Entries of fewer than two postings, or whose debits are not their credits."""
    return await offences(
        connection,
        """
        SELECT 'entry ' || e.source_key AS subject,
               format('%%s postings, debits less credits %%s cents', coalesce(p.number, 0),
                      coalesce(p.cents, 0)) AS detail, count(*) OVER () AS total
          FROM ledger_entry e
          LEFT JOIN (SELECT entry_id, count(*) AS number, sum(amount_cents) AS cents
                       FROM ledger_posting GROUP BY entry_id) p ON p.entry_id = e.id
         WHERE coalesce(p.number, 0) < 2 OR p.cents <> 0
         ORDER BY e.id LIMIT %(rows_max)s
        """,
        rows_max,
    )


async def changed_entries(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Entries that say something else than their digest: the bytes of `ledger.body` are made anew
    from the rows."""
    return await offences(
        connection,
        r"""
        SELECT 'entry ' || e.source_key AS subject, 'its content has another digest' AS detail,
               count(*) OVER () AS total
          FROM ledger_entry e
          LEFT JOIN ledger_entry r ON r.id = e.reverses_id
          LEFT JOIN (SELECT p.entry_id,
                            string_agg(format('[%%s,%%s]', to_json(a.code), p.amount_cents), ','
                                       ORDER BY p.position) AS text
                       FROM ledger_posting p JOIN ledger_account a ON a.id = p.account_id
                      GROUP BY p.entry_id) p ON p.entry_id = e.id
         WHERE e.body_sha256 <> sha256(convert_to(
                   format('[%%s,%%s,"%%s",%%s,%%s,[%%s],%%s]', to_json(e.source_key),
                          to_json(e.kind), e.booked_on, to_json(e.label),
                          coalesce(e.client_id::text, 'null'), coalesce(p.text, ''),
                          coalesce(to_json(r.source_key)::text, 'null')), 'UTF8'))
         ORDER BY e.id LIMIT %(rows_max)s
        """,
        rows_max,
    )


async def broken_chains(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Entries that do not follow the one before them in their chain, and chains that end
    elsewhere than they say."""
    return await offences(
        connection,
        r"""
        WITH linked AS (
            SELECT chain_key, sequence, source_key, body_sha256, previous_sha256, sha256,
                   client_id,
                   lag(sha256, 1, '\x') OVER w AS former, row_number() OVER w AS place
              FROM ledger_entry
            WINDOW w AS (PARTITION BY chain_key ORDER BY sequence)),
        ends AS (
            SELECT DISTINCT ON (chain_key) chain_key, sequence, sha256
              FROM ledger_entry ORDER BY chain_key, sequence DESC),
        wrong AS (
            SELECT 'entry ' || source_key AS subject,
                   CASE WHEN sequence <> place THEN 'one before it is missing'
                        WHEN chain_key <> coalesce(client_id, 0) THEN 'it is in another chain'
                        ELSE 'its digest does not follow from the one before' END AS detail
              FROM linked
             WHERE sequence <> place OR chain_key <> coalesce(client_id, 0)
                OR previous_sha256 <> former OR sha256 <> sha256(previous_sha256 || body_sha256)
            UNION ALL
            SELECT 'chain ' || c.chain_key, format('it ends at %%s, and says %%s',
                                                   coalesce(n.sequence, 0), c.last_sequence)
              FROM ledger_chain c LEFT JOIN ends n USING (chain_key)
             WHERE (c.last_sequence, c.last_sha256)
                   <> (coalesce(n.sequence, 0), coalesce(n.sha256, '\x')))
        SELECT subject, detail, count(*) OVER () AS total
          FROM wrong ORDER BY subject LIMIT %(rows_max)s
        """,
        rows_max,
    )


async def late_entries(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Entries booked in a month that had been closed before they were written."""
    return await offences(
        connection,
        """
        SELECT DISTINCT 'entry ' || e.source_key AS subject,
               'booked on ' || e.booked_on || ', a month that was closed' AS detail,
               count(*) OVER () AS total
          FROM ledger_entry e JOIN ledger_closing c
               ON c.chain_key = e.chain_key AND e.booked_on < c.month + interval '1 month'
                  AND e.created_at > c.closed_at
         ORDER BY subject LIMIT %(rows_max)s
        """,
        rows_max,
    )


async def lent_client_money(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Whether less is held for others than is owed to them, in all states, and to drivers."""
    return await offences(
        connection,
        """
        SELECT 'bank:mandate and psp:clearing' AS subject,
               format('%%s cents are held for others, %%s are owed to them', held, due) AS detail,
               1::bigint AS total
          FROM (SELECT coalesce(sum(p.amount_cents) FILTER (
                           WHERE a.code IN ('bank:mandate', 'psp:clearing')), 0) AS held,
                       coalesce(-sum(p.amount_cents) FILTER (
                           WHERE a.code ~ '^(owed|wallet):'), 0) AS due
                  FROM ledger_posting p JOIN ledger_account a ON a.id = p.account_id) s
         WHERE held < due LIMIT %(rows_max)s
        """,
        rows_max,
    )


async def overdrawn_accounts(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Clients to whom less than nothing is owed, and drivers with less than nothing in advance."""
    return await offences(
        connection,
        """
        SELECT a.code AS subject, format('overdrawn by %%s cents', sum(p.amount_cents)) AS detail,
               count(*) OVER () AS total
          FROM ledger_account a JOIN ledger_posting p ON p.account_id = a.id
         WHERE a.code ~ '^(owed|wallet):'
         GROUP BY a.code HAVING sum(p.amount_cents) > 0
         ORDER BY a.code LIMIT %(rows_max)s
        """,
        rows_max,
    )


async def claims_beside_invoices(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Clients whose claims on drivers are not what is open on their invoices, or not in balance
    with their counterpart."""
    return await offences(
        connection,
        """
        WITH booked AS (
            SELECT a.client_id,
                   coalesce(sum(p.amount_cents) FILTER (
                       WHERE a.code LIKE 'receivable:drivers:%%'), 0) AS claims,
                   coalesce(-sum(p.amount_cents) FILTER (
                       WHERE a.code LIKE 'uncollected:%%'), 0) AS counterpart
              FROM ledger_posting p JOIN ledger_account a ON a.id = p.account_id
             WHERE a.code ~ '^(receivable:drivers|uncollected):' GROUP BY a.client_id),
        billed AS (SELECT client_id, sum(effect_cents) AS cents FROM invoice
                    WHERE issuer = 'client' GROUP BY client_id),
        paid AS (SELECT client_id, sum(amount_cents) AS cents FROM receipt_share
                  GROUP BY client_id)
        SELECT 'client ' || c.id AS subject,
               format('open on invoices %%s cents, in the books %%s, counterpart %%s',
                      coalesce(b.cents, 0) - coalesce(s.cents, 0), coalesce(k.claims, 0),
                      coalesce(k.counterpart, 0)) AS detail, count(*) OVER () AS total
          FROM client c LEFT JOIN booked k ON k.client_id = c.id
          LEFT JOIN billed b ON b.client_id = c.id LEFT JOIN paid s ON s.client_id = c.id
         WHERE (coalesce(k.claims, 0), coalesce(k.counterpart, 0))
               <> (coalesce(b.cents, 0) - coalesce(s.cents, 0), coalesce(k.claims, 0))
         ORDER BY c.id LIMIT %(rows_max)s
        """,
        rows_max,
    )


async def receipts_beside_books(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Receipts without an entry of just that money, and such entries without a receipt."""
    return await offences(
        connection,
        """
        SELECT coalesce('receipt ' || r.source_key, 'entry ' || e.source_key) AS subject,
               CASE WHEN r.id IS NULL THEN 'there is no such receipt'
                    WHEN e.id IS NULL THEN 'it is not in the books'
                    ELSE format('%%s cents on %%s, in the books %%s on %%s', r.amount_cents,
                                r.booked_on, coalesce(-e.cents, 0), e.booked_on) END AS detail,
               count(*) OVER () AS total
          FROM receipt r
          FULL JOIN (SELECT n.id, n.source_key, n.booked_on,
                            sum(p.amount_cents) FILTER (
                                WHERE starts_with(a.code, 'wallet:')) AS cents,
                            min(a.person_id) AS person_id
                       FROM ledger_entry n JOIN ledger_posting p ON p.entry_id = n.id
                       JOIN ledger_account a ON a.id = p.account_id
                      WHERE n.kind = 'receipt' GROUP BY n.id) e
               ON e.source_key = 'receipt:' || r.id
         WHERE r.id IS NULL OR e.id IS NULL OR r.amount_cents <> -coalesce(e.cents, 0)
            OR r.person_id IS DISTINCT FROM e.person_id OR r.booked_on <> e.booked_on
         ORDER BY subject LIMIT %(rows_max)s
        """,
        rows_max,
    )


async def shares_beside_books(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Days of a client and a driver on which the books allocated something else than the
    receipts' shares say."""
    return await offences(
        connection,
        """
        WITH shared AS (
            SELECT s.client_id, r.person_id, s.booked_on, sum(s.amount_cents) AS cents
              FROM receipt_share s JOIN receipt r ON r.id = s.receipt_id
             GROUP BY s.client_id, r.person_id, s.booked_on),
        booked AS (
            SELECT e.client_id, a.person_id, e.booked_on, sum(p.amount_cents) AS cents
              FROM ledger_entry e JOIN ledger_posting p ON p.entry_id = e.id
              JOIN ledger_account a ON a.id = p.account_id AND starts_with(a.code, 'wallet:')
             WHERE e.kind = 'allocation' GROUP BY e.client_id, a.person_id, e.booked_on)
        SELECT format('client %%s, driver %%s, %%s', client_id, person_id, booked_on) AS subject,
               format('shares of %%s cents, in the books %%s', coalesce(s.cents, 0),
                      coalesce(b.cents, 0)) AS detail, count(*) OVER () AS total
          FROM shared s FULL JOIN booked b USING (client_id, person_id, booked_on)
         WHERE coalesce(s.cents, 0) <> coalesce(b.cents, 0)
         ORDER BY subject LIMIT %(rows_max)s
        """,
        rows_max,
    )


async def overspent_receipts(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Receipts of which more is on invoices than they hold, or less than nothing; undone ones, and
    those that undo, of which anything is."""
    return await offences(
        connection,
        """
        SELECT 'receipt ' || r.source_key AS subject,
               format('%%s cents of %%s are on invoices', coalesce(s.cents, 0), r.amount_cents)
               AS detail, count(*) OVER () AS total
          FROM receipt r
          JOIN (SELECT receipt_id, sum(amount_cents) AS cents FROM receipt_share
                 GROUP BY receipt_id) s ON s.receipt_id = r.id
          LEFT JOIN receipt x ON x.reverses_id = r.id
         WHERE s.cents NOT BETWEEN 0 AND CASE WHEN x.id IS NULL AND r.reverses_id IS NULL
                                              THEN r.amount_cents ELSE 0 END
         ORDER BY r.id LIMIT %(rows_max)s
        """,
        rows_max,
    )


async def odd_reversals(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Receipts that undo another, but not whole, or another driver's."""
    return await offences(
        connection,
        """
        SELECT 'receipt ' || r.source_key AS subject,
               format('%%s cents undo %%s of %%s', r.amount_cents, o.amount_cents, o.source_key)
               AS detail, count(*) OVER () AS total
          FROM receipt r JOIN receipt o ON o.id = r.reverses_id
         WHERE r.amount_cents <> -o.amount_cents OR r.person_id <> o.person_id
            OR o.reverses_id IS NOT NULL
         ORDER BY r.id LIMIT %(rows_max)s
        """,
        rows_max,
    )
