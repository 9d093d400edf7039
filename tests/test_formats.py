"""Amounts, quantities and days as people read them, in French and English."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from billing import formats
from csms.deadlines import PARIS

NARROW, WIDE, MINUS = "\u202f", "\u00a0", "\u2212"


@pytest.mark.parametrize(
    ("cents", "french", "english"),
    [
        (0, f"0,00{WIDE}€", "€0.00"),
        (5, f"0,05{WIDE}€", "€0.05"),
        (123_456, f"1{NARROW}234,56{WIDE}€", "€1,234.56"),
        (123_456_789, f"1{NARROW}234{NARROW}567,89{WIDE}€", "€1,234,567.89"),
        (-123_456, f"{MINUS}1{NARROW}234,56{WIDE}€", f"{MINUS}€1,234.56"),
    ],
)
def test_money(cents: int, french: str, english: str) -> None:
    assert formats.money(cents, "fr") == french
    assert formats.money(cents, "en") == english


def test_energy_to_the_watt_hour() -> None:
    assert formats.energy(37_421, "fr") == f"37,421{WIDE}kWh"
    assert formats.energy(1_234_567, "en") == f"1,234.567{WIDE}kWh"
    assert formats.energy(0, "fr") == f"0,000{WIDE}kWh"


def test_unit_prices_keep_their_decimals_and_have_two() -> None:
    assert formats.unit_price(Decimal("0.35"), "fr") == f"0,35{WIDE}€"
    assert formats.unit_price(Decimal("0.291700"), "fr") == f"0,2917{WIDE}€"
    assert formats.unit_price(Decimal(2), "en") == "€2.00"
    assert formats.unit_price(Decimal("0.000001"), "en") == "€0.000001"


def test_rates() -> None:
    assert formats.percent(Decimal(20), "fr") == f"20{NARROW}%"
    assert formats.percent(Decimal("5.50"), "fr") == f"5,5{NARROW}%"
    assert formats.percent(Decimal("5.5"), "en") == "5.5%"


def test_days_moments_and_months() -> None:
    assert formats.day(date(2026, 11, 22), "fr") == "22/11/2026"
    assert formats.day(date(2026, 11, 22), "en") == "22/11/2026"
    assert formats.month_name(date(2026, 8, 1), "fr") == "août 2026"
    assert formats.month_name(date(2026, 8, 1), "en") == "August 2026"
    assert formats.moment(datetime(2026, 11, 22, 23, 5, tzinfo=UTC), "fr", PARIS) == (
        "23/11/2026 00:05"
    )


def test_durations() -> None:
    assert formats.duration(4_800, "fr") == f"1{WIDE}h{WIDE}20"
    assert formats.duration(59 * 60 + 59, "fr") == f"59{WIDE}min"
    assert formats.duration(90_060, "en") == f"25{WIDE}h{WIDE}01"
