"""The SQL of csms: one statement, one named function, literal text; the caller owns the
transaction.

- recording: what the recorder writes; sessions, journal, desk: what people read of it and settle;
- stations, sites, tokens, quirks, keys: what people write and the gateway reads;
- static_changes: what was changed of sites, stations and points, and by whom;
- clients, contracts: what is agreed; services: what is open by it;
- happenings, notifications, deliveries, webhooks, choices: what people are told, and its proof;
- people, logins, links, failures, audit: who they are, how they get in, who did what;
- drivers, groups, driver_badges, payment_means: who charges, where, with what, and how she pays;
- paging: cursors of lists.

Lists are planned anew at every call (`prepare=False`): their filters are optional, and a generic
plan could neither choose the index nor prune partitions.
"""
