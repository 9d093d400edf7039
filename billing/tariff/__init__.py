"""What a session costs: tariffs after OCPI 2.2.1, priced to the cent.

document (JSON) > model (values) > plan (ready to be asked, cached)
readings > track (the meter as a line) > parts (who gets which piece) > pricing (lines, totals)
limits (minimum and maximum), words (a tariff in sentences), coverage (what has no price)
"""

from billing.tariff.coverage import gaps
from billing.tariff.document import TariffError, dump, parse
from billing.tariff.model import (
    Component,
    Dimension,
    Element,
    Line,
    Price,
    Reading,
    Restrictions,
    Tariff,
    Usage,
)
from billing.tariff.pricing import may_need_readings, needs_readings, price, price_so_far
from billing.tariff.words import describe

__all__ = [
    "Component",
    "Dimension",
    "Element",
    "Line",
    "Price",
    "Reading",
    "Restrictions",
    "Tariff",
    "TariffError",
    "Usage",
    "describe",
    "dump",
    "gaps",
    "may_need_readings",
    "needs_readings",
    "parse",
    "price",
    "price_so_far",
]
