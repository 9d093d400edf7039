"""A tariff as JSON, after OCPI 2.2.1: read strictly, written so that it reads back the same.

Members of OCPI that do not touch a price (id, party, texts for people, dates of change) are let
through and not kept: whoever keeps the tariff has its own. `taxes_included` is ours; without it
prices include VAT. JSON has one kind of number, so here alone a float stands for a price: what
counts is the decimal text it came from.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final

from billing.money import cents, euros
from billing.tariff.model import (
    PRICE_DECIMALS,
    Component,
    Dimension,
    Element,
    Restrictions,
    Tariff,
)
from csms.domain.values import UTC

ELEMENTS_MAX: Final = 50
COMPONENTS_MAX: Final = 4  # one of each dimension
PRICE_EUR_MAX: Final = 100
LIMIT_EUR_MAX: Final = 10_000
VAT_PERCENT_MAX: Final = 100
ENERGY_KWH_MAX: Final = 10_000
CURRENT_A_MAX: Final = 10_000
POWER_KW_MAX: Final = 10_000
DURATION_S_MAX: Final = 31 * 86_400
STEP_MAX: Final = {
    Dimension.ENERGY: 100_000,  # Wh
    Dimension.TIME: 86_400,
    Dimension.PARKING_TIME: 86_400,
    Dimension.FLAT: 86_400,  # of no effect
}

DAYS: Final = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")
RESERVATIONS: Final = ("RESERVATION", "RESERVATION_EXPIRES")

_IGNORED: Final = {
    *("country_code", "party_id", "id", "type", "tariff_alt_text", "tariff_alt_url"),
    *("energy_mix", "last_updated"),
}
_TARIFF: Final = {
    *("elements", "currency", "min_price", "max_price", "start_date_time", "end_date_time"),
    "taxes_included",
}
_RANGES: Final = ("kwh", "current", "power", "duration")
_RESTRICTIONS: Final = {
    *("start_time", "end_time", "start_date", "end_date", "day_of_week", "reservation"),
    *(f"{bound}_{name}" for bound in ("min", "max") for name in _RANGES),
}
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


class TariffError(ValueError):
    """A document is no tariff: `where` names the member, the text says what to do about it."""

    def __init__(self, where: str, message: str) -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.where = where


def parse(document: Mapping[str, Any]) -> Tariff:
    """The tariff that a document describes.

    Raises: TariffError.
    """
    tariff = _members(document, "", _TARIFF | _IGNORED)
    if tariff.get("currency", "EUR") != "EUR":
        raise TariffError("currency", "is not EUR; prices are in euros")
    taxes_included = tariff.get("taxes_included", True)
    if not isinstance(taxes_included, bool):
        raise TariffError("taxes_included", "takes true or false")
    items = _list(tariff.get("elements"), "elements", ELEMENTS_MAX)
    elements = tuple(_element(item, f"elements[{n}]") for n, item in enumerate(items))
    if all(element.restrictions.reservation for element in elements):
        raise TariffError("elements", "price reservations only; add an element for sessions")
    low = _limit(tariff.get("min_price"), "min_price", taxes_included)
    high = _limit(tariff.get("max_price"), "max_price", taxes_included)
    for least, most in zip(low, high, strict=True):
        _in_order(least, most, "max_price", "min_price", equal=True)
    starts_at = _moment(tariff.get("start_date_time"), "start_date_time")
    ends_at = _moment(tariff.get("end_date_time"), "end_date_time")
    _in_order(starts_at, ends_at, "end_date_time", "start_date_time")
    return Tariff(elements, taxes_included, *low, *high, starts_at, ends_at)


def dump(tariff: Tariff) -> dict[str, Any]:
    """The document of a tariff; `parse` makes the same tariff of it."""
    document: dict[str, Any] = {"currency": "EUR", "taxes_included": tariff.taxes_included}
    for name, excl, incl in (
        ("min_price", tariff.min_excl_cents, tariff.min_incl_cents),
        ("max_price", tariff.max_excl_cents, tariff.max_incl_cents),
    ):
        limit = {"excl_vat": excl, "incl_vat": incl}
        told = {key: _json_number(euros(c)) for key, c in limit.items() if c is not None}
        if told:
            document[name] = told
    document["elements"] = [_dump_element(element) for element in tariff.elements]
    for name, at in (("start_date_time", tariff.starts_at), ("end_date_time", tariff.ends_at)):
        if at is not None:
            document[name] = at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return document


def _element(value: Any, where: str) -> Element:
    element = _members(value, where, {"price_components", "restrictions"})
    where_components = f"{where}.price_components"
    items = _list(element.get("price_components"), where_components, COMPONENTS_MAX)
    components = [_component(item, f"{where_components}[{n}]") for n, item in enumerate(items)]
    dimensions = [component.dimension for component in components]
    if len(set(dimensions)) < len(dimensions):
        raise TariffError(where_components, "price a dimension twice; keep one component of each")
    restrictions = element.get("restrictions")
    if restrictions is None:
        return Element(tuple(components))
    return Element(tuple(components), _restrictions(restrictions, f"{where}.restrictions"))


def _component(value: Any, where: str) -> Component:
    component = _members(value, where, {"type", "price", "vat", "step_size"})
    types = [dimension.value for dimension in STEP_MAX]
    if component.get("type") not in types:
        raise TariffError(f"{where}.type", f"takes one of: {', '.join(types)}")
    dimension = Dimension(component["type"])
    if component.get("price") is None:
        raise TariffError(f"{where}.price", "is missing; 0 is free of charge")
    price = _number(component["price"], f"{where}.price", PRICE_EUR_MAX, PRICE_DECIMALS)
    vat = component.get("vat")
    percent = None if vat is None else _number(vat, f"{where}.vat", VAT_PERCENT_MAX, 2)
    step = component.get("step_size", 1)
    step_size = int(_number(step, f"{where}.step_size", STEP_MAX[dimension], 0))
    return Component(dimension, price, percent, step_size)


def _restrictions(value: Any, where: str) -> Restrictions:
    told = _members(value, where, _RESTRICTIONS)
    reservation = told.get("reservation") or ""
    if reservation and reservation not in RESERVATIONS:
        raise TariffError(f"{where}.reservation", f"takes one of: {', '.join(RESERVATIONS)}")
    start = _minute(told.get("start_time"), f"{where}.start_time")
    end = _minute(told.get("end_time"), f"{where}.end_time")
    if start is not None and start == end:
        raise TariffError(f"{where}.end_time", "equals start_time; leave both out for all day")
    start_on = _day(told.get("start_date"), f"{where}.start_date")
    end_on = _day(told.get("end_date"), f"{where}.end_date")
    _in_order(start_on, end_on, f"{where}.end_date", "start_date")
    min_kwh, max_kwh = _range(told, where, "kwh", ENERGY_KWH_MAX, 3)
    min_current, max_current = _range(told, where, "current", CURRENT_A_MAX, 3)
    min_power, max_power = _range(told, where, "power", POWER_KW_MAX, 3)
    min_duration, max_duration = _range(told, where, "duration", DURATION_S_MAX, 0)
    return Restrictions(
        start_minute=start,
        end_minute=end,
        start_on=start_on,
        end_on=end_on,
        min_wh=_scaled(min_kwh, 3),
        max_wh=_scaled(max_kwh, 3),
        min_current_a=min_current,
        max_current_a=max_current,
        min_power_w=_scaled(min_power, 3),
        max_power_w=_scaled(max_power, 3),
        min_duration_s=_scaled(min_duration, 0),
        max_duration_s=_scaled(max_duration, 0),
        weekdays=_weekdays(told.get("day_of_week"), f"{where}.day_of_week"),
        reservation=reservation,
    )


def _range(
    told: Mapping[str, Any], where: str, name: str, most: int, decimals: int
) -> tuple[Decimal | None, Decimal | None]:
    bounds = []
    for key in (f"min_{name}", f"max_{name}"):
        value = told.get(key)
        given = None if value is None else _number(value, f"{where}.{key}", most, decimals)
        bounds.append(given)
    low, high = bounds
    if high == 0:
        raise TariffError(f"{where}.max_{name}", "is 0, below which nothing is; give more")
    _in_order(low, high, f"{where}.max_{name}", f"min_{name}")
    return low, high


def _scaled(value: Decimal | None, decimals: int) -> int | None:
    return None if value is None else int(value.scaleb(decimals))


def _limit(value: Any, where: str, taxes_included: bool) -> tuple[int | None, int | None]:
    """Cents without and with VAT."""
    if value is None:
        return None, None
    limit = _members(value, where, {"excl_vat", "incl_vat"})
    needed = "incl_vat" if taxes_included else "excl_vat"
    if limit.get(needed) is None:
        kind = "include" if taxes_included else "exclude"
        raise TariffError(f"{where}.{needed}", f"is missing; prices of this tariff {kind} VAT")
    excl, incl = (
        None if limit.get(k) is None else cents(_number(limit[k], f"{where}.{k}", LIMIT_EUR_MAX, 2))
        for k in ("excl_vat", "incl_vat")
    )
    _in_order(excl, incl, f"{where}.incl_vat", "excl_vat", equal=True)
    return excl, incl


def _members(value: Any, where: str, known: set[str]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TariffError(where or "tariff", "takes an object with members")
    unknown = sorted(str(key) for key in value if key not in known)
    if unknown:
        names = ", ".join(sorted(known - _IGNORED))
        place = f"{where}.{unknown[0][:40]}" if where else unknown[0][:40]
        raise TariffError(place, f"is not known; remove it, or use one of: {names}")
    return value


def _list(value: Any, where: str, most: int) -> Sequence[Any]:
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= most:
        raise TariffError(where, f"takes a list of 1 to {most} objects")
    return value


def _number(value: Any, where: str, most: int, decimals: int) -> Decimal:
    """A number from 0 to `most`, with at most so many decimals, without zeros at its end."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise TariffError(where, f"takes a number from 0 to {most}")
    if not 0 <= value <= most:  # no NaN is
        raise TariffError(where, f"is out of range; give 0 to {most}")
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if number != round(number, decimals):
        allowed = f"at most {decimals} decimals" if decimals else "a whole number"
        raise TariffError(where, f"is too fine; give {allowed}")
    return Decimal(f"{number.normalize():f}")


def _minute(value: Any, where: str) -> int | None:
    if value is None:
        return None
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise TariffError(where, 'takes a time of the day from "00:00" to "23:59"')
    return int(match[1]) * 60 + int(match[2])


def _day(value: Any, where: str) -> date | None:
    if value is None:
        return None
    try:
        if not _DATE.fullmatch(value):
            raise ValueError
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise TariffError(where, 'takes a day like "2026-12-31"') from None


def _moment(value: Any, where: str) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
        # OCPI's times are in UTC, with or without the Z.
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise TariffError(where, 'takes a time like "2026-12-31T23:00:00Z"') from None


def _weekdays(value: Any, where: str) -> frozenset[int]:
    if value is None:
        return frozenset()
    if not isinstance(value, list | tuple) or not value or any(day not in DAYS for day in value):
        raise TariffError(where, f"takes a list of days of: {', '.join(DAYS)}")
    return frozenset(DAYS.index(day) for day in value)


def _in_order(low: Any, high: Any, where: str, than: str, *, equal: bool = False) -> None:
    if low is not None and high is not None and not (low < high or (equal and low == high)):
        raise TariffError(where, f"is not above {than}; give a larger one")


def _dump_element(element: Element) -> dict[str, Any]:
    components = []
    for component in element.components:
        written: dict[str, Any] = {
            "type": component.dimension.value,
            "price": _json_number(component.price_eur),
            "step_size": component.step_size,
        }
        if component.vat_percent is not None:
            written["vat"] = _json_number(component.vat_percent)
        components.append(written)
    restrictions = _dump_restrictions(element.restrictions)
    if not restrictions:
        return {"price_components": components}
    return {"price_components": components, "restrictions": restrictions}


def _dump_restrictions(r: Restrictions) -> dict[str, Any]:
    numbers = {
        "min_kwh": _unscaled(r.min_wh),
        "max_kwh": _unscaled(r.max_wh),
        "min_current": r.min_current_a,
        "max_current": r.max_current_a,
        "min_power": _unscaled(r.min_power_w),
        "max_power": _unscaled(r.max_power_w),
    }
    written = {
        "start_time": _clock(r.start_minute),
        "end_time": _clock(r.end_minute),
        "start_date": None if r.start_on is None else r.start_on.isoformat(),
        "end_date": None if r.end_on is None else r.end_on.isoformat(),
        **{name: None if n is None else _json_number(n) for name, n in numbers.items()},
        "min_duration": r.min_duration_s,
        "max_duration": r.max_duration_s,
        "day_of_week": [DAYS[day] for day in sorted(r.weekdays)] or None,
        "reservation": r.reservation or None,
    }
    return {name: value for name, value in written.items() if value is not None}


def _clock(minute: int | None) -> str | None:
    return None if minute is None else f"{time(*divmod(minute, 60)):%H:%M}"


def _unscaled(value: int | None) -> Decimal | None:
    return None if value is None else Decimal(value).scaleb(-3)


def _json_number(value: Decimal) -> int | float:
    return int(value) if value == int(value) else float(value)
