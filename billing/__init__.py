"""Money: from a recorded session to the statement that a client reads.

The way of the data, each arrow a table, each stage unique on the key of its source and free to run
twice; what is still to do is found by anti-join:

    session > priced_session > invoice, invoice_line, ledger_entry > receipt, receipt_share
            > statement, statement_line > dispute > (corrective documents, next statement)

Pure, with no clock and no database: money (cents), tariff (what a session costs), invoice (a
document and its arithmetic), ledger (entries and accounts), statement (figures of a month). Over
them the edges: tariffs, pricing, issuing (charging, own_sales, corrections; numbered by series),
books, receipts, closing, disputes, checks; files for people (statement_files, invoice_pdf, facturx)
and for machines (platform, fec). billing.store is the only place with SQL. Nothing in csms below
its web pages, worker and command line imports billing; nothing here imports reporting.
"""
