"""What to do about an invoice that is not paid: a reminder, the notice of a block, the block.

Pure; one day and one invoice in, one step out. An invoice is pursued while enough of it is left, as
long as nobody contests it and no direct debit of it is under way; what is not pursued reminds
nobody and blocks nobody. Days past due are counted from the day on which it was due, or was due
anew: money that came back and a dispute that was decided begin it again, with the first reminder.

Every letter is sent once, on a working day, none within so many days of the one before; after an
outage the latest reminder that is due goes out alone. Nobody is blocked without a notice that names
the day, and that has reached her so many days before. The operator's own invoices are reminded of
in the same way, and block nobody.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from csms.deadlines import Days, add_days, counts, next_day


class Kind(StrEnum):
    """What there is to do."""

    NOTHING = "nothing"
    REMIND = "remind"
    ANNOUNCE = "announce"
    BLOCK = "block"
    CLEAR = "clear"


#: state, what happens -> the next state; `follow` and `diagram` of billing.payment_state read it
REMINDERS: Final[dict[tuple[str, str], str]] = {
    ("due", "remind"): "reminded",
    ("reminded", "remind"): "reminded",  # the next level
    ("reminded", "announce"): "announced",  # after the last one
    ("announced", "block"): "blocked",  # on the day that the notice named, or later
    ("blocked", "clear"): "clear",  # paid, contested, being debited
}


@dataclass(frozen=True, slots=True)
class Rules:
    """The operator's settings. `reminder_days`: calendar days past due of each level, rising."""

    reminder_days: tuple[int, ...]
    pause_days: int  # between two letters about an invoice, at least
    notice_days: int  # between the notice and the block, at least
    min_cents: int  # less than this is not asked for

    @property
    def levels(self) -> int:
        """How many reminders there are."""
        return len(self.reminder_days)


class Letter(NamedTuple):
    """A reminder, its level from 1 on; or the notice (level 0), with the day of the block."""

    level: int
    sent_on: date
    takes_effect_on: date | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """An invoice and what was done about it since it is due."""

    due_on: date  # or due anew
    left_cents: int
    is_contested: bool = False
    is_debited: bool = False  # a direct debit of it is under way
    letters: Sequence[Letter] = ()
    told_on: date | None = None  # when the notice reached her; None: no proof of it
    is_blocked: bool = False  # for this invoice
    is_waived: bool = False  # a person lifted the block of this notice: it blocks no more
    blocks: bool = True  # false: an invoice of the operator's own

    @property
    def level(self) -> int:
        """Of the last reminder; 0: there was none."""
        return max((letter.level for letter in self.letters), default=0)

    @property
    def notice(self) -> Letter | None:
        """The notice, where it was given."""
        return next((one for one in self.letters if one.takes_effect_on is not None), None)


class Step(NamedTuple):
    """What is to be done now; `level` of a reminder, `takes_effect_on` of a notice."""

    kind: Kind
    level: int = 0
    takes_effect_on: date | None = None


NOTHING: Final = Step(Kind.NOTHING)


def is_pursued(claim: Claim, rules: Rules) -> bool:
    """Whether enough is left, and nothing stands against asking for it."""
    enough = claim.left_cents >= max(1, rules.min_cents)
    return enough and not claim.is_contested and not claim.is_debited


def state(claim: Claim) -> str:
    """Where the invoice stands, as the table names it."""
    if claim.is_blocked:
        return "blocked"
    if claim.notice is not None:
        return "announced"
    return "reminded" if claim.level else "due"


def next_step(claim: Claim, today: date, rules: Rules) -> Step:
    """What is to be done about the invoice on this day in Paris: one thing at most. A second call
    on the same day, what the first said being done, says NOTHING but where a block is cleared."""
    if not is_pursued(claim, rules):
        return Step(Kind.CLEAR) if claim.is_blocked else NOTHING
    if claim.is_blocked or not counts(today, Days.OUVRE):
        return NOTHING
    last_on = max((letter.sent_on for letter in claim.letters), default=None)
    if last_on is not None and today <= last_on:
        return NOTHING
    if claim.notice is not None:
        return _after_notice(claim, claim.notice, today, rules)
    if last_on is not None and (today - last_on).days < rules.pause_days:
        return NOTHING
    level = _level_due((today - claim.due_on).days, rules)
    if level > claim.level:
        return Step(Kind.REMIND, level)
    if claim.blocks and claim.level and claim.level == rules.levels:
        return Step(Kind.ANNOUNCE, takes_effect_on=block_day(today, rules))
    return NOTHING


def block_day(today: date, rules: Rules) -> date:
    """When a block takes effect of which notice is given today: a working day."""
    return next_day(add_days(today, max(1, rules.notice_days), Days.CALENDAR), Days.OUVRE)


def _after_notice(claim: Claim, notice: Letter, today: date, rules: Rules) -> Step:
    assert notice.takes_effect_on is not None
    if not claim.blocks or claim.is_waived or claim.told_on is None:
        return NOTHING
    # Notice that was given under shorter rules is prolonged by longer ones, never the reverse.
    first = max(notice.takes_effect_on, claim.told_on + timedelta(rules.notice_days))
    return Step(Kind.BLOCK) if today >= first else NOTHING


def _level_due(days: int, rules: Rules) -> int:
    """The last level that is due so many days past due; 0: none."""
    return sum(days >= each for each in rules.reminder_days)
