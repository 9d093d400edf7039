"""The rules for a row: the schema's, as the national consolidation applies them, and those beyond
it, which nobody nationally asks for and without which a file passes and is wrong.

`check_row` takes a row as text, whoever wrote it; `Together` what only several rows show.
"""

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Final

from csms.domain import opening_hours, point_rules
from csms.domain.point_rules import Broken
from csms.domain.siren import siren_is_valid
from reporting.irve.findings import Effect, Finding
from reporting.irve.schema import (
    HOURS,
    INSEE,
    NOT_CONCERNED,
    ROAMING_ID,
    SIREN,
    SOCKETS,
    STATIC,
    Column,
    Kind,
    Row,
)

POWER_KW_LEAST: Final = Decimal("0.5")
POWER_KW_MOST: Final = Decimal(1000)
"""The highest of version 3 of the schema; beyond it somebody wrote watts."""
POWER_AC_KW_MOST: Final = Decimal(44)

_TRUTHS: Final = {
    **dict.fromkeys(("true", "TRUE", "True", "VRAI", "1"), True),
    **dict.fromkeys(("false", "FALSE", "False", "FAUX", "0"), False),
}
_EMAIL: Final = re.compile(r"[^@\s]+@[a-zA-Z0-9.-]+\.[a-zA-Z]{2,}")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INTEGER: Final = re.compile(r"\+?[0-9]{1,18}")
_NUMBER: Final = re.compile(r"\+?[0-9]{1,18}(\.[0-9]{1,18})?")
_NUMBER_COMMA: Final = re.compile(r"[0-9]+,[0-9]+")
_DEGREES: Final = r"-?[0-9]{1,18}(?:\.[0-9]{1,30})?"
_PLACE: Final = re.compile(rf"\[\s*({_DEGREES})\s*,\s*({_DEGREES})\s*\]")
_SPACED_ID: Final = re.compile(r"[A-Z]{2}[\s*-]*[A-Z0-9]{3}[\s*-]*[PE][A-Z0-9\s*-]*")
_POSTAL_IN: Final = re.compile(r"(?<![0-9])([0-9]{5})(?![0-9])")
_EXAMPLE: Final = re.compile(r"FRA68[PE]68021001[0-9]?")  # of the schema's own example
_PRICE: Final = re.compile(r"[1-9]")
_NOTHING_SAID: Final = re.compile(r"[\W_]*|n/?a|nc|nr|null|none", re.IGNORECASE)
# The box in which the consolidation takes longitude and latitude for swapped.
_METRO_LONGITUDES: Final = (-5.5, 9.7)
_METRO_LATITUDES: Final = (41.0, 51.5)


def check_row(row: Row, today: date, prefixes: Sequence[str] = ()) -> list[Finding]:
    """What is wrong with one row that has all columns, in the schema's order; `prefixes` are the
    operator's at AFIREV, none where they are not known."""
    found = [finding for column in STATIC for finding in _by_schema(column, row[column.name])]
    flawed = {finding.column for finding in found if finding.effect is Effect.FILE}
    found += [finding for finding in _beyond(row, today, prefixes) if finding.column not in flawed]
    return found


# --- By the schema --------------------------------------------------------------------------------


def by_schema(content: bytes, columns: Sequence[Column]) -> list[Finding]:
    """Where the cells of a file that was written here are off the schema of its columns."""
    reader = csv.reader(io.StringIO(content.decode(), newline=""), strict=True)
    assert next(reader) == [column.name for column in columns]
    return [
        replace(finding, line=line)
        for line, cells in enumerate(reader, start=2)
        for column, text in zip(columns, cells, strict=True)
        for finding in _by_schema(column, text)
    ]


def _by_schema(column: Column, text: str) -> Iterator[Finding]:
    """Both the schema's refusals and what the consolidation puts right by itself."""
    if not text.strip():
        if column.required:
            yield Finding("required", Effect.FILE, column.name)
        return
    if column.words and text not in column.words:
        parts = {"words": ", ".join(column.words)}
        yield _refused("word", column, text, **parts)
    elif column.pattern is not None and not column.pattern.search(text):
        yield _off_pattern(column, text)
    elif column.kind is Kind.EMAIL and not _EMAIL.fullmatch(text):
        yield _refused("email_form", column, text)
    elif column.kind is Kind.TRUTH:
        yield from _of_truth(column, text)
    elif column.kind is Kind.INTEGER and not _INTEGER.fullmatch(text):
        yield _refused("integer_form", column, text)
    elif column.kind is Kind.NUMBER and not _NUMBER.fullmatch(text):
        yield _off_number(column, text)
    elif column.kind is Kind.DATE:
        yield from _of_date(column, text)
    elif column.kind is Kind.PLACE:
        yield from _of_place_form(column, text)


def _refused(code: str, column: Column, text: str, **parts: str) -> Finding:
    return Finding(code, Effect.FILE, column.name, text, parts=parts)


def _off_pattern(column: Column, text: str) -> Finding:
    if column.pattern is SIREN:
        return _refused("siren_form", column, text)
    if column.pattern is HOURS:
        return _refused("hours_pattern", column, text)
    if column.pattern is INSEE:
        return _refused("insee_form", column, text)
    tidy = point_rules.canonical(text)
    if tidy != text and _SPACED_ID.fullmatch(text.upper()) and ROAMING_ID.search(tidy):
        return _refused("id_separators", column, text, meant=tidy)
    return _refused("id_form", column, text, letter=_letter_of(column.name))


def _letter_of(column: str) -> str:
    return "P" if "station" in column else "E"


def _of_truth(column: Column, text: str) -> Iterator[Finding]:
    truth = _TRUTHS.get(text)
    if truth is None:
        yield _refused("truth_form", column, text)
    elif text not in ("true", "false"):
        parts = {"meant": str(truth).lower()}
        yield Finding("truth_spelling", Effect.FIXED, column.name, text, parts=parts)


def _off_number(column: Column, text: str) -> Finding:
    if _NUMBER_COMMA.fullmatch(text):
        return _refused("number_comma", column, text, meant=text.replace(",", "."))
    return _refused("number_form", column, text)


def _of_date(column: Column, text: str) -> Iterator[Finding]:
    if not _DATE.fullmatch(text):
        yield _refused("date_form", column, text)
    elif day(text) is None:
        yield _refused("date_unreal", column, text)


def _of_place_form(column: Column, text: str) -> Iterator[Finding]:
    if not _PLACE.fullmatch(text):
        yield _refused("place_form", column, text)
    elif re.search(r"\s", text):
        yield Finding("place_spaces", Effect.FIXED, column.name, text)


def day(text: str) -> date | None:
    """A date as the schema writes it; None where it is none."""
    try:
        return date.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:
        return None


def is_true(text: str) -> bool:
    """Whether a cell says yes, in any spelling that the consolidation reads."""
    return _TRUTHS.get(text, False)


# --- Beyond the schema ----------------------------------------------------------------------------


def _beyond(row: Row, today: date, prefixes: Sequence[str]) -> Iterator[Finding]:
    yield from _of_identifiers(row, prefixes)
    yield from _of_place(row)
    yield from _of_commune(row)
    yield from _of_power(row)
    yield from _of_sockets(row)
    yield from _of_contacts(row)
    yield from _of_days(row, today)
    yield from _of_use(row)
    yield from _of_grid(row)


def _wrong(code: str, column: str, row: Row, **parts: object) -> Finding:
    return Finding(code, Effect.WRONG, column, row[column], parts=parts)


def _doubt(code: str, column: str, row: Row, **parts: object) -> Finding:
    return Finding(code, Effect.DOUBT, column, row[column], parts=parts)


def _of_identifiers(row: Row, prefixes: Sequence[str]) -> Iterator[Finding]:
    station, point = row["id_station_itinerance"], row["id_pdc_itinerance"]
    if point == NOT_CONCERNED:
        yield Finding("not_concerned", Effect.DROPPED, "id_pdc_itinerance", point)
        if not row["id_pdc_local"].strip():
            yield _wrong("local_id_missing", "id_pdc_local", row)
    if station == NOT_CONCERNED and not row["id_station_local"].strip():
        yield _wrong("local_id_missing", "id_station_local", row)
    yield from _of_letter(row, "id_station_itinerance")
    yield from _of_letter(row, "id_pdc_itinerance")
    yield from _of_prefix(row, prefixes)


def _of_letter(row: Row, column: str) -> Iterator[Finding]:
    """The letter of one identifier, and whether it is the example's."""
    text, letter = row[column], _letter_of(column)
    if text == NOT_CONCERNED:
        return
    of_station = letter == "P"
    rule, other = point_rules.station_id, point_rules.point_id
    if not of_station:
        rule, other = other, rule
    if not _obeys(rule, text):
        swapped = "station_letter" if of_station else "point_letter"
        code = swapped if _obeys(other, text) else "id_letter"
        yield _wrong(code, column, row, letter=letter)
    elif _EXAMPLE.fullmatch(text):
        yield _wrong("id_example", column, row)


def _of_prefix(row: Row, prefixes: Sequence[str]) -> Iterator[Finding]:
    """One prefix in both identifiers, and one of the operator's; told at the point if it can be."""
    columns = [
        column
        for column in ("id_station_itinerance", "id_pdc_itinerance")
        if row[column] != NOT_CONCERNED and ROAMING_ID.search(row[column])
    ]
    found = [row[column][:5] for column in columns]
    if len(set(found)) > 1:
        parts = {"found": found[1], "meant": found[0]}
        yield _wrong("prefix_differs", "id_pdc_itinerance", row, **parts)
    elif found and prefixes and found[0] not in prefixes:
        yield _wrong("prefix_foreign", columns[-1], row, meant=", ".join(prefixes))


def _obeys(rule: Callable[[str], str], text: str) -> bool:
    """Whether the text is in the form that the rule makes of it."""
    try:
        return rule(text) == text
    except Broken:
        return False


def place(text: str) -> tuple[float, float] | None:
    """Longitude and latitude of a cell; None where it is no place."""
    found = _PLACE.fullmatch(text)
    return (float(found[1]), float(found[2])) if found else None


def _of_place(row: Row) -> Iterator[Finding]:
    found = place(row["coordonneesXY"])
    if found is None:
        return
    try:
        point_rules.region(*found)
    except Broken as broken:
        if broken.code != "coordinates_swapped":
            yield _wrong("place_outside", "coordonneesXY", row)
            return
        low, high = _METRO_LATITUDES
        west, east = _METRO_LONGITUDES
        mended = low <= found[0] <= high and west <= found[1] <= east
        yield Finding(
            "place_swapped",
            Effect.FIXED if mended else Effect.WRONG,
            "coordonneesXY",
            row["coordonneesXY"],
            parts={"meant": f"[{found[1]:.7g},{found[0]:.7g}]"},
        )


def _of_commune(row: Row) -> Iterator[Finding]:
    commune, address = row["code_insee_commune"].strip(), row["adresse_station"]
    postal_codes = _POSTAL_IN.findall(address)
    if not postal_codes and address.strip():
        yield _doubt("address_postal", "adresse_station", row)
    if not commune:
        return
    if _is_postal_code(commune, address):
        yield _wrong("commune_postal", "code_insee_commune", row)
        return
    found = place(row["coordonneesXY"])
    region = None if found is None else _region(*found)
    if region is not None and not point_rules.lies_in(commune, region):
        yield _wrong("commune_elsewhere", "code_insee_commune", row, meant=region.name)
    elif commune in postal_codes:  # some dozens of small communes have one number for both
        yield _doubt("commune_as_postal", "code_insee_commune", row)
    elif postal_codes and not any(_one_department(commune, code) for code in postal_codes):
        parts = {"found": postal_codes[-1]}
        yield _doubt("commune_department", "code_insee_commune", row, **parts)


def _is_postal_code(commune: str, address: str) -> bool:
    """Whether it is one for certain: none ends in 000, Paris has its own, and those of Lyon and
    Marseille are the codes of small communes elsewhere."""
    if commune.endswith("000") or not _obeys(point_rules.insee_code, commune):
        return True
    cities = (("lyon", "6900"), ("marseille", "130"))
    return commune in _POSTAL_IN.findall(address) and any(
        city in address.casefold() and commune.startswith(start) for city, start in cities
    )


def _region(longitude: float, latitude: float) -> point_rules.Region | None:
    try:
        return point_rules.region(longitude, latitude)
    except Broken:
        return None


def _one_department(commune: str, postal_code: str) -> bool:
    """Corsica has one beginning of postal codes for both its departments."""
    if commune.startswith(("2A", "2B")):
        return postal_code.startswith("20")
    return commune[:2] == postal_code[:2]


def _of_power(row: Row) -> Iterator[Finding]:
    text = row["puissance_nominale"].strip()
    if not _NUMBER.fullmatch(text):
        return
    power_kw = Decimal(text)
    if power_kw > POWER_KW_MOST:
        yield _wrong("power_watts", "puissance_nominale", row, meant=kilowatts(power_kw))
    elif power_kw < POWER_KW_LEAST:
        yield _wrong("power_little", "puissance_nominale", row)
    elif power_kw > POWER_AC_KW_MOST and not any(
        is_true(row[name]) for name in SOCKETS if name not in ("prise_type_ef", "prise_type_2")
    ):
        yield _doubt("power_ac", "puissance_nominale", row)


def kilowatts(power_w: int | Decimal) -> str:
    """A power in W as the schema writes it: kW, a point, no digit too many."""
    text = f"{Decimal(power_w) / 1000:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _of_sockets(row: Row) -> Iterator[Finding]:
    if not any(is_true(row[name]) for name in SOCKETS):
        yield _wrong("no_socket", SOCKETS[0], row)
    if is_true(row["cable_t2_attache"]) and not is_true(row["prise_type_2"]):
        yield _wrong("cable_without_t2", "cable_t2_attache", row)


def _of_contacts(row: Row) -> Iterator[Finding]:
    siren, phone = row["siren_amenageur"].strip(), row["telephone_operateur"].strip()
    if siren and (not siren_is_valid(siren) or siren == "0" * 9):
        yield _wrong("siren_checksum", "siren_amenageur", row)
    if phone:
        try:
            point_rules.phone(phone)
        except Broken:
            yield _wrong("phone_form", "telephone_operateur", row)


def _of_days(row: Row, today: date) -> Iterator[Finding]:
    for column in ("date_mise_en_service", "date_maj"):
        stated = day(row[column])
        if stated is not None and stated > today:
            yield _wrong("date_future", column, row)


def _of_use(row: Row) -> Iterator[Finding]:
    try:
        opening_hours.canonical(row["horaires"])
    except Broken as broken:
        yield _wrong("hours_form", "horaires", row, reason=broken)
    if _NOTHING_SAID.fullmatch(row["restriction_gabarit"].strip()):
        yield _wrong("size_limits_empty", "restriction_gabarit", row)
    if is_true(row["gratuit"]) and _PRICE.search(row["tarification"]):
        yield _wrong("free_priced", "tarification", row)


def _of_grid(row: Row) -> Iterator[Finding]:
    number = row["num_pdl"].strip()
    if number and not re.fullmatch(r"[0-9]{14}", number):
        yield _wrong("pdl_form", "num_pdl", row)
    elif not number and row["raccordement"] == "Direct":
        yield _wrong("pdl_missing", "num_pdl", row)
