"""The management contract of a client: its term, its notices, its state, and what ends it.

Source: articles 5.4 to 7 of the general terms (version 25/05/2022), read for the client where they
contradict each other. Days are dates in Europe/Paris; `ends_on` is always the last day on which
the contract is in force. Money is integer cents excluding VAT.

Three classes of clients exist, the terms know two: a syndicat de copropriétaires is neither a
particulier nor a professional (T7).

Term and renewal. The Devis prevails, so the term is a number of months in the contract: 24 for a
particulier, 36 for a professional, and whatever the Devis says for a non_professionnel. It is
renewed by the same period. The client may refuse the renewal until three months before an
anniversary: each year's for a particulier, although the term is 24 months (article 6 says both;
read for the consumer, Code de la consommation L.211-1), the end of each period for the others.

Information. Consumers and non-professionals are told of that possibility (L.215-1): not earlier
than three months and not later than one month before the last day for the refusal, which is
between six and four months before the anniversary. Without that letter the client may leave free
of charge on any day from the renewal on.

Notices of ours (article 6, for a breach by the client) count from the receipt of the registered
letter, the day of receipt not counted: seven days to a suspension, one month to the end.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final, NamedTuple

from csms.domain.values import add_months

_DAY: Final = timedelta(days=1)

NOTICE_MONTHS: Final = 3  # before the anniversary
LETTER_FIRST_MONTHS: Final = 3  # before the last day of the notice, L.215-1
LETTER_LAST_MONTHS: Final = 1
SUSPENSION_NOTICE_DAYS: Final = 7
TERMINATION_NOTICE_MONTHS: Final = 1
TERM_MONTHS_MAX: Final = 240


class ClientClass(StrEnum):
    """Whom the law protects how far; see the module."""

    PARTICULIER = "particulier"
    NON_PROFESSIONNEL = "non_professionnel"
    PROFESSIONNEL = "professionnel"


TERM_MONTHS: Final[dict[ClientClass, int | None]] = {
    ClientClass.PARTICULIER: 24,
    ClientClass.NON_PROFESSIONNEL: None,  # as the Devis says
    ClientClass.PROFESSIONNEL: 36,
}


class State(StrEnum):
    """Where a contract stands."""

    DRAFT = "draft"  # not signed, or not begun
    ACTIVE = "active"
    SUSPENDED = "suspended"
    NOTICE_GIVEN = "notice_given"
    SUSPENDED_NOTICE_GIVEN = "suspended_notice_given"
    ENDED = "ended"
    CLOSED = "closed"  # and settled: nothing is due any more


class Kind(StrEnum):
    """What can happen to a contract, in the order in which it happens within a day."""

    START = "start"
    RESUME = "resume"
    SUSPEND = "suspend"
    WITHDRAW = "withdraw notice"
    NOTICE = "give notice"
    END = "end"
    CLOSE = "close"


TRANSITIONS: Final[dict[tuple[State, Kind], State]] = {
    (State.DRAFT, Kind.START): State.ACTIVE,
    (State.DRAFT, Kind.CLOSE): State.CLOSED,
    (State.ACTIVE, Kind.SUSPEND): State.SUSPENDED,
    (State.ACTIVE, Kind.NOTICE): State.NOTICE_GIVEN,
    (State.SUSPENDED, Kind.RESUME): State.ACTIVE,
    (State.SUSPENDED, Kind.NOTICE): State.SUSPENDED_NOTICE_GIVEN,
    (State.NOTICE_GIVEN, Kind.SUSPEND): State.SUSPENDED_NOTICE_GIVEN,
    (State.NOTICE_GIVEN, Kind.WITHDRAW): State.ACTIVE,
    (State.NOTICE_GIVEN, Kind.NOTICE): State.NOTICE_GIVEN,  # to an earlier end
    (State.NOTICE_GIVEN, Kind.END): State.ENDED,
    (State.SUSPENDED_NOTICE_GIVEN, Kind.RESUME): State.NOTICE_GIVEN,
    (State.SUSPENDED_NOTICE_GIVEN, Kind.WITHDRAW): State.SUSPENDED,
    (State.SUSPENDED_NOTICE_GIVEN, Kind.NOTICE): State.SUSPENDED_NOTICE_GIVEN,
    (State.SUSPENDED_NOTICE_GIVEN, Kind.END): State.ENDED,
    (State.ENDED, Kind.CLOSE): State.CLOSED,
}

IN_FORCE: Final = frozenset(
    {State.ACTIVE, State.SUSPENDED, State.NOTICE_GIVEN, State.SUSPENDED_NOTICE_GIVEN}
)
SERVED: Final = frozenset({State.ACTIVE, State.NOTICE_GIVEN})  # drivers may start


class Closure(NamedTuple):
    """Time during which no driver may start at a client's stations; moments are aware."""

    from_at: datetime
    to_at: datetime | None  # not included; None: until further notice
    reason: str  # suspended | ended


class Suspension(NamedTuple):
    """Days without service, `until_on` not included; equal days: it never took effect."""

    from_on: date
    until_on: date | None  # None: until further notice


@dataclass(frozen=True, slots=True)
class Contract:
    """What decides the dates of a contract."""

    client_class: ClientClass
    signed_on: date | None
    starts_on: date
    term_months: int
    suspensions: tuple[Suspension, ...] = ()
    notice_on: date | None = None  # the day that counts for the notice, the client's or ours
    ends_on: date | None = None  # the last day; None: no notice was given
    closed_on: date | None = None
    letters_on: tuple[date, ...] = ()  # when the client was told of his right (L.215-1)
    mandate_from_on: date | None = None
    mandate_revoked_on: date | None = None  # from this day on no invoice in the client's name


@dataclass(frozen=True, slots=True)
class Terms:
    """What the Devis says of money, from a day on until another, which is not included."""

    from_on: date
    to_on: date | None
    commission_rate: Decimal = Decimal(0)
    monthly_management_fee_cents: int = 0
    yearly_subscription_cents: int = 0
    monthly_telemetering_cents: int = 0  # owed by each connected co-owner, not by the client
    energy_price_eur_per_kwh: Decimal | None = None


class Leaving(NamedTuple):
    """What a client's notice brings about."""

    ends_on: date
    anniversary_on: date | None  # None: free to leave on any day
    free: bool  # by L.215-1, for want of the letter


class Due(NamedTuple):
    """A sum that would have fallen due."""

    on: date
    what: str  # subscription | management_fee
    amount_cents: int


class Indemnity(NamedTuple):
    """What article 6 makes of an early end; computed, never posted by itself: a judge may reduce
    it (Code civil 1231-5)."""

    leaves_on: date
    term_on: date  # the last day to which sums would have been paid
    lines: tuple[Due, ...]
    total_cents: int
    why: str  # early | in_time | free


class Milestone(NamedTuple):
    """A day of a contract's calendar."""

    on: date
    kind: str  # see `calendar`
    anniversary_on: date | None


def state_at(contract: Contract, day: date) -> State:
    """The contract's state on a day, by the table. What the table does not know changes nothing:
    a suspension after the end, a start of what was closed as a draft."""
    state = State.DRAFT
    for on, kind in sorted(_happenings(contract), key=lambda each: (each[0], _ORDER[each[1]])):
        if on <= day:
            state = TRANSITIONS.get((state, kind), state)
    return state


def may(state: State, kind: Kind) -> bool:
    """Whether this can happen to a contract in that state."""
    return (state, kind) in TRANSITIONS


def step_months(contract: Contract) -> int:
    """Months between the anniversaries to which the client may give notice."""
    return 12 if contract.client_class is ClientClass.PARTICULIER else contract.term_months


def anniversary(contract: Contract, number: int) -> date:
    """The `number`th day, from 1, on which the contract goes on unless notice was given."""
    return add_months(contract.starts_on, number * step_months(contract))


def notice_deadline(anniversary_on: date) -> date:
    """The last day for the client's notice to an anniversary."""
    return add_months(anniversary_on, -NOTICE_MONTHS)


def letter_window(anniversary_on: date) -> tuple[date, date]:
    """The first and the last day of the letter that L.215-1 asks for, both included."""
    last = notice_deadline(anniversary_on)
    return add_months(last, -LETTER_FIRST_MONTHS), add_months(last, -LETTER_LAST_MONTHS)


def letter_due(contract: Contract) -> bool:
    """Whether the client has a right to that letter."""
    return contract.client_class is not ClientClass.PROFESSIONNEL


def was_told(contract: Contract, anniversary_on: date) -> bool:
    """Whether a letter reached the client in the window before the anniversary."""
    first, last = letter_window(anniversary_on)
    return any(first <= sent <= last for sent in contract.letters_on)


def term_on(contract: Contract, day: date) -> date:
    """The last day of the period that runs on a day; of the first one before the start."""
    number = 1
    while add_months(contract.starts_on, number * contract.term_months) <= day:
        number += 1
    return add_months(contract.starts_on, number * contract.term_months) - _DAY


def free_to_leave(contract: Contract, day: date) -> bool:
    """Whether the client may leave on any day, free of charge, since the contract went on at its
    last anniversary without the letter (L.215-1, second paragraph)."""
    if not letter_due(contract):
        return False
    last = _last_anniversary(contract, day)
    return last is not None and not was_told(contract, last)


def leaving(contract: Contract, notified_on: date) -> Leaving:
    """What the client's notice of a day brings about: the first end that it is in time for.

    `notified_on` is the day of the postmark where it is known, else that of receipt: the client's
    rights are read at their widest.
    """
    if free_to_leave(contract, notified_on):
        return Leaving(notified_on, None, True)
    number = 1
    while notice_deadline(anniversary(contract, number)) < notified_on:
        number += 1
    found = anniversary(contract, number)
    return Leaving(found - _DAY, found, False)


def suspension_from(received_on: date) -> date:
    """The first day that the operator may suspend after the letter's receipt: seven whole days,
    that of receipt not counted, must have passed."""
    return received_on + timedelta(days=SUSPENSION_NOTICE_DAYS + 1)


def termination_on(received_on: date) -> date:
    """The last day of a contract that the operator ends: one month after the letter's receipt."""
    return add_months(received_on, TERMINATION_NOTICE_MONTHS)


def indemnity(
    contract: Contract, terms: Sequence[Terms], *, notified_on: date, leaves_on: date
) -> Indemnity:
    """What the client owes who leaves on a day (his last one), his notice being of another.

    The sums that would have been paid until the end that the notice is in time for: the yearly
    subscription, due on each anniversary of the start, and the monthly management fee, due on each
    month's. What depends on use (commission) and what others owe (telemetering) is not among them.
    Each is the one of the terms in force on its day; nothing is rounded.
    """
    right = leaving(contract, notified_on)
    if right.free or leaves_on >= right.ends_on:
        return Indemnity(leaves_on, right.ends_on, (), 0, "free" if right.free else "in_time")
    lines = tuple(due for due in _instalments(contract, terms, right.ends_on) if due.on > leaves_on)
    total_cents = sum(due.amount_cents for due in lines)
    return Indemnity(leaves_on, right.ends_on, lines, total_cents, "early")


def terms_at(terms: Iterable[Terms], day: date) -> Terms | None:
    """The terms in force on a day; None when there are none."""
    for each in terms:
        if each.from_on <= day and (each.to_on is None or day < each.to_on):
            return each
    return None


def mandated(contract: Contract, day: date) -> bool:
    """Whether invoices of that day are ours to issue and to collect in the client's name (C23)."""
    return (
        contract.mandate_from_on is not None
        and contract.mandate_from_on <= day
        and (contract.mandate_revoked_on is None or day < contract.mandate_revoked_on)
        and state_at(contract, day) in IN_FORCE
    )


def closed_at(closures: Iterable[Closure], moment: datetime) -> Closure | None:
    """The closure that is in force at a moment; None: drivers may start."""
    for closure in closures:
        if closure.from_at <= moment and (closure.to_at is None or moment < closure.to_at):
            return closure
    return None


def calendar(contract: Contract, from_on: date, to_on: date) -> list[Milestone]:
    """What falls on the days from `from_on` up to and including `to_on`, in order.

    Kinds: start, letter_from and letter_until (the window of L.215-1), notice_deadline, renewal,
    suspension, resumption, end. No anniversary after the end counts.
    """
    found = [Milestone(contract.starts_on, "start", None)]
    for suspension in contract.suspensions:
        if suspension.from_on != suspension.until_on:
            found.append(Milestone(suspension.from_on, "suspension", None))
            if suspension.until_on is not None:
                found.append(Milestone(suspension.until_on, "resumption", None))
    if contract.ends_on is not None:
        found.append(Milestone(contract.ends_on, "end", None))
    number = 1
    while letter_window(anniversary(contract, number))[0] <= to_on:
        on = anniversary(contract, number)
        number += 1
        if contract.ends_on is not None and on > contract.ends_on:
            break
        first, last = letter_window(on)
        if letter_due(contract):
            found += [Milestone(first, "letter_from", on), Milestone(last, "letter_until", on)]
        found += [
            Milestone(notice_deadline(on), "notice_deadline", on),
            Milestone(on, "renewal", on),
        ]
    return sorted(each for each in found if from_on <= each.on <= to_on)


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.DRAFT.value}"]
    for (state, kind), after in TRANSITIONS.items():
        lines.append(f"    {state.value} --> {after.value}: {kind.value}")
    return "\n".join(lines)


_ORDER: Final = {kind: place for place, kind in enumerate(Kind)}


def _happenings(contract: Contract) -> Iterator[tuple[date, Kind]]:
    """The days of a contract; an end takes effect on the day after its last."""
    if contract.signed_on is not None:
        yield contract.starts_on, Kind.START
    for suspension in contract.suspensions:
        if suspension.from_on != suspension.until_on:
            yield suspension.from_on, Kind.SUSPEND
            if suspension.until_on is not None:
                yield suspension.until_on, Kind.RESUME
    if contract.ends_on is not None:
        noticed_on = contract.notice_on or contract.ends_on
        yield max(contract.starts_on, min(noticed_on, contract.ends_on)), Kind.NOTICE
        yield contract.ends_on + _DAY, Kind.END
    if contract.closed_on is not None:
        yield contract.closed_on, Kind.CLOSE


def _last_anniversary(contract: Contract, day: date) -> date | None:
    """The last one up to and including the day; None before the first."""
    found = None
    number = 1
    while (on := anniversary(contract, number)) <= day:
        found = on
        number += 1
    return found


def _instalments(contract: Contract, terms: Sequence[Terms], ends_on: date) -> Iterator[Due]:
    """Everything that falls due from the start to the end, in order."""
    month = 0
    while (on := add_months(contract.starts_on, month)) <= ends_on:
        agreed = terms_at(terms, on)
        if agreed is not None:
            if month % 12 == 0 and agreed.yearly_subscription_cents:
                yield Due(on, "subscription", agreed.yearly_subscription_cents)
            if agreed.monthly_management_fee_cents:
                yield Due(on, "management_fee", agreed.monthly_management_fee_cents)
        month += 1
