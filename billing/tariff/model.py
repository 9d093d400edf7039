"""What a tariff says, what a session used, and what it costs: values only.

A tariff is that of OCPI 2.2.1: elements, each of price components that hold while the element's
restrictions do. Our extension `taxes_included` says that prices contain VAT, as drivers see them.
"""

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

PRICE_DECIMALS: Final = 6  # of a unit price in euros, as numeric(12,6) stores it


class Dimension(StrEnum):
    """What a component prices. The last two are adjustments, found in lines only."""

    ENERGY = "ENERGY"  # per kWh
    TIME = "TIME"  # per hour of charging
    PARKING_TIME = "PARKING_TIME"  # per hour without charging
    FLAT = "FLAT"  # once per session
    MIN_PRICE = "MIN_PRICE"
    MAX_PRICE = "MAX_PRICE"


@dataclass(frozen=True, slots=True)
class Component:
    """The price of one dimension: per kWh, per hour, or once.

    `step_size` in Wh or seconds: the session's total is billed in such steps; 0 and 1: as measured.
    """

    dimension: Dimension
    price_eur: Decimal
    vat_percent: Decimal | None = None  # None: the rate in force for the seller
    step_size: int = 1

    def __post_init__(self) -> None:
        for value in (self.price_eur, self.vat_percent):
            if value is not None and not isinstance(value, Decimal):
                raise TypeError(f"prices and rates are Decimal, not {type(value).__name__}")
        if self.price_eur != round(self.price_eur, PRICE_DECIMALS):
            raise ValueError(f"a unit price has at most {PRICE_DECIMALS} decimals")


@dataclass(frozen=True, slots=True)
class Restrictions:
    """When an element holds; all that are given must. None and empty: no restriction.

    Minutes, days and dates are those of the site's clock at each moment: 22:00 to 06:00 on Mondays
    is 00:00 to 06:00 and 22:00 to 24:00 of Monday. Minima, `start_on` and `start_minute` are
    included, maxima and ends are not. Energy and duration count from the session's start.
    """

    start_minute: int | None = None  # of the day, 0 to 1439
    end_minute: int | None = None  # at or before `start_minute`: past midnight
    start_on: date | None = None
    end_on: date | None = None
    min_wh: int | None = None
    max_wh: int | None = None
    min_current_a: Decimal | None = None  # sum of the phases
    max_current_a: Decimal | None = None
    min_power_w: int | None = None
    max_power_w: int | None = None
    min_duration_s: int | None = None
    max_duration_s: int | None = None
    weekdays: frozenset[int] = frozenset()  # 0 is Monday
    reservation: str = ""  # RESERVATION | RESERVATION_EXPIRES: never holds in a session


@dataclass(frozen=True, slots=True)
class Element:
    """Components that hold together. Of each dimension the first element that holds counts."""

    components: tuple[Component, ...]
    restrictions: Restrictions = Restrictions()


@dataclass(frozen=True, slots=True)
class Tariff:
    """A tariff in euros. Limits are of the whole session, in cents; None: no limit.

    Where prices include VAT the limits including VAT count alone; where they exclude it both do.
    """

    elements: tuple[Element, ...]
    taxes_included: bool = True
    min_excl_cents: int | None = None
    min_incl_cents: int | None = None
    max_excl_cents: int | None = None
    max_incl_cents: int | None = None
    starts_at: datetime | None = None  # OCPI's start_date_time: told, not applied (see `price`)
    ends_at: datetime | None = None
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Worked out once: a batch looks its tariff up for every session.
        limits = (
            self.min_excl_cents,
            self.min_incl_cents,
            self.max_excl_cents,
            self.max_incl_cents,
        )
        object.__setattr__(self, "_hash", hash((self.elements, self.taxes_included, limits)))

    def __hash__(self) -> int:
        return self._hash


@dataclass(frozen=True, slots=True)
class Reading:
    """The meter at a moment: Wh since the session's start; power and current as the station tells
    them, of the time that ends here. None: not told."""

    at: datetime
    energy_wh: int
    power_w: float | None = None
    current_a: float | None = None  # sum of the phases


@dataclass(frozen=True, slots=True)
class Usage:
    """What is billed: aware times, whole Wh by the session's own account."""

    started_at: datetime
    ended_at: datetime
    energy_wh: int


@dataclass(frozen=True, slots=True)
class Line:
    """What one component costs in a session, or what a limit of the price adds to it.

    `quantity` is what is billed, after steps: Wh, seconds, or 1. `energy_wh` is measured (0 unless
    the line prices energy), `duration_s` the time during which the component was used (0 for FLAT
    and limits). `from_at` and `to_at`, in UTC, are the first and last moment of that time (of FLAT:
    when it came due); others may have had their turn between them. `unit_price_eur` is per kWh, per
    hour or once, with VAT where the tariff includes it. `estimated`: its share was not measured at
    the border to another price.
    """

    dimension: Dimension
    quantity: int
    energy_wh: int
    duration_s: int
    from_at: datetime
    to_at: datetime
    unit_price_eur: Decimal
    vat_percent: Decimal
    amount_excl_cents: int
    amount_incl_cents: int
    estimated: bool


@dataclass(frozen=True, slots=True)
class Price:
    """What a session costs: the sums of its lines. `vat` is (percent, base, VAT), by percent."""

    lines: tuple[Line, ...]
    amount_excl_cents: int
    amount_incl_cents: int
    vat: tuple[tuple[Decimal, int, int], ...]
    energy_wh: int
    estimated: bool
