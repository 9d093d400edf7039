"""The columns of the static and the dynamic file (etalab/schema-irve 2.3.1), in their order."""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from csms.static_data import irve

Row = Mapping[str, str]
"""A row by its columns; the empty string where a value is not known."""


class Kind(StrEnum):
    """What a column takes."""

    TEXT = "text"
    EMAIL = "email"
    TRUTH = "truth"  # true, false
    INTEGER = "integer"
    NUMBER = "number"
    DATE = "date"  # 2026-11-26
    PLACE = "place"  # [longitude,latitude]


class Column(NamedTuple):
    """One column; a pattern is looked for anywhere in the cell, as the schema's readers do."""

    name: str
    kind: Kind = Kind.TEXT
    required: bool = False
    pattern: re.Pattern[str] | None = None
    words: tuple[str, ...] = ()


NOT_CONCERNED: Final = "Non concerné"
ROAMING_ID: Final = re.compile(r"(?:(?:^|,)(^[A-Z]{2}[A-Z0-9]{4,33}\Z|Non concerné))+\Z")
SIREN: Final = re.compile(r"^[0-9]{9}\Z")
INSEE: Final = re.compile(r"^([013-9][0-9]|2[AB1-9])[0-9]{3}\Z")
HOURS: Final = re.compile(r"(([0-9]{1,2}:[0-9]{2})-([0-9]{1,2}:[0-9]{2})|24/7)")

STATIC: Final = (
    Column("nom_amenageur"),
    Column("siren_amenageur", pattern=SIREN),
    Column("contact_amenageur", Kind.EMAIL),
    Column("nom_operateur"),
    Column("contact_operateur", Kind.EMAIL, True),
    Column("telephone_operateur"),
    Column("nom_enseigne", required=True),
    Column("id_station_itinerance", required=True, pattern=ROAMING_ID),
    Column("id_station_local"),
    Column("nom_station", required=True),
    Column("implantation_station", required=True, words=tuple(irve.IMPLANTATION)),
    Column("adresse_station", required=True),
    Column("code_insee_commune", pattern=INSEE),
    Column("coordonneesXY", Kind.PLACE, True),
    Column("nbre_pdc", Kind.INTEGER, True),
    Column("id_pdc_itinerance", required=True, pattern=ROAMING_ID),
    Column("id_pdc_local"),
    Column("puissance_nominale", Kind.NUMBER, True),
    Column("prise_type_ef", Kind.TRUTH, True),
    Column("prise_type_2", Kind.TRUTH, True),
    Column("prise_type_combo_ccs", Kind.TRUTH, True),
    Column("prise_type_chademo", Kind.TRUTH, True),
    Column("prise_type_autre", Kind.TRUTH, True),
    Column("gratuit", Kind.TRUTH),
    Column("paiement_acte", Kind.TRUTH, True),
    Column("paiement_cb", Kind.TRUTH),
    Column("paiement_autre", Kind.TRUTH),
    Column("tarification"),
    Column("condition_acces", required=True, words=tuple(irve.ACCESS)),
    Column("reservation", Kind.TRUTH, True),
    Column("horaires", required=True, pattern=HOURS),
    Column("accessibilite_pmr", required=True, words=tuple(irve.PMR_ACCESS)),
    Column("restriction_gabarit", required=True),
    Column("station_deux_roues", Kind.TRUTH, True),
    Column("raccordement", words=tuple(irve.GRID_CONNECTION)),
    Column("num_pdl"),
    Column("date_mise_en_service", Kind.DATE),
    Column("observations"),
    Column("date_maj", Kind.DATE, True),
    Column("cable_t2_attache", Kind.TRUTH),
)
STATIC_NAMES: Final = tuple(column.name for column in STATIC)
SOCKETS: Final = (*irve.SOCKETS, irve.OTHER_SOCKET)
STATION_COLUMNS: Final = (
    *STATIC_NAMES[:7],
    *STATIC_NAMES[8:14],
    *("condition_acces", "horaires", "station_deux_roues"),
    *("raccordement", "num_pdl", "date_mise_en_service"),
)
"""What every row of a station repeats, beside its identifier and its number of points."""

_CONNECTOR_STATES: Final = ("fonctionnel", "hors_service", "inconnu")
DYNAMIC: Final = (
    Column("id_pdc_itinerance", required=True, pattern=re.compile(r"^[A-Z]{2}[A-Z0-9]{4,33}\Z")),
    Column("etat_pdc", required=True, words=("en_service", "hors_service", "inconnu")),
    Column("occupation_pdc", required=True, words=("libre", "occupe", "reserve", "inconnu")),
    Column("horodatage", required=True),
    Column("etat_prise_type_2", words=_CONNECTOR_STATES),
    Column("etat_prise_type_combo_ccs", words=_CONNECTOR_STATES),
    Column("etat_prise_type_chademo", words=_CONNECTOR_STATES),
    Column("etat_prise_type_ef", words=_CONNECTOR_STATES),
)
DYNAMIC_NAMES: Final = tuple(column.name for column in DYNAMIC)


def csv_bytes(names: tuple[str, ...], rows: Iterable[Row]) -> bytes:
    """The rows as a file: UTF-8, commas, one line a row, nothing that depends on the moment."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
