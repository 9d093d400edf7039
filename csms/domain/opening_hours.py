"""Opening hours in the part of the OpenStreetMap notation that IRVE uses.

    24/7
    Mo-Fr 08:00-12:00,Mo-Fr 14:00-18:00,Th 08:00-18:00
    Mo-Sa 07:00-21:00; Su,PH 09:00-12:00; PH off

Rules are separated by a semicolon or a comma. A rule without days holds every day of the week.
After a comma a rule adds to the days that it names, as IRVE's own example does; after a semicolon
it replaces what they had. A period that ends before it begins ends
on the next day.
"""

import re
from typing import NamedTuple

from csms.domain.point_rules import Broken

DAYS = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")
ALWAYS = "24/7"
HOLIDAYS = 8
"""Stands for public holidays (PH), beside 1 (Monday) to 7 (Sunday)."""

_DAY = r"(?:Mo|Tu|We|Th|Fr|Sa|Su|PH)"
_SPAN = rf"{_DAY}(?:-{_DAY})?"
_TIMES = r"\d{1,2}:\d{2}-\d{1,2}:\d{2}"
_RULE = re.compile(
    rf"(?:(?P<days>{_SPAN}(?:\s*,\s*{_SPAN})*)\s*)?"
    rf"(?P<times>{_TIMES}(?:\s*,\s*{_TIMES})*|off|closed)"
)
_BREAK = re.compile(r"\s*[;,]\s*")


class Period(NamedTuple):
    """A stretch of one day: minutes after its midnight, `end` up to 24 h, or less than `begin`
    where it ends on the next day."""

    day: int  # 1 Monday to 7 Sunday, HOLIDAYS
    begin_minute: int
    end_minute: int


def canonical(text: str) -> str:
    """The text, its spaces put right. Raises: Broken."""
    tidy = " ".join(text.split())
    if tidy == ALWAYS:
        return tidy
    periods(tidy)
    return tidy


def periods(text: str) -> list[Period]:
    """All periods of a week and of holidays, in order, each once. Raises: Broken."""
    if text.strip() == ALWAYS:
        return [Period(day, 0, 24 * 60) for day in range(1, HOLIDAYS)]
    found: set[Period] = set()
    position, text, replaces = 0, text.strip(), False
    while True:
        rule = _RULE.match(text, position)
        if rule is None:
            raise Broken("opening_hours_form", value=text[position : position + 40])
        days = _days(rule["days"])
        closed = rule["times"] in ("off", "closed")
        if closed or replaces:
            found = {period for period in found if period.day not in days}
        if not closed:
            spans = [_minutes(span) for span in re.findall(_TIMES, rule["times"])]
            found |= {Period(day, *span) for day in days for span in spans}
        position = rule.end()
        if position == len(text):
            break
        between = _BREAK.match(text, position)
        if between is None:
            raise Broken("opening_hours_form", value=text[position : position + 40])
        position, replaces = between.end(), ";" in between[0]
    if not found:
        raise Broken("opening_hours_never")
    return sorted(found)


def _days(text: str | None) -> list[int]:
    if text is None:
        return list(range(1, HOLIDAYS))
    days: list[int] = []
    for span in re.split(r"\s*,\s*", text):
        first, _, last = span.partition("-")
        if "PH" in (first, last):
            if last:
                raise Broken("opening_hours_form", value=span)
            days.append(HOLIDAYS)
            continue
        begin, end = DAYS.index(first), DAYS.index(last or first)
        days += [(begin + n) % 7 + 1 for n in range((end - begin) % 7 + 1)]
    return days


def _minutes(span: str) -> tuple[int, int]:
    begin, end = (int(part[:-3]) * 60 + int(part[-2:]) for part in span.split("-"))
    odd = any(int(part[-2:]) > 59 for part in span.split("-"))
    if odd or begin >= 24 * 60 or end > 24 * 60 or begin == end:
        raise Broken("opening_hours_time", value=span)
    return begin, end
