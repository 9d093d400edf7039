"""Orders of the operator's own: deposit and balance, cancelling, withdrawal, additional costs.

Pure. Articles 5.2, 7 and 10 of the contract; what a Devis says otherwise prevails, and is entered
with it (C07). Amounts are before VAT, which comes at the rate of each invoice's day.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

from billing import money
from csms.deadlines import OpeningHours, end_of_period, hours_deadline

DEPOSIT_RATE: Final = Decimal("0.5")  # C10
DEPOSIT_DAYS: Final = 6
BALANCE_DAYS_MAX: Final = 15
CANCELLATION_RATE: Final = Decimal("0.2")  # C16
CANCELLATION_CENTS_MIN: Final = 35_000
WITHDRAWAL_DAYS: Final = 14  # C19, clear days
REFUND_DAYS: Final = 14  # of a withdrawal (C. conso. L.221-24), of what is cancelled or paid twice
RETURN_REFUND_DAYS: Final = 30  # C17
NOTICE_HOURS: Final = 48.0  # C18


class Case(StrEnum):
    """The four cases of additional costs (article 7)."""

    NO_ACCESS = "no_access"  # (i) no immediate access to the material
    NOTHING_FOUND = "nothing_found"  # (ii) asked for, and nothing was wrong
    UNFINISHED = "unfinished"  # (iii) to finish what the client kept from being finished
    LATE_CANCELLATION = "late_cancellation"  # (iv) cancelled less than 48 working hours before


#: state, what happens -> the next state; `follow` and `diagram` of billing.payment_state read it
QUOTES: Final[dict[tuple[str, str], str]] = {
    ("draft", "accept"): "accepted",
    ("draft", "decline"): "declined",
    ("accepted", "complete"): "completed",  # installed, or the intervention done
    ("accepted", "cancel"): "cancelled",  # with the operator's agreement
    ("accepted", "withdraw"): "withdrawn",  # a distance contract, within fourteen clear days
}


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What cancelling an order comes to, before VAT."""

    cost_excl_cents: int
    deposit_excl_cents: int  # given back by a credit note, whole

    @property
    def left_excl_cents(self) -> int:
        """To the client's credit; below 0: still to be paid."""
        return self.deposit_excl_cents - self.cost_excl_cents


def deposit_excl_cents(total_excl_cents: int, rate: Decimal = DEPOSIT_RATE) -> int:
    """What is paid with the signature; with `balance_excl_cents` it is the price to the cent."""
    return money.share(total_excl_cents, rate)


def balance_excl_cents(total_excl_cents: int, rate: Decimal = DEPOSIT_RATE) -> int:
    """What is left for the day of the installation."""
    return total_excl_cents - deposit_excl_cents(total_excl_cents, rate)


def deposit_due_on(signed_on: date) -> date:
    """The last day of the deposit: six days after the signature."""
    return signed_on + timedelta(days=DEPOSIT_DAYS)


def balance_last_on(installed_on: date) -> date:
    """The balance is due on the day of the installation, and here at the latest."""
    return installed_on + timedelta(days=BALANCE_DAYS_MAX)


def cancelled(total_excl_cents: int, deposit_excl_cents: int) -> Cancelled:
    """A fifth of the order, 350 EUR at least. From 1 750 EUR on the fifth is more."""
    cost = max(money.share(total_excl_cents, CANCELLATION_RATE), CANCELLATION_CENTS_MIN)
    return Cancelled(cost, deposit_excl_cents)


def withdrawal_until(signed_on: date) -> date:
    """The last day of the client's withdrawal: fourteen clear days, the day of the signature not
    counted; one that ends on a day off ends on the next working day (C. conso. L.221-19)."""
    return end_of_period(signed_on + timedelta(days=WITHDRAWAL_DAYS))


def refund_due_on(ended_on: date) -> date:
    """By when what is to be given back is paid, after a withdrawal or a cancelling."""
    return ended_on + timedelta(days=REFUND_DAYS)


def is_late_cancellation(
    cancelled_at: datetime, planned_at: datetime, opening: OpeningHours
) -> bool:
    """Whether less than 48 working hours were left until the visit (case iv)."""
    return hours_deadline(cancelled_at, NOTICE_HOURS, opening) > planned_at
