"""From the facts of a month to its statement: every rule of the sums, in one place.

Pure. The order is that of the contract's article 5.4 c: from what was collected, the commission,
then the management fees, then what is set off. The contract numbers a third deduction and leaves it
empty: there is none.

- Collected is what was booked in the month, or earlier and is on no statement yet; what is taken
  back counts below 0. What a correction gave back to a driver is an adjustment, not a collection.
- Commission: the rate of the terms in force on the day of collection, on the collected with its
  VAT, corrections counted; what is taken back counts at the rate that had been taken of it; rounded
  half up once for each rate; the operator's VAT comes on top.
- Set off are only other invoices of the operator's that are past due and not contested (Code civil,
  1347-1), as far as the net reaches.
- Held back is only what is contested before its first statement, and let go with its decision.
- A net below 0 is carried over; it is never a transfer from the client.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from billing import money
from billing.statement import (
    Adjustment,
    Commission,
    Fee,
    PointFigures,
    Previous,
    Statement,
    UserFigures,
    VatCollected,
)

VatParts = tuple[tuple[Decimal, int, int], ...]  # of a session: percent, gross and VAT of a rate


@dataclass(frozen=True, slots=True)
class Charged:
    """A session that is told on this statement for the first time."""

    session_id: int
    station_id: str
    point: str
    site: str
    person_id: int
    user: str
    energy_wh: int
    amount_cents: int
    collected_cents: int  # until the month's end


@dataclass(frozen=True, slots=True)
class Share:
    """Money that came in for a session, or went back (below 0), in the order of the books."""

    id: int
    session_id: int
    amount_cents: int
    rate: Decimal  # of the commission, a fraction: 0.08
    correction_id: int | None  # the document that gave it back
    before_cents: int  # of the session, on earlier statements
    vat: VatParts


@dataclass(frozen=True, slots=True)
class Sold:
    """A line of the operator's invoices to the client, VAT on top."""

    own_sale_id: int
    kind: str
    label: str
    source_key: str
    excl_cents: int
    vat_cents: int
    incl_cents: int
    invoice_id: int
    invoice_number: str


@dataclass(frozen=True, slots=True)
class Correction:
    """A 381 or 384 that is on no statement yet; what it gave back is among the shares."""

    invoice_id: int
    number: str
    reason: str
    month: date  # of what it corrects


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the statement of a client's month is made from."""

    client_id: int
    client_name: str
    legal_name: str
    month: date
    contract_reference: str
    opening_cents: int  # never above 0
    uncollected_cents: int
    charged: Sequence[Charged]
    shares: Sequence[Share]
    sold: Sequence[Sold]  # that are deducted
    corrections: Sequence[Correction]
    past_due_cents: int  # of other invoices of the operator's
    held_cents: int
    released_cents: int
    previous: Previous | None
    is_simulated: bool


def commission_bases(shares: Sequence[Share]) -> dict[Decimal, int]:
    """What the commission of each rate is of, in cents; may be below 0."""
    bases: dict[Decimal, int] = defaultdict(int)
    for share in shares:
        bases[share.rate] += share.amount_cents
    return dict(bases)


def commission_cents(rate: Decimal, base_cents: int) -> int:
    """The commission before VAT, rounded half up once."""
    return money.share(base_cents, rate)


def commission_key(client_id: int, month: date, rate: Decimal) -> str:
    """Names the sale of a month's commission, so that it is made once."""
    return f"commission:{client_id}:{month:%Y-%m}:{rate.normalize():f}"


def own_cents(facts: Facts) -> int:
    """What of the money held for the client this statement disposes of: collected, corrected, held
    back and let go."""
    return (
        sum(share.amount_cents for share in facts.shares) - facts.held_cents + facts.released_cents
    )


def before_offset_cents(facts: Facts) -> int:
    """The net, were nothing set off."""
    deducted = sum(one.incl_cents for one in facts.sold)
    return facts.opening_cents + own_cents(facts) - deducted


def offset_cents(facts: Facts) -> int:
    """What is set off of other invoices past due: as far as the net reaches, never below 0."""
    return max(0, min(facts.past_due_cents, before_offset_cents(facts)))


def compute(facts: Facts) -> Statement:
    """The statement."""
    assert facts.opening_cents <= 0, facts.opening_cents
    offset = offset_cents(facts)
    return Statement(
        client_id=facts.client_id,
        client_name=facts.client_name,
        legal_name=facts.legal_name,
        month=facts.month,
        contract_reference=facts.contract_reference,
        opening_cents=facts.opening_cents,
        collected_cents=sum(s.amount_cents for s in facts.shares if s.correction_id is None),
        uncollected_cents=facts.uncollected_cents,
        commission=_commission(facts),
        fees=tuple(
            Fee(s.label, s.excl_cents, s.vat_cents, s.incl_cents, s.invoice_number)
            for s in facts.sold
            if s.kind != "commission"
        ),
        offset_cents=offset,
        adjustments=adjustments(facts),
        disputed_cents=facts.held_cents - facts.released_cents,
        vat_collected=vat_collected(facts.shares),
        net_cents=before_offset_cents(facts) - offset,
        points=_points(facts.charged),
        users=_users(facts.charged),
        sessions=len(facts.charged),
        energy_wh=sum(one.energy_wh for one in facts.charged),
        billed_cents=sum(one.amount_cents for one in facts.charged),
        previous=facts.previous,
        is_simulated=facts.is_simulated,
    )


def _commission(facts: Facts) -> tuple[Commission, ...]:
    """Each with what it is of; one of an earlier month, that waited, tells no base."""
    keys = {
        commission_key(facts.client_id, facts.month, rate): (rate, base)
        for rate, base in commission_bases(facts.shares).items()
    }
    found = []
    for one in facts.sold:
        if one.kind == "commission":
            fallback = (Decimal(one.source_key.rsplit(":", 1)[1]), 0)
            rate, base = keys.get(one.source_key, fallback)
            percent = Decimal(f"{(rate * 100).normalize():f}")
            found.append(Commission(percent, base, one.excl_cents, one.vat_cents, one.incl_cents))
    return tuple(found)


def adjustments(facts: Facts) -> tuple[Adjustment, ...]:
    """Corrections with what each gave back of the client's money: below 0, or 0 where nothing had
    been paid."""
    returned: Counter[int] = Counter()
    for share in facts.shares:
        if share.correction_id is not None:
            returned[share.correction_id] += share.amount_cents
    return tuple(
        Adjustment(returned[one.invoice_id], one.reason, one.number, one.month)
        for one in facts.corrections
    )


def vat_collected(shares: Sequence[Share]) -> tuple[VatCollected, ...]:
    """VAT contained in what was collected, by rate; corrections counted.

    Of each session the VAT of all that was collected so far is its part of the invoice's, so that
    payments in parts add up to it to the cent.
    """
    gross: Counter[Decimal] = Counter()
    vat: Counter[Decimal] = Counter()
    reached: dict[int, int] = {}
    for share in shares:
        before = reached.get(share.session_id, share.before_cents)
        after = before + share.amount_cents
        reached[share.session_id] = after
        for (percent, gross_before, vat_before), (_, gross_after, vat_after) in zip(
            _contained(share.vat, before), _contained(share.vat, after), strict=True
        ):
            gross[percent] += gross_after - gross_before
            vat[percent] += vat_after - vat_before
    return tuple(
        VatCollected(percent, gross[percent] - vat[percent], vat[percent])
        for percent in sorted(gross)
        if percent
    )


def _contained(parts: VatParts, collected_cents: int) -> list[tuple[Decimal, int, int]]:
    """Percent, gross and VAT of each rate in a part of a session's price."""
    amounts = money.split(collected_cents, [gross for _, gross, _ in parts]) if parts else []
    return [
        (percent, amount, money.divide_half_up(amount * vat, gross) if gross else 0)
        for (percent, gross, vat), amount in zip(parts, amounts, strict=True)
    ]


def _points(charged: Sequence[Charged]) -> tuple[PointFigures, ...]:
    by_point: dict[tuple[str, str, str], list[Charged]] = defaultdict(list)
    for one in charged:
        by_point[one.site, one.point, one.station_id].append(one)
    return tuple(
        PointFigures(
            point,
            site,
            len(ones),
            sum(one.energy_wh for one in ones),
            sum(one.amount_cents for one in ones),
            sum(one.collected_cents for one in ones),
        )
        for (site, point, _), ones in sorted(by_point.items())
    )


def _users(charged: Sequence[Charged]) -> tuple[UserFigures, ...]:
    by_person: dict[tuple[str, int], list[Charged]] = defaultdict(list)
    for one in charged:
        by_person[one.user, one.person_id].append(one)
    return tuple(
        UserFigures(
            user,
            len(ones),
            sum(one.energy_wh for one in ones),
            sum(one.amount_cents for one in ones),
            sum(one.collected_cents for one in ones),
        )
        for (user, _), ones in sorted(by_person.items())
    )
