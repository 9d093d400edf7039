"""What bills to co-owners say, and what keeps something of them back: lines, texts, lacks.

No clock, no database.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from billing import formats, money, supply
from billing.invoice import DocumentLine
from billing.parties import Lack
from billing.pricing import HOLDING, RELEASING
from billing.store.lots import HoldingRow
from billing.store.supply import UsedRow
from csms import deadlines
from csms.domain.contract import Terms, terms_at
from csms.domain.session import Flag

REASONS: Final = {
    "ended": {"fr": "Solde de la provision", "en": "Balance of the provision"},
    "corrected": {"fr": "Énergie corrigée", "en": "Energy put right"},
    "left": {"fr": "Télérelève après la fin", "en": "Telemetering after the end"},
}
_WORDS: Final = {
    "fr": {
        "energy": "Électricité, lot {lot}",
        "fee": "Télérelève, lot {lot}",
        "advance": "Provision sur consommations futures, lot {lot}",
        "quantity": "Énergie",
        "price": "Prix",
        "unit": "{price}/kWh HT",
        "period": "Période",
        "days": "{days} jours",
        "until": "jusqu’au {day}",
        "used": "Provision utilisée : {used}. Il reste {left} de votre provision.",
    },
    "en": {
        "energy": "Electricity, lot {lot}",
        "fee": "Telemetering, lot {lot}",
        "advance": "Provision for future consumption, lot {lot}",
        "quantity": "Energy",
        "price": "Price",
        "unit": "{price}/kWh excl. VAT",
        "period": "Period",
        "days": "{days} days",
        "until": "until {day}",
        "used": "Provision used: {used}. {left} of your provision are left.",
    },
}


class Use(NamedTuple):
    """Energy of a session for a holding, at a price."""

    session: UsedRow
    energy_wh: int  # the difference to what is billed
    price_eur_per_kwh: Decimal
    vat_percent: Decimal | None = None  # where it was billed at another one; None: today's


@dataclass(slots=True)
class Month:
    """A client's month, looked up."""

    client_id: int
    month: date
    holdings: dict[int, HoldingRow]
    terms: Sequence[Terms]
    supplies: Sequence[tuple[str, date, date | None]]  # site, from, to
    billed: set[int]
    fees: dict[int, dict[date, int]] = field(default_factory=dict)  # billed, by holding and month
    lacks: list[Lack] = field(default_factory=list)


def lack_of(
    world: Month, row: UsedRow, holding: supply.Holding | None, price: Decimal | None
) -> Lack | None:
    """What keeps a session from being billed."""
    day = row.ended_at.astimezone(deadlines.PARIS)
    session = f"Session {row.id} at {row.station_id}, ended {day:%Y-%m-%d %H:%M} (Paris),"
    about = f"session {row.id}"
    if row.energy_wh is None:
        return Lack(
            "energy_unknown",
            f"{session} has no energy: its register is not known at both ends.",
            "Settle it on the desk (POST /api/v1/reconciliation/{id}/settle).",
            about,
        )
    doubts = [why for flag, why in HOLDING.items() if flag in row.flags]
    # A badge of nobody is no doubt at a lot's own point: its holder answers for what it gave.
    if row.lot_id is not None:
        doubts = [
            why
            for flag, why in HOLDING.items()
            if flag in row.flags and flag is not Flag.UNAUTHORIZED
        ]
    if doubts and not RELEASING.intersection(row.flags):
        return Lack(
            "held_by_flag",
            f"{session} waits for a person: {'; '.join(doubts)}.",
            "Look at its readings, then confirm it on the desk "
            "(POST /api/v1/reconciliation/{id}/settle).",
            about,
        )
    if holding is None and row.lot_id is not None:
        return Lack(
            "no_holder",
            f"{session} was at a lot that nobody held on that day.",
            "Enter who had the lot (POST /api/v1/clients/{id}/holdings, or the list of lots).",
            about,
        )
    if holding is None:
        return Lack(
            "no_lot",
            f"{session} was at a point of no lot, by nobody who holds one there.",
            "Say whose point it is, or give the badge to its co-owner.",
            about,
        )
    if price is None:
        return Lack(
            "no_energy_price",
            f"The contract of client {world.client_id} has no price of energy on {row.ended_on}.",
            "Enter its terms with energy_price_eur_per_kwh.",
            f"{row.ended_on:%Y-%m}",
        )
    return None


def nothing_to_credit(holding: HoldingRow) -> Lack:
    """More is to be taken back than was used, and no bill is there that it could be taken off."""
    return Lack(
        "below_zero",
        f"Lot {holding.lot}: more is to be taken back than was used, and there is no bill.",
        "This is a fault of the software: report it.",
        f"lot {holding.lot}",
    )


def faulty(holding: HoldingRow, source_key: str, sentences: Sequence[str]) -> Lack:
    """A document that is not right by our own recomputation."""
    return Lack(
        "faulty_document",
        f"The document of {source_key} is not right: {' '.join(sentences)}",
        "Put its source right where it is wrong; else this is a fault of the software: report it.",
        f"lot {holding.lot}",
    )


class Charged(NamedTuple):
    """What a bill is made of: Wh by price (EUR per kWh, without VAT) and rate of VAT (None:
    today's; another where it is a difference to what was billed at that one), and the telemetering
    of so many days; fee_until: the last day of it, where less of what was billed is due. Cents are
    without VAT."""

    energy: tuple[tuple[Decimal, Decimal | None, int], ...]
    fee_cents: int
    fee_days: int
    fee_until: date | None = None

    @property
    def energy_wh(self) -> int:
        """All of the energy."""
        return sum(wh for _, _, wh in self.energy)

    @property
    def energy_cents(self) -> int:
        """What it costs, rounded once for each line."""
        return sum(supply.energy_excl_cents(wh, price) for price, _, wh in self.energy)

    @property
    def costs(self) -> bool:
        """Whether anything is to be billed; what is taken back may sum to 0 with the fee."""
        return self.fee_cents != 0 or any(
            supply.energy_excl_cents(wh, price) for price, _, wh in self.energy
        )


def charge(world: Month, holding: HoldingRow, uses: Sequence[Use]) -> Charged:
    """What a holding is billed for a month."""
    by_price: dict[tuple[Decimal, Decimal | None], int] = defaultdict(int)
    for use in uses:
        by_price[use.price_eur_per_kwh, use.vat_percent] += use.energy_wh
    energy = [(*key, wh) for key, wh in by_price.items() if wh]
    energy.sort(key=lambda each: (each[0], each[1] or 0))
    cents, days = _fee(world, holding, world.month)
    difference, until = _difference(world, holding)
    return Charged(tuple(energy), cents + difference, days, until if difference else None)


def lines(
    charged: Charged, holding: HoldingRow, percent: Decimal, language: str
) -> list[DocumentLine]:
    """A bill's lines: energy by its price and rate of VAT, then telemetering; percent: today's."""
    words = _WORDS[language]
    found = [
        _line(
            words["energy"].format(lot=holding.lot),
            (
                (words["quantity"], formats.energy(wh, language)),
                (words["price"], words["unit"].format(price=formats.unit_price(price, language))),
            ),
            supply.energy_excl_cents(wh, price),
            percent if of_bill is None else of_bill,
            max(wh, 0),
        )
        for price, of_bill, wh in charged.energy
    ]
    if charged.fee_cents:
        fee = words["fee"].format(lot=holding.lot)
        period = (
            words["days"].format(days=charged.fee_days)
            if charged.fee_until is None
            else words["until"].format(day=formats.day(charged.fee_until, language))
        )
        attributes = ((words["period"], period),)
        found.append(_line(fee, attributes, charged.fee_cents, percent, None))
    return found


def _fee(world: Month, holding: HoldingRow, month: date) -> tuple[int, int]:
    """The telemetering of a month, without VAT, by the terms of its last day; and for how many
    days."""
    days = sorted(
        {
            day
            for from_on, to_on in _supplies(world, holding)
            for day in supply.days_in(month, (from_on, to_on), (holding.from_on, holding.to_on))
        }
    )
    terms = terms_at(world.terms, days[-1]) if days else None
    if terms is None:
        return 0, len(days)
    return (
        supply.telemetering_excl_cents(terms.monthly_telemetering_cents, len(days), month),
        len(days),
    )


def _difference(world: Month, holding: HoldingRow) -> tuple[int, date | None]:
    """What the telemetering of months that are billed costs less (below 0) since the holding, or
    the supply, was ended within them later; and the last day of it."""
    ends = [to_on for _, to_on in _supplies(world, holding)]
    last = [day for day in ends if day is not None] if None not in ends else []
    end_on = min([*([] if holding.to_on is None else [holding.to_on]), max(last, default=date.max)])
    if world.month < end_on.replace(day=1):
        return 0, None
    billed = {
        month: cents
        for month, cents in world.fees.get(holding.id, {}).items()
        if month >= end_on.replace(day=1)
    }
    due_cents = sum(_fee(world, holding, month)[0] for month in billed)
    return due_cents - sum(billed.values()), end_on - timedelta(days=1)


def _supplies(world: Month, holding: HoldingRow) -> list[tuple[date, date | None]]:
    """When the holding's site is supplied."""
    return [(begin, end) for site_id, begin, end in world.supplies if site_id == holding.site_id]


def _line(
    label: str,
    attributes: tuple[tuple[str, str], ...],
    net_cents: int,
    percent: Decimal,
    energy_wh: int | None,
) -> DocumentLine:
    vat = money.vat_on(net_cents, percent)
    return DocumentLine(
        label=label,
        attributes=attributes,
        vat_percent=percent,
        net_cents=net_cents,
        vat_cents=vat,
        gross_cents=net_cents + vat,
        energy_wh=energy_wh,
    )


def advance_line(
    holding: HoldingRow, gross_cents: int, percent: Decimal, language: str
) -> DocumentLine:
    """An advance is agreed with VAT included."""
    vat = money.vat_in(gross_cents, percent)
    return DocumentLine(
        label=_WORDS[language]["advance"].format(lot=holding.lot),
        attributes=(),
        vat_percent=percent,
        net_cents=gross_cents - vat,
        vat_cents=vat,
        gross_cents=gross_cents,
    )


def supplied(world: Month, uses: Sequence[Use]) -> tuple[date, date]:
    """The days that a bill is of: its month, and from before where something came late."""
    first = min([world.month, *(use.session.ended_on for use in uses)])
    return first, deadlines.add_months(world.month, 1) - timedelta(days=1)


def provision_mention(used_cents: int, left_cents: int, language: str) -> tuple[str, str]:
    """What of the provision paid the bill, and what is left of it."""
    text = _WORDS[language]["used"].format(
        used=formats.money(used_cents, language), left=formats.money(left_cents, language)
    )
    return "provision", text
