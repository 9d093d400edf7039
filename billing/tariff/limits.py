"""The minimum and the maximum of a session's price, as lines of their own.

A limit moves the total; what it adds or takes is shared among the rates of VAT in proportion, one
line for each. The VAT of such a line is what makes the VAT of its rate right after the limit.
"""

from collections.abc import Sequence
from decimal import Decimal

from billing.money import euros, split, vat_in, vat_on
from billing.tariff.model import Dimension, Line, Tariff, Usage

Sums = dict[Decimal, tuple[int, int]]  # by rate: cents without and with VAT


def by_rate(lines: Sequence[Line]) -> Sums:
    """The sums of the lines of each rate, in the order of their first line."""
    sums: Sums = {}
    for line in lines:
        excl, incl = sums.get(line.vat_percent, (0, 0))
        sums[line.vat_percent] = (excl + line.amount_excl_cents, incl + line.amount_incl_cents)
    return sums


def limit_lines(
    lines: Sequence[Line], usage: Usage, tariff: Tariff, usual_percent: Decimal, *, vat_free: bool
) -> list[Line]:
    """The lines that bring the total within the tariff's limits; none if it is.

    `usual_percent` is the rate where there is no line to take it from.
    """
    limits = (tariff.min_excl_cents, tariff.min_incl_cents)
    if (*limits, tariff.max_excl_cents, tariff.max_incl_cents) == (None, None, None, None):
        return []
    before = by_rate(lines) or {usual_percent: (0, 0)}
    after = _limited(before, tariff, vat_free=vat_free)
    found = []
    for rate, (excl, incl) in after.items():
        by_excl, by_incl = excl - before[rate][0], incl - before[rate][1]
        if by_excl or by_incl:
            found.append(_line(by_excl, by_incl, rate, usage, tariff))
    return found


def _limited(before: Sums, tariff: Tariff, *, vat_free: bool) -> Sums:
    excl = sum(sums[0] for sums in before.values())
    incl = sum(sums[1] for sums in before.values())
    if tariff.taxes_included:
        target = _within(incl, tariff.min_incl_cents, tariff.max_incl_cents)
        if target == incl:
            return before
        shares = split(target, [sums[1] for sums in before.values()])
        return {
            rate: (gross - vat_in(gross, rate), gross)
            for rate, gross in zip(before, shares, strict=True)
        }
    target = _within(excl, tariff.min_excl_cents, tariff.max_excl_cents)
    nets = split(target, [sums[0] for sums in before.values()])
    if vat_free:  # the limit without VAT is the limit
        return {rate: (net, net) for rate, net in zip(before, nets, strict=True)}
    taxes = [vat_on(net, rate) for rate, net in zip(before, nets, strict=True)]
    wanted = incl if target == excl else target + sum(taxes)
    target_incl = _within(wanted, tariff.min_incl_cents, tariff.max_incl_cents)
    if (target, target_incl) == (excl, incl):
        return before
    taxes = split(target_incl - target, taxes)
    return {rate: (net, net + tax) for rate, net, tax in zip(before, nets, taxes, strict=True)}


def _within(amount: int, minimum: int | None, maximum: int | None) -> int:
    if minimum is not None:
        amount = max(amount, minimum)
    return amount if maximum is None else min(amount, maximum)


def _line(by_excl: int, by_incl: int, rate: Decimal, usage: Usage, tariff: Tariff) -> Line:
    is_minimum = by_incl > 0 or (by_incl == 0 and by_excl > 0)
    return Line(
        Dimension.MIN_PRICE if is_minimum else Dimension.MAX_PRICE,
        1,
        0,
        0,
        usage.started_at,
        max(usage.started_at, usage.ended_at),
        euros(by_incl if tariff.taxes_included else by_excl),
        rate,
        by_excl,
        by_incl,
        False,
    )
