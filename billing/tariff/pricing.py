"""What a session costs under a tariff: integers and fractions, no Wh and no cent lost.

Rounding. Where prices include VAT each line's gross amount is rounded once, half up, and its VAT is
contained in it. Where they exclude VAT, as in OCPI, the two totals are rounded once each and lines
share them to the cent by largest remainder. Either way the total is the sum of the lines.
"""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final
from zoneinfo import ZoneInfo

from billing.money import divide_half_up, vat_in
from billing.tariff.limits import by_rate, limit_lines
from billing.tariff.model import Dimension, Line, Price, Reading, Tariff, Usage
from billing.tariff.parts import Part, parts_of
from billing.tariff.plan import plan_of
from billing.tariff.track import MICROSECOND
from csms.domain.values import UTC

ZERO: Final = Decimal(0)
UNITS: Final = {  # how many of what is counted make one of what is priced
    Dimension.ENERGY: 1000,
    Dimension.TIME: 3600,
    Dimension.PARKING_TIME: 3600,
    Dimension.FLAT: 1,
}
MICRO_PER_CENT: Final = 10_000


def price(
    usage: Usage,
    readings: Sequence[Reading],
    tariff: Tariff,
    *,
    zone: ZoneInfo,
    vat_percent: Decimal,
    vat_free: bool = False,
) -> Price:
    """What a session costs, by the tariff that was in force at its start, until its end.

    `vat_percent` is for components without a rate of their own. `vat_free`: the seller charges no
    VAT; the price to the driver stays as it is (the one without VAT, where prices exclude it).
    Without readings all of the time is charging, energy is shared at a border by time and the lines
    on both sides are estimated. Odd readings, no energy and no duration raise nothing.
    """
    usage = _in_utc(usage)
    parts = parts_of(usage, readings, tariff, zone, running=False)
    return _bill(parts, usage, tariff, vat_percent, vat_free)


def price_so_far(
    usage: Usage,
    readings: Sequence[Reading],
    tariff: Tariff,
    *,
    zone: ZoneInfo,
    vat_percent: Decimal,
    vat_free: bool = False,
) -> Price:
    """`price` of a session that runs on, as if it ended now (`usage.ended_at`): since its last
    reading the car goes on as before, so that silence is not taken for standing."""
    usage = _in_utc(usage)
    parts = parts_of(usage, readings, tariff, zone, running=True)
    return _bill(parts, usage, tariff, vat_percent, vat_free)


def needs_readings(usage: Usage, tariff: Tariff, *, zone: ZoneInfo) -> bool:
    """Whether readings can make a difference to the price: a border cuts the session, or the
    tariff asks how the car charged."""
    usage = _in_utc(usage)
    plan = plan_of(tariff)
    end_us = max((usage.ended_at - usage.started_at) // MICROSECOND, 0)
    return plan.asks_session or len(plan.windows(usage.started_at, end_us, zone)) > 1


def may_need_readings(tariff: Tariff) -> bool:
    """Whether there are sessions for which `needs_readings`."""
    plan = plan_of(tariff)
    return plan.asks_session or plan.is_clocked


def _in_utc(usage: Usage) -> Usage:
    """Two times of one zone would be subtracted by the clock on the wall."""
    if usage.started_at.tzinfo is UTC and usage.ended_at.tzinfo is UTC:
        return usage
    started_at, ended_at = usage.started_at.astimezone(UTC), usage.ended_at.astimezone(UTC)
    return Usage(started_at, ended_at, usage.energy_wh)


def _lines(
    parts: Sequence[Part], usage: Usage, tariff: Tariff, rates: Sequence[Decimal]
) -> list[Line]:
    """A line of each part, with its amounts."""
    exact = [
        (part.offer.price_micro * part.quantity, MICRO_PER_CENT * UNITS[part.dimension])
        for part in parts
        if part.offer is not None
    ]
    if tariff.taxes_included:
        gross = [divide_half_up(numerator, denominator) for numerator, denominator in exact]
        vat = [vat_in(each, rate) for each, rate in zip(gross, rates, strict=True)]
        net = [incl - part for incl, part in zip(gross, vat, strict=True)]
    else:
        net, vat = _shared([Fraction(*each) for each in exact], rates)
    return [
        Line(
            part.dimension,
            part.quantity,
            part.measured_wh if part.dimension is Dimension.ENERGY else 0,
            0 if part.dimension is Dimension.FLAT else part.measured_s,
            usage.started_at + timedelta(microseconds=part.from_us),
            usage.started_at + timedelta(microseconds=part.to_us),
            part.offer.component.price_eur,
            rate,
            excl,
            excl + tax,
            part.estimated,
        )
        for part, rate, excl, tax in zip(parts, rates, net, vat, strict=True)
        if part.offer is not None
    ]


def _shared(net: Sequence[Fraction], rates: Sequence[Decimal]) -> tuple[list[int], list[int]]:
    """Net amounts and VAT in cents, where the two totals alone are rounded."""
    taxes = [amount * Fraction(rate) / 100 for amount, rate in zip(net, rates, strict=True)]
    total = sum(net, Fraction(0))
    with_tax = total + sum(taxes)
    net_cents = divide_half_up(total.numerator, total.denominator)
    incl_cents = divide_half_up(with_tax.numerator, with_tax.denominator)
    return _to_total(net, net_cents), _to_total(taxes, incl_cents - net_cents)


def _to_total(values: Sequence[Fraction], total: int) -> list[int]:
    """Integers next to the values with this sum, which is within 1 of theirs."""
    numbers = [int(value // 1) for value in values]
    by_rest = sorted(range(len(values)), key=lambda i: numbers[i] - values[i])
    for i in by_rest[: total - sum(numbers)]:
        numbers[i] += 1
    return numbers


def _bill(
    parts: Sequence[Part], usage: Usage, tariff: Tariff, vat_percent: Decimal, vat_free: bool
) -> Price:
    """Lines, limits of the price, totals."""
    parts = [part for part in parts if part.quantity]
    usual = ZERO if vat_free else vat_percent
    rates = [usual if vat_free else _own_rate(part, usual) for part in parts]
    lines = _lines(parts, usage, tariff, rates)
    lines += limit_lines(lines, usage, tariff, usual, vat_free=vat_free)
    return Price(
        tuple(lines),
        sum(line.amount_excl_cents for line in lines),
        sum(line.amount_incl_cents for line in lines),
        tuple((rate, excl, incl - excl) for rate, (excl, incl) in sorted(by_rate(lines).items())),
        max(usage.energy_wh, 0),
        any(line.estimated for line in lines),
    )


def _own_rate(part: Part, usual: Decimal) -> Decimal:
    own = part.offer.component.vat_percent if part.offer is not None else None
    return usual if own is None else own
