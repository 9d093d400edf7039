"""A tariff in sentences for those who pay it: French, or English."""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from billing.money import euros
from billing.tariff.model import Component, Dimension, Element, Restrictions, Tariff

NARROW: Final = "\u202f"  # narrow no-break space


class _Words(NamedTuple):
    """What sentences are made of in one language; {} is filled in."""

    is_french: bool
    per: dict[Dimension, str]
    free: dict[Dimension, str]
    step: str
    from_to: str
    from_time: str
    until_time: str
    dates: str
    from_date: str
    until_date: str
    between: str
    above: str  # of a power or current
    below: str
    beyond: str  # of an amount of energy
    up_to: str
    after: str  # of a duration
    first: str
    during: str
    other_times: str
    otherwise: str
    days: tuple[str, ...]
    day_range: str
    on_days: str
    and_: str
    vat_included: str
    vat_excluded: str
    minimum: str
    maximum: str
    nothing: str


_FRENCH: Final = _Words(
    is_french=True,
    per={
        Dimension.ENERGY: "{}/kWh",
        Dimension.TIME: "{}/h de charge",
        Dimension.PARKING_TIME: "{}/h de branchement sans charge",
        Dimension.FLAT: "{} par session",
    },
    free={
        Dimension.ENERGY: "Énergie gratuite",
        Dimension.TIME: "Temps de charge gratuit",
        Dimension.PARKING_TIME: "Branchement sans charge gratuit",
        Dimension.FLAT: "Sans frais par session",
    },
    step="par tranche entamée de {}",
    from_to="de {} à {}",
    from_time="à partir de {}",
    until_time="jusqu’à {}",
    dates="du {} au {}",
    from_date="à partir du {}",
    until_date="jusqu’au {}",
    between="entre {} et {}",
    above="à partir de {}",
    below="en dessous de {}",
    beyond="au-delà de {}",
    up_to="jusqu’à {}",
    after="au-delà de {} de session",
    first="jusqu’à {} de session",
    during="entre {} et {} de session",
    other_times="le reste du temps",
    otherwise="dans les autres cas",
    days=("lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"),
    day_range="du {} au {}",
    on_days="le {}",
    and_=" et le ",
    vat_included="TVA comprise",
    vat_excluded="hors TVA",
    minimum="Au moins {} par session",
    maximum="Au plus {} par session",
    nothing="Gratuit",
)

_ENGLISH: Final = _Words(
    is_french=False,
    per={
        Dimension.ENERGY: "{}/kWh",
        Dimension.TIME: "{} per hour of charging",
        Dimension.PARKING_TIME: "{} per hour plugged in without charging",
        Dimension.FLAT: "{} per session",
    },
    free={
        Dimension.ENERGY: "Energy free of charge",
        Dimension.TIME: "Charging time free of charge",
        Dimension.PARKING_TIME: "Time without charging free of charge",
        Dimension.FLAT: "No fee per session",
    },
    step="per started {}",
    from_to="from {} to {}",
    from_time="from {} on",
    until_time="until {}",
    dates="from {} to {}",
    from_date="from {} on",
    until_date="until {}",
    between="between {} and {}",
    above="from {} on",
    below="below {}",
    beyond="beyond {}",
    up_to="up to {}",
    after="after {} of session",
    first="up to {} of session",
    during="between {} and {} of session",
    other_times="at other times",
    otherwise="otherwise",
    days=("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    day_range="{} to {}",
    on_days="on {}",
    and_=" and ",
    vat_included="VAT included",
    vat_excluded="excluding VAT",
    minimum="At least {} per session",
    maximum="At most {} per session",
    nothing="Free of charge",
)


def describe(tariff: Tariff, language: str = "fr", *, vat_free: bool = False) -> list[str]:
    """The prices in sentences, in the order in which they are asked for: "0,35 €/kWh de 22 h 00 à
    06 h 00, TVA comprise". `vat_free`: the seller charges no VAT, and nothing is said of it.
    Prices of reservations are left out."""
    words = _ENGLISH if language == "en" else _FRENCH
    vat = words.vat_included if tariff.taxes_included else words.vat_excluded
    ending = "" if vat_free else f", {vat}"
    elements = [e for e in tariff.elements if not e.restrictions.reservation]
    if any(component.price_eur for e in elements for component in e.components):
        sentences = [
            _sentence(component, element.restrictions, elements[:n], words, ending)
            for n, element in enumerate(elements)
            for component in element.components
            if component.price_eur or component.dimension is not Dimension.FLAT
        ]
    else:
        sentences = [words.nothing]
    if tariff.taxes_included:
        limits = (tariff.min_incl_cents, tariff.max_incl_cents)
    else:
        limits = (tariff.min_excl_cents, tariff.max_excl_cents)
    for text, cents in zip((words.minimum, words.maximum), limits, strict=True):
        if cents is not None:
            sentences.append(text.format(amount(euros(cents), language)) + ending)
    return sentences


def amount(eur: Decimal, language: str = "fr") -> str:
    """A sum or a unit price in euros, with two decimals or as many as it has."""
    whole, _, decimals = f"{abs(eur):f}".partition(".")
    decimals = decimals.rstrip("0").ljust(2, "0")
    sign = "-" if eur < 0 else ""
    if language == "en":
        return f"{sign}€{int(whole):,}.{decimals}"
    grouped = f"{int(whole):,}".replace(",", NARROW)
    return f"{sign}{grouped},{decimals}{NARROW}€"


def _sentence(
    component: Component, r: Restrictions, earlier: Sequence[Element], words: _Words, ending: str
) -> str:
    conditions = [*_by_clock(r, words), *_by_session(r, words)]
    if not conditions:
        conditions = _otherwise(component.dimension, earlier, words)
    if not component.price_eur:
        return " ".join([words.free[component.dimension], *conditions])
    language = "fr" if words.is_french else "en"
    price = words.per[component.dimension].format(amount(component.price_eur, language))
    step = ""
    if component.step_size > 1 and component.dimension is Dimension.ENERGY:
        step = _quantity(Decimal(component.step_size).scaleb(-3), "kWh", words)
    elif component.step_size > 1 and component.dimension is not Dimension.FLAT:
        step = _span(component.step_size, words)
    return (
        " ".join([price, *conditions]) + (f", {words.step.format(step)}" if step else "") + ending
    )


def _otherwise(dimension: Dimension, earlier: Sequence[Element], words: _Words) -> list[str]:
    """How a price without restrictions follows others of its dimension."""
    others = [
        element.restrictions
        for element in earlier
        if any(component.dimension is dimension for component in element.components)
    ]
    if not others:
        return []
    return [words.otherwise if any(_by_session(r, words) for r in others) else words.other_times]


def _by_clock(r: Restrictions, words: _Words) -> list[str]:
    said = (
        _times(r.start_minute, r.end_minute, words),
        _days(r.weekdays, words),
        _dates(r.start_on, r.end_on, words),
    )
    return [text for text in said if text]


def _by_session(r: Restrictions, words: _Words) -> list[str]:
    energy = (words.beyond, words.up_to, words.between)
    load = (words.above, words.below, words.between)
    time = (words.after, words.first, words.during)
    said = (
        _bounds(_kilo(r.min_wh, words, "kWh"), _kilo(r.max_wh, words, "kWh"), energy),
        _bounds(_span(r.min_duration_s, words), _span(r.max_duration_s, words), time),
        _bounds(_kilo(r.min_power_w, words, "kW"), _kilo(r.max_power_w, words, "kW"), load),
        _bounds(_amperes(r.min_current_a, words), _amperes(r.max_current_a, words), load),
    )
    return [text for text in said if text]


def _bounds(low: str, high: str, texts: tuple[str, str, str]) -> str:
    above, below, between = texts
    if low and high:
        return between.format(low, high)
    return above.format(low) if low else below.format(high) if high else ""


def _times(start: int | None, end: int | None, words: _Words) -> str:
    if start is None and end is None:
        return ""
    if start is None or end is None:
        text = words.until_time if start is None else words.from_time
        return text.format(_clock(start or end or 0, words))
    return words.from_to.format(_clock(start, words), _clock(end, words))


def _clock(minute: int, words: _Words) -> str:
    hour, rest = divmod(minute, 60)
    separator = f"{NARROW}h{NARROW}" if words.is_french else ":"
    return f"{hour:02}{separator}{rest:02}"


def _days(weekdays: frozenset[int], words: _Words) -> str:
    if len(weekdays) in (0, len(words.days)):
        return ""
    days = sorted(weekdays)
    if len(days) > 2 and days == list(range(days[0], days[-1] + 1)):
        return words.day_range.format(words.days[days[0]], words.days[days[-1]])
    *most, last = [words.days[day] for day in days]
    between = ", le " if words.is_french else ", "
    return words.on_days.format(words.and_.join([between.join(most), last] if most else [last]))


def _dates(start: date | None, end: date | None, words: _Words) -> str:
    """The last day is told as one on which the price still holds."""
    first = "" if start is None else _day(start, words)
    last = "" if end is None else _day(end - timedelta(days=1), words)
    return _bounds(first, last, (words.from_date, words.until_date, words.dates))


def _day(day: date, words: _Words) -> str:
    return f"{day:%d/%m/%Y}" if words.is_french else day.isoformat()


def _kilo(value: int | None, words: _Words, unit: str) -> str:
    return _quantity(Decimal(value).scaleb(-3), unit, words) if value else ""


def _amperes(value: Decimal | None, words: _Words) -> str:
    return _quantity(value, "A", words) if value else ""


def _quantity(value: Decimal, unit: str, words: _Words) -> str:
    text = f"{value.normalize():f}"
    return f"{text.replace('.', ',')}{NARROW}{unit}" if words.is_french else f"{text} {unit}"


def _span(seconds: int | None, words: _Words) -> str:
    """A duration as "1 h 30 min"; nothing for none."""
    minutes, left = divmod(seconds or 0, 60)
    hours, minutes = divmod(minutes, 60)
    blank = NARROW if words.is_french else " "
    told = ((hours, "h"), (minutes, "min"), (left, "s"))
    return blank.join(f"{number}{blank}{unit}" for number, unit in told if number)
