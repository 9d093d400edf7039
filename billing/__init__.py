"""Money: from a recorded session to the statement that a client reads.

The way of the data, each arrow a table, each stage unique on the key of its source and free to run
twice; what is still to do is found by anti-join:

    session > priced_session > invoice, invoice_line, ledger_entry > receipt, receipt_share
            > statement, statement_line > dispute > (corrective documents, next statement)

Pure, with no clock and no database: money (cents), tariff (what a session costs), invoice (a
document and its arithmetic), ledger (entries and accounts), statement (figures of a month),
reckoning (from a month's facts to them), statement_state, payment_state, provider_state, orders,
late_payment, reminding (what to do about an unpaid invoice), supply (energy sold to co-owners);
sepa (files exchanged with the bank).

Over them the edges. Prices: tariffs (which holds where), pricing (the stage), live_price with
price_book (so far), preview, point_prices. Invoices: issuing is their door (charging, own_sales,
corrections, invoice_files), series numbers them, documents and parties say what stands on them,
wording and vat_rates are the law's texts and rates, facturx and invoice_* draw them on paper.
Money: books (writing the ledger), receipts with receipts_csv, checks, fec, platform; csv_lines
reads the files that people bring. Statements: closing, sending, disputes, and statement_* for their
files. Payments: payouts (to clients), collecting (direct debits), payment_files (of both, for the
bank), settling and refusals (what the bank says became of them), card_payments with providers
(invoices paid through a payment provider), late_fees. Sales of the operator's own: ordering
(quotes). Unpaid: reminders (letters), payment_blocks (who may not start, where). Co-owners whom the
operator supplies itself: lots with lots_csv (who holds what, the supply's meter), supplying with
supply_lines (bills), provisions.

billing.store is the only place with SQL. Nothing in csms below its web pages, worker, server and
command line imports billing; nothing here imports reporting.
"""
