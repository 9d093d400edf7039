-- Views of billing; rebuilt after every migration.

-- What drivers owe on each invoice in a client's name: the document with all that corrects it, less
-- what was received for it. `invoice_id` is that of the first document; money is for the whole.
CREATE VIEW invoice_open WITH (security_invoker = true) AS
SELECT i.id AS invoice_id, i.client_id, i.person_id, i.number, i.month, i.issued_on, i.due_on,
       b.billed_cents, p.paid_cents, b.billed_cents - p.paid_cents AS open_cents
  FROM invoice i
 CROSS JOIN LATERAL (SELECT i.effect_cents + coalesce(sum(c.effect_cents), 0)::bigint AS billed_cents
                       FROM invoice c WHERE c.original_id = i.id) b
 CROSS JOIN LATERAL (SELECT coalesce(sum(s.amount_cents), 0)::bigint AS paid_cents
                       FROM receipt_share s WHERE s.invoice_id = i.id) p
 WHERE i.issuer = 'client' AND i.original_id IS NULL;

-- The same by session, in the order of the lines: what it costs after the last 380 or 384, less the
-- credits since (a 384 says all that is left, a 381 gives sessions back), and what was received.
CREATE VIEW invoice_session_open WITH (security_invoker = true) AS
SELECT i.id AS invoice_id, i.client_id, i.person_id, l.session_id, l.position, l.price_cents,
       p.paid_cents, l.price_cents - p.paid_cents AS open_cents
  FROM invoice i
 CROSS JOIN LATERAL (
       SELECT d.session_id, coalesce(min(d.position) FILTER (WHERE d.id = d.base_id), 0) AS position,
              sum(CASE WHEN d.id = d.base_id THEN d.amount_incl_cents
                       WHEN d.id > d.base_id THEN -d.amount_incl_cents ELSE 0 END)::bigint
              AS price_cents
         FROM (SELECT c.id, n.session_id, n.position, n.amount_incl_cents,
                      max(c.id) FILTER (WHERE c.type_code <> 381) OVER () AS base_id
                 FROM invoice c JOIN invoice_line n ON n.invoice_id = c.id
                WHERE c.id = i.id OR c.original_id = i.id) d
        GROUP BY d.session_id) l
 CROSS JOIN LATERAL (SELECT coalesce(sum(s.amount_cents), 0)::bigint AS paid_cents
                       FROM receipt_share s
                      WHERE s.invoice_id = i.id AND s.session_id = l.session_id) p
 WHERE i.issuer = 'client' AND i.original_id IS NULL;

-- What clients owe of each invoice of the operator's: less what statements set off, and what they paid.
CREATE VIEW own_invoice_open WITH (security_invoker = true) AS
SELECT i.id AS invoice_id, i.client_id, i.number, i.month, i.issued_on, i.due_on,
       i.effect_cents + c.cents + o.cents - r.cents AS open_cents
  FROM invoice i
 CROSS JOIN LATERAL (SELECT coalesce(sum(effect_cents), 0)::bigint AS cents
                       FROM invoice WHERE original_id = i.id) c
 CROSS JOIN LATERAL (SELECT coalesce(sum(amount_cents), 0)::bigint AS cents
                       FROM statement_line
                      WHERE invoice_id = i.id AND kind IN ('offset', 'own_sale')) o
 CROSS JOIN LATERAL (SELECT coalesce(sum(amount_cents), 0)::bigint AS cents
                       FROM own_receipt WHERE invoice_id = i.id) r
 WHERE i.issuer = 'operator' AND i.person_id IS NULL AND i.original_id IS NULL
   AND i.effect_cents > 0;

-- What co-owners owe of each of the operator's documents to them: less what of their provision was
-- used for it, and what they paid. Below 0: to be given back.
CREATE VIEW supply_invoice_open WITH (security_invoker = true) AS
SELECT i.id AS invoice_id, i.client_id, i.person_id, i.number, i.month, i.issued_on, i.due_on,
       i.effect_cents + c.cents + u.cents - r.cents AS open_cents
  FROM invoice i
 CROSS JOIN LATERAL (SELECT coalesce(sum(effect_cents), 0)::bigint AS cents
                       FROM invoice WHERE original_id = i.id) c
 CROSS JOIN LATERAL (SELECT coalesce(sum(amount_cents), 0)::bigint AS cents
                       FROM supply_provision WHERE invoice_id = i.id AND kind = 'used') u
 CROSS JOIN LATERAL (SELECT coalesce(sum(amount_cents), 0)::bigint AS cents
                       FROM own_receipt WHERE invoice_id = i.id) r
 WHERE i.issuer = 'operator' AND i.person_id IS NOT NULL AND i.original_id IS NULL;

-- What clients are to be given back of the operator's invoices: paid beyond them, or credited since.
-- What a statement deducts is given back by a statement (commissions, fees), whichever invoice its
-- credit note names. since_on: the day of the last payment or credit note.
CREATE VIEW own_refund WITH (security_invoker = true) AS
SELECT o.invoice_id, o.number, o.client_id, x.amount_cents,
       greatest(o.issued_on,
                (SELECT max(issued_on) FROM invoice WHERE original_id = o.invoice_id),
                (SELECT max(received_on) FROM own_receipt
                  WHERE invoice_id = o.invoice_id AND amount_cents > 0)) AS since_on
  FROM own_invoice_open o
 CROSS JOIN LATERAL (
       SELECT -o.open_cents - coalesce(sum(l.amount_incl_cents), 0)::bigint AS amount_cents
         FROM invoice c JOIN invoice_line l ON l.invoice_id = c.id
         JOIN own_sale s ON s.id = l.own_sale_id AND s.kind IN ('commission', 'management_fee')
        WHERE c.original_id = o.invoice_id) x
 WHERE o.open_cents < 0 AND x.amount_cents > 0;

-- All of them, for whoever pays them; person_id null: the client pays. is_own: the operator's, paid to
-- its own account.
CREATE VIEW payable_invoice WITH (security_invoker = true) AS
SELECT invoice_id, client_id, person_id, false AS is_own, number, due_on, open_cents
  FROM invoice_open
 UNION ALL
SELECT invoice_id, client_id, NULL, true, number, due_on, open_cents FROM own_invoice_open
 UNION ALL
SELECT invoice_id, client_id, person_id, true, number, due_on, open_cents FROM supply_invoice_open;

GRANT SELECT ON invoice_open, invoice_session_open, own_invoice_open, supply_invoice_open,
    own_refund, payable_invoice TO t2p_service;
GRANT SELECT ON supply_invoice_open TO t2p_app;

-- Invoices that nobody is asked for meanwhile: contested (themselves, or by their line on a
-- statement), or being debited.
CREATE VIEW paused_invoice WITH (security_invoker = true) AS
SELECT invoice_id, true AS is_contested, false AS is_debited
  FROM dispute WHERE decided_at IS NULL AND invoice_id IS NOT NULL
 UNION ALL
SELECT l.invoice_id, true, false
  FROM dispute d JOIN statement_line l ON l.id = d.statement_line_id
 WHERE d.decided_at IS NULL AND l.invoice_id IS NOT NULL
 UNION ALL
SELECT invoice_id, false, true FROM direct_debit WHERE status IN ('notified', 'sent');

-- What keeps drivers from starting at a client's stations now: a block that is open, as far as an
-- invoice that it was set for is pursued still. One that is paid counts no more in that moment, and
-- the operator's own count never.
CREATE VIEW standing_block WITH (security_invoker = true) AS
SELECT b.id AS block_id, b.person_id, b.client_id, b.from_at, o.invoice_id, o.number, o.due_on,
       o.open_cents
  FROM payment_block b
  JOIN payable_invoice o ON o.client_id = b.client_id AND o.person_id = b.person_id
   AND NOT o.is_own
   AND o.invoice_id IN (SELECT c.invoice_id FROM payment_block_cause c WHERE c.block_id = b.id)
 WHERE b.until_at IS NULL AND o.open_cents >= b.min_cents
   AND NOT EXISTS (SELECT FROM paused_invoice p WHERE p.invoice_id = o.invoice_id);

GRANT SELECT ON paused_invoice, standing_block TO t2p_service;
