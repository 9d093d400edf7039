"""Our tariffs as OCPI's: prices without VAT, each with its rate. Pure.

A version of a tariff is told under an id of its own and never changed: the hub keeps what it was
told. Prices without VAT have four decimals, as the specification has numbers; what a session cost
is what its CDR says.
"""

from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

from billing.tariff import Tariff as Priced
from billing.tariff import dump
from reporting.ocpi.cdrs import CURRENCY, Party
from reporting.ocpi.objects import (
    Price,
    PriceComponent,
    Tariff,
    TariffElement,
    TariffRestrictions,
)

_FOUR_DIGITS: Final = Decimal("0.0001")
_HUNDRED: Final = Decimal(100)


def tariff_id(party: Party, version_id: int) -> str:
    """As the national file of tariffs names them: FRT2PT12."""
    return f"{party.country_code}{party.party_id}T{version_id}"


def tariff(
    party: Party,
    version_id: int,
    priced: Priced,
    *,
    from_at: datetime,
    to_at: datetime | None,
    vat_percent: Decimal | None,
    last_updated: datetime,
) -> Tariff:
    """A version as partners are told. vat_percent None: the seller charges no VAT."""
    document = dump(priced)
    includes_vat = bool(document["taxes_included"]) and vat_percent is not None
    elements = [
        TariffElement(
            price_components=[
                _component(component, includes_vat, vat_percent)
                for component in element["price_components"]
            ],
            restrictions=_restrictions(element.get("restrictions")),
        )
        for element in document["elements"]
    ]
    return Tariff(
        country_code=party.country_code,
        party_id=party.party_id,
        id=tariff_id(party, version_id),
        currency=CURRENCY,
        type="REGULAR",
        min_price=_limit(document.get("min_price"), vat_percent),
        max_price=_limit(document.get("max_price"), vat_percent),
        elements=elements,
        start_date_time=from_at,
        end_date_time=to_at,
        last_updated=last_updated,
    )


def _component(
    component: dict[str, Any], includes_vat: bool, vat_percent: Decimal | None
) -> PriceComponent:
    own = component.get("vat")
    percent = vat_percent if own is None or vat_percent is None else Decimal(str(own))
    price = Decimal(str(component["price"]))
    if includes_vat and percent is not None:
        price = without_vat(price, percent)
    return PriceComponent(
        type=component["type"], price=price, vat=percent, step_size=component.get("step_size", 1)
    )


def without_vat(price: Decimal, percent: Decimal) -> Decimal:
    """To four decimals, half up."""
    return (price * _HUNDRED / (_HUNDRED + percent)).quantize(_FOUR_DIGITS, ROUND_HALF_UP)


def _restrictions(found: dict[str, Any] | None) -> TariffRestrictions | None:
    return TariffRestrictions.model_validate(found) if found else None


def _limit(found: dict[str, Any] | None, percent: Decimal | None) -> Price | None:
    """A least or highest price; the side that is not stated follows from the other."""
    if not found:
        return None
    rate = percent or Decimal(0)
    incl, excl = found.get("incl_vat"), found.get("excl_vat")
    if excl is None:
        excl = without_vat(Decimal(str(incl)), rate)
    return Price(excl_vat=Decimal(str(excl)), incl_vat=None if incl is None else Decimal(str(incl)))
