"""Notifications: one way from what happened to whoever is to know.

    announce, detection > notification        (in the transaction that makes it true; by anti-join)
    recipients          > notification_delivery (who, on which way, not before when)
    delivery            > mail, webhooks       (claimed, tried, tried again, sent or given up)

catalogue says what there is to tell, texts/ in which words, rendering makes a mail of them.

Once. An event is one row by its key, a delivery one row by its recipient. A worker claims a
delivery by a row lock and a lease, sends it without any lock, and records what came of it; no two
workers hold one at a time. After the server's final 250 was recorded it is never sent again. A
process that dies between that 250 and the record, or a connection that is cut in that moment,
leaves it in doubt: it is sent again, with the same Message-ID, by which mail programs and people
see that it is the same. So: at least once, and more than once only out of such a doubt.
"""

from csms.notifications.announcing import announce

__all__ = ["announce"]
