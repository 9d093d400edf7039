"""Checks of what is supplied to co-owners: documents beside what they bill, provisions beside the
books."""

from psycopg import AsyncConnection

from billing.store.checking import offences
from csms.store.checking import Offence


async def documents_beside_sources(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Documents to co-owners that are not what was billed: another amount, buyer or energy than
    their invoice and sessions have, or invoices to co-owners without one."""
    return await offences(
        connection,
        """
        WITH used AS (
            SELECT invoice_id, sum(energy_wh) AS wh FROM supply_session GROUP BY invoice_id)
        SELECT 'invoice ' || i.number AS subject,
               format('%%s cents and %%s Wh, its sources have %%s and %%s', i.effect_cents,
                      coalesce(d.energy_wh, 0), coalesce(d.amount_incl_cents, 0),
                      coalesce(u.wh, 0)) AS detail, count(*) OVER () AS total
          FROM invoice i
          LEFT JOIN supply_document d ON d.invoice_id = i.id
          LEFT JOIN used u ON u.invoice_id = i.id
          LEFT JOIN lot_holding h ON h.id = d.holding_id
         WHERE i.issuer = 'operator' AND i.person_id IS NOT NULL
           AND ((i.client_id, i.person_id, i.effect_cents)
                IS DISTINCT FROM (d.client_id, h.person_id, d.amount_incl_cents)
                OR d.energy_wh IS DISTINCT FROM coalesce(u.wh, 0)
                OR d.kind = 'bill' AND i.effect_cents - i.effect_vat_cents
                                       <> d.energy_excl_cents + d.telemetering_excl_cents)
         ORDER BY i.id LIMIT %(rows_max)s
        """,
        rows_max,
    )


async def provisions_beside_books(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Provisions of another sum than the books have, or below 0; and VAT of them likewise."""
    return await offences(
        connection,
        """
        WITH kept AS (
            SELECT 'provision:' || client_id || ':' || person_id AS code, sum(amount_cents) AS cents
              FROM supply_provision GROUP BY 1
            UNION ALL SELECT 'vat:advances', -sum(vat_cents) FROM supply_provision),
        booked AS (
            SELECT a.code, -sum(p.amount_cents) AS cents
              FROM ledger_posting p JOIN ledger_account a ON a.id = p.account_id
             WHERE a.code LIKE 'provision:%%' OR a.code = 'vat:advances' GROUP BY a.code),
        wrong AS (
            SELECT code, coalesce(k.cents, 0) AS kept, coalesce(b.cents, 0) AS booked
              FROM kept k FULL JOIN booked b USING (code)
             WHERE coalesce(k.cents, 0) <> coalesce(b.cents, 0)
            UNION ALL
            SELECT 'holding ' || holding_id, sum(amount_cents), 0
              FROM supply_provision GROUP BY holding_id HAVING sum(amount_cents) < 0)
        SELECT code AS subject, format('%%s cents, in the books %%s', kept, booked) AS detail,
               count(*) OVER () AS total
          FROM wrong ORDER BY code LIMIT %(rows_max)s
        """,
        rows_max,
    )
