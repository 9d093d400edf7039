"""When a fact about a charging point is well formed: identifiers, numbers, places, French rules.

Each function takes what somebody wrote and returns its canonical form, or raises `Broken` with the
code of the rule; the sentences for people are in csms.static_data.texts. Sources: the rules of
AFIREV for identifiers, etalab/schema-irve 2.3.1 and 3.0 alpha, the models of QualiCharge 0.33.
"""

import calendar
import re
from datetime import date
from typing import NamedTuple

POWER_W_LEAST = 500
"""Below it somebody wrote kW."""
POWER_W_MOST = 4_000_000
"""QualiCharge takes up to 4000 kW; a kW value multiplied twice is far above."""

_SEPARATORS = re.compile(r"[*\s-]")
_STATION_ID = re.compile(r"[A-Z]{2}[A-Z0-9]{3}P[A-Z0-9]{1,29}")
_POINT_ID = re.compile(r"[A-Z]{2}[A-Z0-9]{3}E[A-Z0-9]{1,29}")
_EMAIL = re.compile(r"[^@\s]+@[a-zA-Z0-9.-]+\.[a-zA-Z]{2,}")  # as transport.data.gouv.fr reads it
_INSEE = re.compile(r"([013-9]\d|2[AB1-9])\d{3}")
_POSTAL = re.compile(r"(0[1-9]|[1-8]\d|9[0-8])\d{3}")
_PHONE_MARKS = re.compile(r"[\s.\-()/]")

# The country codes of the overseas numbers that are dialled with a 0 within France.
_OVERSEAS_PHONES = {
    "590": "+590",
    "690": "+590",
    "691": "+590",
    "594": "+594",
    "694": "+594",
    "596": "+596",
    "696": "+596",
    "697": "+596",
    "262": "+262",
    "263": "+262",
    "269": "+262",
    "639": "+262",
    "692": "+262",
    "693": "+262",
}


class Broken(ValueError):
    """A rule is broken: its code, and what its sentence names."""

    def __init__(self, code: str, **parts: str | int | float) -> None:
        super().__init__(code)
        self.code = code
        self.parts = parts


class Region(NamedTuple):
    """A box in degrees (WGS 84) around a part of France, and the departments within."""

    name: str
    west: float
    east: float
    south: float
    north: float
    departments: tuple[str, ...]  # first characters of INSEE codes; none: all others

    def holds(self, longitude: float, latitude: float) -> bool:
        """Whether the place lies within the box."""
        return self.west <= longitude <= self.east and self.south <= latitude <= self.north


REGIONS = (
    Region("metropolitan France", -5.2, 8.3, 42.3, 51.2, ()),
    Region("Corsica", 8.5, 9.6, 41.3, 43.1, ("2A", "2B")),
    Region("Guadeloupe", -61.9, -60.9, 15.8, 16.6, ("971",)),
    Region("Martinique", -61.3, -60.7, 14.3, 15.0, ("972",)),
    Region("French Guiana", -54.7, -51.5, 2.0, 5.9, ("973",)),
    Region("La Réunion", 55.1, 55.9, -21.5, -20.8, ("974",)),
    Region("Mayotte", 44.9, 45.4, -13.1, -12.5, ("976",)),
)


def canonical(identifier: str) -> str:
    """An identifier in capitals without separators: FR*ABC*E12 is FRABCE12."""
    return _SEPARATORS.sub("", identifier).upper()


def station_id(text: str) -> str:
    """The AFIREV identifier of a station (pool): country, operating unit, P, 1 to 29 characters."""
    identifier = canonical(text)
    if _POINT_ID.fullmatch(identifier):
        raise Broken("station_id_letter")
    if not _STATION_ID.fullmatch(identifier):
        raise Broken("station_id_form")
    return identifier


def point_id(text: str) -> str:
    """The AFIREV identifier of a point (EVSE): country, operating unit, E, 1 to 29 characters."""
    identifier = canonical(text)
    if _STATION_ID.fullmatch(identifier):
        raise Broken("point_id_letter")
    if not _POINT_ID.fullmatch(identifier):
        raise Broken("point_id_form")
    return identifier


def siren(text: str) -> str:
    """A SIREN: nine digits whose Luhn sum is right, and not all zero."""
    digits = re.sub(r"\s", "", text)
    if not re.fullmatch(r"[0-9]{9}", digits):
        raise Broken("siren_form")
    if digits == "0" * 9 or luhn_sum(digits) % 10:
        raise Broken("siren_checksum")
    return digits


def luhn_sum(digits: str) -> int:
    """The Luhn sum of a number with its check digit; a multiple of ten where it is right."""
    doubled = [int(digit) * 2 for digit in digits[-2::-2]]
    return sum(map(int, digits[-1::-2])) + sum(n - 9 if n > 9 else n for n in doubled)


def phone(text: str) -> str:
    """A telephone number in its international form without marks: +33184710062."""
    number = _PHONE_MARKS.sub("", text.removeprefix("tel:"))
    number = re.sub(r"^00", "+", number)
    if re.fullmatch(r"0[1-9][0-9]{8}", number):
        number = _OVERSEAS_PHONES.get(number[1:4], "+33") + number[1:]
    number = re.sub(r"^\+330(?=[1-9][0-9]{8}$)", "+33", number)
    if number.startswith("+33") and not re.fullmatch(r"\+33[1-9][0-9]{8}", number):
        raise Broken("phone_form")
    if not re.fullmatch(r"\+[1-9][0-9]{6,14}", number):
        raise Broken("phone_form")
    return number


def email(text: str) -> str:
    """An e-mail address as the national access point takes it."""
    if not _EMAIL.fullmatch(text):
        raise Broken("email_form")
    return text


def insee_code(text: str) -> str:
    """The INSEE code of a commune; Corsica has 2A and 2B."""
    code = text.strip().upper()
    if not _INSEE.fullmatch(code):
        raise Broken("insee_form")
    if re.fullmatch(r"750(0[1-9]|1\d|20)|75116", code) and code != "75116":
        raise Broken("insee_is_postal", value=code, meant=f"751{code[3:]}")
    return code


def postal_code(text: str) -> str:
    """A French postal code."""
    code = text.replace(" ", "")
    if not _POSTAL.fullmatch(code):
        raise Broken("postal_form")
    return code


def delivery_point(text: str) -> str:
    """The number of an electricity delivery point (PDL, PRM): 14 digits at Enedis."""
    number = re.sub(r"\s", "", text)
    if not re.fullmatch(r"[0-9]{14}", number):
        raise Broken("pdl_form")
    return number


def power_w(value: int) -> int:
    """A rated power in W; one that was written in kW is refused."""
    if value < POWER_W_LEAST:
        raise Broken("power_looks_like_kw", value=value, meant=max(value, 1) * 1000)
    if value > POWER_W_MOST:
        raise Broken("power_too_much", most=POWER_W_MOST)
    return value


def region(longitude: float, latitude: float) -> Region:
    """The part of France around a place. Raises: Broken, by its code where the two are swapped."""
    for found in REGIONS:
        if found.holds(longitude, latitude):
            return found
    if any(swapped.holds(latitude, longitude) for swapped in REGIONS):
        raise Broken("coordinates_swapped", longitude=longitude, latitude=latitude)
    raise Broken("coordinates_outside", longitude=longitude, latitude=latitude)


def lies_in(commune: str, place: Region) -> bool:
    """Whether a commune's INSEE code belongs to that part of France."""
    elsewhere = [start for other in REGIONS for start in other.departments]
    if place.departments:
        return commune.startswith(place.departments)
    return not commune.startswith(tuple(elsewhere))


def months_later(day: date, months: int) -> date:
    """The same day so many months later; the month's last where it has no such day (article 641
    of the code de procédure civile)."""
    years, month = divmod(day.month - 1 + months, 12)
    year, month = day.year + years, month + 1
    return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))
