"""The sums of a statement in the order in which they lead to its net, as every format shows them.

Amounts are signed as they count: what is deducted is below 0, so that the sum of all of them but
the last is the last.
"""

from dataclasses import dataclass

from billing import formats
from billing.statement import Statement
from billing.statement_texts import TEXTS


@dataclass(frozen=True, slots=True)
class Sum:
    """One line of the calculation. `detail` says where it comes from; empty: it says all itself."""

    label: str
    detail: str
    amount_cents: int


def calculation(statement: Statement, language: str) -> list[Sum]:
    """What leads to the net, in the contract's order; what is nothing and tells nothing is left
    out."""
    words = TEXTS[language]
    lines = [Sum(words["collected"], "", statement.collected_cents)]
    if statement.opening_cents:
        lines.insert(0, Sum(words["opening"], "", statement.opening_cents))
    for one in statement.commission:
        detail = words["commission_of"].format(
            rate=formats.percent(one.rate, language),
            base=formats.money(one.base_cents, language),
            excl=formats.money(one.excl_cents, language),
            vat=formats.money(one.vat_cents, language),
        )
        name = "commission_back" if one.incl_cents < 0 else "commission"
        lines.append(Sum(words[name], detail, -one.incl_cents))
    for fee in statement.fees:
        detail = words["fee_of"].format(
            excl=formats.money(fee.excl_cents, language),
            vat=formats.money(fee.vat_cents, language),
        )
        if fee.invoice_number:
            detail += ", " + words["invoice_of"].format(number=fee.invoice_number)
        lines.append(Sum(fee.label, detail, -fee.incl_cents))
    if statement.offset_cents:
        lines.append(Sum(words["offset"], "", -statement.offset_cents))
    for adjustment in statement.adjustments:
        detail = adjustment.cause
        if adjustment.invoice_number:
            detail += f" ({adjustment.invoice_number})"
        lines.append(Sum(words["adjustment"], detail, adjustment.amount_cents))
    if statement.disputed_cents:
        held = "disputed" if statement.disputed_cents > 0 else "released"
        lines.append(Sum(words[held], "", -statement.disputed_cents))
    return lines


def net_label(statement: Statement, language: str) -> str:
    """What the one number is."""
    words = TEXTS[language]
    if statement.net_cents > 0:
        return words["net"]
    return words["net_negative" if statement.net_cents < 0 else "net_zero"]
