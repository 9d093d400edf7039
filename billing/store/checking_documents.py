"""The statements of `time2plug billing check` on prices, invoices, statements and files."""

from psycopg import AsyncConnection

from billing.store.checking import offences
from csms.store.checking import Offence


async def gaps_in_series(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Series with a number missing, beyond their counter, or of a day before the number before."""
    return await offences(
        connection,
        """
        WITH numbered AS (
            SELECT i.series_id, i.sequence, i.number, i.issued_on,
                   row_number() OVER w AS place, lag(i.issued_on) OVER w AS former_on
              FROM invoice i WINDOW w AS (PARTITION BY i.series_id ORDER BY i.sequence)),
        wrong AS (
            SELECT s.prefix, n.number, CASE
                   WHEN n.sequence <> n.place THEN 'a number before it is missing'
                   WHEN n.issued_on < n.former_on THEN 'it is of a day before its predecessor'
                   ELSE 'it is not named as its series and place say' END AS detail
              FROM numbered n JOIN invoice_series s ON s.id = n.series_id
             WHERE n.sequence <> n.place OR n.issued_on < n.former_on
                OR n.number <> s.prefix || lpad(n.sequence::text, 6, '0')
            UNION ALL
            SELECT s.prefix, s.prefix, format('%%s numbers are used, the counter says %%s',
                                              coalesce(n.used, 0), s.last_number)
              FROM invoice_series s
              LEFT JOIN (SELECT series_id, count(*) AS used FROM invoice GROUP BY series_id) n
                   ON n.series_id = s.id
             WHERE coalesce(n.used, 0) <> s.last_number)
        SELECT 'number ' || number AS subject, detail, count(*) OVER () AS total
          FROM wrong ORDER BY number LIMIT %(rows_max)s
        """,
        rows_max,
    )


async def invoices_beside_books(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Documents whose entry is missing or of another amount or client, and entries without one."""
    return await offences(
        connection,
        """
        SELECT coalesce('invoice ' || i.number, 'entry ' || e.source_key) AS subject,
               CASE WHEN i.id IS NULL THEN 'there is no such invoice'
                    WHEN e.id IS NULL THEN 'it is not in the books'
                    ELSE format('%%s cents of client %%s, in the books %%s of %%s', i.effect_cents,
                                i.client_id, coalesce(e.cents, 0), e.client_id) END AS detail,
               count(*) OVER () AS total
          FROM invoice i
          FULL JOIN (SELECT n.id, n.source_key, n.client_id, n.kind,
                            sum(p.amount_cents) FILTER (
                                WHERE CASE n.kind
                                    WHEN 'invoice'
                                    THEN a.code = 'receivable:drivers:' || n.client_id
                                    WHEN 'own_invoice'
                                    THEN a.code = 'receivable:client:' || n.client_id
                                    ELSE a.code = 'receivable:owner:' || n.client_id || ':'
                                                  || a.person_id END) AS cents
                       FROM ledger_entry n JOIN ledger_posting p ON p.entry_id = n.id
                       JOIN ledger_account a ON a.id = p.account_id
                      WHERE n.kind IN ('invoice', 'own_invoice', 'supply_invoice')
                      GROUP BY n.id) e
               ON e.source_key = 'invoice:' || i.id
         WHERE i.id IS NULL OR e.id IS NULL AND i.effect_cents <> 0
            OR e.id IS NOT NULL AND (i.client_id, i.effect_cents)
               IS DISTINCT FROM (e.client_id, coalesce(e.cents, 0)::bigint)
            OR e.kind <> CASE WHEN i.issuer = 'client' THEN 'invoice'
                              WHEN i.person_id IS NULL THEN 'own_invoice' ELSE 'supply_invoice' END
         ORDER BY subject LIMIT %(rows_max)s
        """,
        rows_max,
    )


async def effects_beside_documents(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Invoices on which, with all their corrections, another sum is owed than the sessions cost
    that are left on them; and single documents whose effect is not their amount."""
    return await offences(
        connection,
        """
        WITH wrong AS (
            SELECT i.number, i.effect_cents AS owed,
                   CASE i.type_code WHEN 381 THEN -1 ELSE 1 END * i.amount_incl_cents AS said
              FROM invoice i
             WHERE (i.type_code <> 384 OR i.issuer = 'operator')
               AND (i.effect_cents, i.effect_vat_cents) <>
                   (CASE i.type_code WHEN 381 THEN -1 ELSE 1 END * i.amount_incl_cents,
                    CASE i.type_code WHEN 381 THEN -1 ELSE 1 END * i.vat_cents)
            UNION
            SELECT o.number, o.billed_cents, s.price_cents
              FROM (SELECT DISTINCT original_id FROM invoice WHERE issuer = 'client') c
              JOIN invoice_open o ON o.invoice_id = c.original_id
             CROSS JOIN LATERAL (SELECT coalesce(sum(x.price_cents), 0) AS price_cents
                                   FROM invoice_session_open x
                                  WHERE x.invoice_id = o.invoice_id) s
             WHERE o.billed_cents <> s.price_cents)
        SELECT 'invoice ' || number AS subject,
               format('%%s cents are owed, the documents say %%s', owed, said) AS detail,
               count(*) OVER () AS total
          FROM wrong ORDER BY number LIMIT %(rows_max)s
        """,
        rows_max,
    )


async def overpaid_sessions(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Sessions for which more was received than they cost, or less than nothing."""
    return await offences(
        connection,
        """
        WITH paid AS (
            SELECT invoice_id, session_id, sum(amount_cents) AS cents FROM receipt_share
             GROUP BY invoice_id, session_id),
        base AS (
            SELECT coalesce(original_id, id) AS invoice_id,
                   max(id) FILTER (WHERE type_code <> 381) AS id
              FROM invoice WHERE issuer = 'client' GROUP BY 1),
        price AS (
            SELECT b.invoice_id, l.session_id,
                   sum(CASE WHEN d.id = b.id THEN l.amount_incl_cents
                            WHEN d.id > b.id THEN -l.amount_incl_cents ELSE 0 END) AS cents
              FROM base b JOIN invoice d ON coalesce(d.original_id, d.id) = b.invoice_id
              JOIN invoice_line l ON l.invoice_id = d.id
             GROUP BY b.invoice_id, l.session_id)
        SELECT 'session ' || session_id AS subject,
               format('%%s cents were received, it costs %%s', coalesce(p.cents, 0),
                      coalesce(c.cents, 0)) AS detail, count(*) OVER () AS total
          FROM paid p FULL JOIN price c USING (invoice_id, session_id)
         WHERE coalesce(c.cents, 0) < 0
            OR coalesce(p.cents, 0) NOT BETWEEN 0 AND coalesce(c.cents, 0)
         ORDER BY session_id LIMIT %(rows_max)s
        """,
        rows_max,
    )


async def lines_beside_prices(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Sessions invoiced at another price than their own, to another driver or for another client;
    and the operator's sales likewise."""
    return await offences(
        connection,
        """
        SELECT coalesce('session ' || l.session_id, 'own sale ' || l.own_sale_id) AS subject,
               format('%%s is of %%s cents, its price is %%s', i.number, l.amount_incl_cents,
                      coalesce(p.amount_incl_cents, s.amount_excl_cents)) AS detail,
               count(*) OVER () AS total
          FROM invoice_line l JOIN invoice i ON i.id = l.invoice_id
          LEFT JOIN priced_session p ON p.session_id = l.session_id
          LEFT JOIN own_sale s ON s.id = l.own_sale_id
         WHERE l.is_original AND l.holding_id IS NULL
           AND CASE WHEN l.session_id IS NOT NULL
                    THEN (p.client_id, p.person_id, p.amount_excl_cents, p.vat_cents)
                         IS DISTINCT FROM
                         (l.client_id, i.person_id, l.amount_excl_cents, l.vat_cents)
                    ELSE (s.client_id, abs(s.amount_excl_cents))
                         IS DISTINCT FROM (l.client_id, abs(l.amount_excl_cents)) END
         ORDER BY l.invoice_id, l.position LIMIT %(rows_max)s
        """,
        rows_max,
    )


async def sums_beside_lines(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Invoices whose lines do not add up to them."""
    return await offences(
        connection,
        """
        SELECT 'invoice ' || i.number AS subject,
               format('%%s cents and %%s of VAT, its lines %%s and %%s', i.amount_incl_cents,
                      i.vat_cents, coalesce(l.incl, 0), coalesce(l.vat, 0)) AS detail,
               count(*) OVER () AS total
          FROM invoice i
          LEFT JOIN (SELECT invoice_id, sum(amount_incl_cents) AS incl, sum(vat_cents) AS vat
                       FROM invoice_line GROUP BY invoice_id) l ON l.invoice_id = i.id
         WHERE (i.amount_incl_cents, i.vat_cents) <> (coalesce(l.incl, 0), coalesce(l.vat, 0))
         ORDER BY i.id LIMIT %(rows_max)s
        """,
        rows_max,
    )


async def changed_documents(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Invoices and statements whose content is not that of their digest."""
    return await offences(
        connection,
        """
        SELECT subject, 'its content has another digest' AS detail, count(*) OVER () AS total
          FROM (SELECT 'invoice ' || number AS subject FROM invoice
                 WHERE content_sha256 <> sha256(convert_to(content, 'UTF8'))
                UNION ALL
                SELECT format('statement of client %%s, %%s', client_id, to_char(month, 'YYYY-MM'))
                  FROM statement WHERE sha256 <> sha256(convert_to(content, 'UTF8'))) d
         ORDER BY subject LIMIT %(rows_max)s
        """,
        rows_max,
    )


async def documents_beside_rows(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Invoices that say another number, day or sum in their content than in their row."""
    return await offences(
        connection,
        """
        SELECT 'invoice ' || number AS subject, 'its content says something else' AS detail,
               count(*) OVER () AS total
          FROM (SELECT id, number, issued_on, amount_excl_cents, vat_cents, amount_incl_cents,
                       content::json AS said FROM invoice) i
         WHERE (number, issued_on::text, amount_excl_cents, vat_cents, amount_incl_cents)
               IS DISTINCT FROM
               (said ->> 'number', said ->> 'issued_on', (said ->> 'net_cents')::bigint,
                (said ->> 'vat_cents')::bigint, (said ->> 'gross_cents')::bigint)
         ORDER BY id LIMIT %(rows_max)s
        """,
        rows_max,
    )


async def changed_files(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Files handed out whose bytes are not those of their digest."""
    return await offences(
        connection,
        """
        SELECT subject, 'its bytes have another digest' AS detail, count(*) OVER () AS total
          FROM (SELECT format('%%s of invoice %%s', format, invoice_id) AS subject
                  FROM invoice_file WHERE sha256 <> sha256(content)
                UNION ALL
                SELECT format('%%s of statement %%s', format, statement_id)
                  FROM statement_file WHERE sha256 <> sha256(content)) f
         ORDER BY subject LIMIT %(rows_max)s
        """,
        rows_max,
    )
