"""Money: invoices in the name of the co-ownership, its ledger, statements and payouts.

Empty so far. It will read ended sessions from the tables of csms and write its own, unique on the
session or statement that they come from; nothing in csms imports it. Its migrations will stand in
`billing/sql`, in the one number sequence of the repository.
"""
