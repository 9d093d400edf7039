"""What people and machines are told of: every event, as data.

An event's data are what its text says (csms/notifications/texts); they hold no secret. Its secrets
(a link, an address other than the person's own) are sealed, and wiped once nothing waits for them.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

HOUR_S: Final = 3_600.0


class Audience(StrEnum):
    """Who is told."""

    PERSON = "person"  # the one whom it is about
    MANAGERS = "managers"  # of the client, those of the moment of delivery
    OPERATORS = "operators"  # the address of T2P_NOTIFICATION_OPERATOR_ADDRESS
    ADDRESS = "address"  # that in its data (`email`), of somebody who has no account


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """What a person may want or not, as a whole."""

    code: str
    optional: bool  # she may switch it off
    enabled: bool = True  # unless she says otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One kind of notification."""

    code: str
    category: str
    audience: tuple[Audience, ...] = (Audience.PERSON,)
    waits: bool = False  # for the end of a person's quiet hours
    repeat_s: float = 0.0  # about the same subject to the same person: once in so long; 0: always
    lasts_s: float | None = None  # worth nothing later; None: as the setting gives up
    webhook: bool = True  # machines are told too
    link: bool = False  # nothing without the link in its secret
    elsewhere: bool = False  # goes to the address in its data (`email`), which is kept as a secret
    always: bool = False  # managers of clients without the option of notifications too
    attaches: bool = False  # the statement of its data (`statement_id`) goes with the mail, as PDF


CATEGORIES: Final = {
    category.code: category
    for category in (
        Category(code="account", optional=False),
        Category(code="charging_started", optional=True),
        Category(code="charging_ended", optional=True),
        Category(code="points", optional=True),
        Category(code="reservations", optional=True),
        Category(code="badges", optional=True),
        Category(code="stations", optional=True),
        Category(code="data", optional=False),
        Category(code="contract", optional=False),
        Category(code="billing", optional=False),
    )
}

CATALOGUE: Final = {
    event.code: event
    for event in (
        # expires_at; secret: link
        Event(code="account.invited", category="account", webhook=False, link=True),
        Event(code="account.reset", category="account", webhook=False, link=True),
        # email (the new address), expires_at; secret: link
        Event(
            code="account.email_change",
            category="account",
            webhook=False,
            link=True,
            elsewhere=True,
        ),
        # email (the former address)
        Event(code="account.email_changed", category="account", webhook=False, elsewhere=True),
        Event(code="account.password_changed", category="account", webhook=False),
        # device, place
        Event(code="account.new_device", category="account", webhook=False),
        # change: set up, removed, reset (by an operator)
        Event(code="account.second_factor", category="account", webhook=False),
        Event(code="account.closed", category="account", webhook=False),
        # session_id, station_id, evse_id, site, time_zone, started_at; of an end also ended_at,
        # energy_wh, reason
        Event(code="session.started", category="charging_started", waits=True, lasts_s=2 * HOUR_S),
        Event(code="session.ended", category="charging_ended", waits=True),
        Event(code="session.interrupted", category="charging_ended"),
        # station_id, evse_id, site
        Event(code="point.free", category="points", lasts_s=HOUR_S / 2, webhook=False),
        # reservation_id, station_id, evse_id, site, time_zone, from_at, until_at; reason
        Event(code="reservation.made", category="reservations", waits=True),
        Event(code="reservation.expiring", category="reservations", lasts_s=HOUR_S / 2),
        Event(code="reservation.expired", category="reservations", waits=True),
        Event(code="reservation.cancelled", category="reservations"),
        # station_id, site, time_zone, since
        Event(
            code="station.offline",
            category="stations",
            audience=(Audience.MANAGERS, Audience.OPERATORS),
            waits=True,
            repeat_s=HOUR_S,
        ),
        Event(
            code="station.back",
            category="stations",
            audience=(Audience.MANAGERS, Audience.OPERATORS),
            waits=True,
        ),
        # also evse_id, error_code
        Event(
            code="station.faulted",
            category="stations",
            audience=(Audience.MANAGERS, Audience.OPERATORS),
            waits=True,
            repeat_s=HOUR_S,
        ),
        Event(
            code="station.repaired",
            category="stations",
            audience=(Audience.MANAGERS, Audience.OPERATORS),
            waits=True,
        ),
        # badge: as its driver calls it, or its number; of blocked also reason
        Event(code="badge.ordered", category="badges", waits=True, webhook=False),
        Event(code="badge.activated", category="badges", waits=True, webhook=False),
        Event(code="badge.blocked", category="badges", webhook=False),
        # group, client, expires_at; secret: link
        Event(code="driver.group_asked", category="account", webhook=False, link=True),
        # request (access, rectification, erasure, ...), due_on; of extended also why; of done
        # outcome instead, and secret: address (the account may be gone)
        Event(code="data.request_received", category="data", waits=True, webhook=False),
        Event(code="data.request_extended", category="data", waits=True, webhook=False),
        Event(code="data.request_done", category="data", waits=True, webhook=False),
        # request, number, due_on, late: whether that day is past
        Event(
            code="data.request_due",
            category="data",
            audience=(Audience.OPERATORS,),
            webhook=False,
        ),
        # client, contract, from_on, due_on, ends_on
        Event(
            code="contract.notice",
            category="contract",
            audience=(Audience.OPERATORS,),
            webhook=False,
        ),
        # client, month, net_cents, balance (due, carried, nothing), contest_until, link;
        # statement_id: its PDF goes with the mail
        Event(
            code="statement.available",
            category="billing",
            audience=(Audience.MANAGERS,),
            always=True,
            attaches=True,
        ),
        # as above; email (of a contact of the client's)
        Event(
            code="statement.told",
            category="billing",
            audience=(Audience.ADDRESS,),
            webhook=False,
            elsewhere=True,
            attaches=True,
        ),
        # month, due_on, missing (how many clients), clients (the first of them)
        Event(
            code="statement.due",
            category="billing",
            audience=(Audience.OPERATORS,),
            webhook=False,
        ),
        Event(
            code="statement.overdue",
            category="billing",
            audience=(Audience.OPERATORS,),
            webhook=False,
        ),
        # client, month, what (number of the invoice, or of the line), number
        Event(
            code="dispute.opened",
            category="billing",
            audience=(Audience.OPERATORS,),
            webhook=False,
        ),
        # month, what, decision (upheld, rejected), why
        Event(
            code="dispute.decided",
            category="billing",
            audience=(Audience.MANAGERS,),
            always=True,
            webhook=False,
        ),
        Event(code="owner_dispute.decided", category="billing", webhook=False),
        # invoice (its number), amount_cents, due_on (of the debit), mandate, creditor
        Event(code="debit.announced", category="billing", webhook=False),
        Event(
            code="own_debit.announced",
            category="billing",
            audience=(Audience.MANAGERS,),
            always=True,
            webhook=False,
        ),
        # invoice, amount_cents, bank_reason (ISO code, may be empty)
        Event(code="debit.returned", category="billing", webhook=False),
        # client, invoice, amount_cents (left), due_on, level (from 1 on), is_last, iban (to be paid
        # to, may be empty); of an announcement also blocked_on; of a block neither due_on nor level
        Event(code="invoice.reminded", category="billing", waits=True, webhook=False),
        Event(code="invoice.block_announced", category="billing", waits=True, webhook=False),
        Event(code="driver.blocked", category="billing", waits=True, webhook=False),
        # client
        Event(code="driver.unblocked", category="billing", webhook=False),
        Event(
            code="own_invoice.reminded",
            category="billing",
            audience=(Audience.MANAGERS,),
            always=True,
            waits=True,
            webhook=False,
        ),
        Event(code="owner_invoice.reminded", category="billing", waits=True, webhook=False),
        # client, month, amount_cents, settled_on, reference
        Event(
            code="payout.settled",
            category="billing",
            audience=(Audience.MANAGERS,),
            always=True,
        ),
        Event(
            code="payout.returned",
            category="billing",
            audience=(Audience.OPERATORS, Audience.MANAGERS),
            always=True,
            webhook=False,
        ),
        # month, due_on, missing (how many clients), amount_cents
        Event(
            code="payout.due",
            category="billing",
            audience=(Audience.OPERATORS,),
            webhook=False,
        ),
        Event(
            code="payout.overdue",
            category="billing",
            audience=(Audience.OPERATORS,),
            webhook=False,
        ),
    )
}

PING: Final = "webhook.ping"  # what the test of a webhook sends; no event of anybody

WEBHOOK_EVENTS: Final = tuple(code for code, event in CATALOGUE.items() if event.webhook)
