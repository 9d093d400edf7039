"""The official IRVE schemas (2.3.1) by themselves: columns, types, constraints, and a check of a
file against them that shares nothing with the product. For runs without the official documents; a
test compares the two where those are there."""

import csv
import io
import json
import re
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

_ID = r"(?:(?:^|,)(^[A-Z]{2}[A-Z0-9]{4,33}$|Non concerné))+$"
_STATES = ["fonctionnel", "hors_service", "inconnu"]
_REQUIRED: dict[str, Any] = {"required": True}
_OPTIONAL: dict[str, Any] = {"required": False}
STATIC: list[tuple[str, str, dict[str, Any]]] = [
    ("nom_amenageur", "string", _OPTIONAL),
    ("siren_amenageur", "string", _OPTIONAL | {"pattern": r"^\d{9}$"}),
    ("contact_amenageur", "string", _OPTIONAL),
    ("nom_operateur", "string", _OPTIONAL),
    ("contact_operateur", "string", _REQUIRED),
    ("telephone_operateur", "string", _OPTIONAL),
    ("nom_enseigne", "string", _REQUIRED),
    ("id_station_itinerance", "string", _REQUIRED | {"pattern": _ID}),
    ("id_station_local", "string", _OPTIONAL),
    ("nom_station", "string", _REQUIRED),
    (
        "implantation_station",
        "string",
        _REQUIRED
        | {
            "enum": [
                "Voirie",
                "Parking public",
                "Parking privé à usage public",
                "Parking privé réservé à la clientèle",
                "Station dédiée à la recharge rapide",
            ]
        },
    ),
    ("adresse_station", "string", _REQUIRED),
    (
        "code_insee_commune",
        "string",
        _OPTIONAL | {"pattern": r"^([013-9]\d|2[AB1-9])\d{3}$"},
    ),
    ("coordonneesXY", "geopoint", _REQUIRED),
    ("nbre_pdc", "integer", _REQUIRED | {"minimum": 0}),
    ("id_pdc_itinerance", "string", _REQUIRED | {"pattern": _ID}),
    ("id_pdc_local", "string", _OPTIONAL),
    ("puissance_nominale", "number", _REQUIRED | {"minimum": 0}),
    ("prise_type_ef", "boolean", _REQUIRED),
    ("prise_type_2", "boolean", _REQUIRED),
    ("prise_type_combo_ccs", "boolean", _REQUIRED),
    ("prise_type_chademo", "boolean", _REQUIRED),
    ("prise_type_autre", "boolean", _REQUIRED),
    ("gratuit", "boolean", _OPTIONAL),
    ("paiement_acte", "boolean", _REQUIRED),
    ("paiement_cb", "boolean", _OPTIONAL),
    ("paiement_autre", "boolean", _OPTIONAL),
    ("tarification", "string", _OPTIONAL),
    ("condition_acces", "string", _REQUIRED | {"enum": ["Accès libre", "Accès réservé"]}),
    ("reservation", "boolean", _REQUIRED),
    (
        "horaires",
        "string",
        _REQUIRED | {"pattern": r"(.*?)((\d{1,2}:\d{2})-(\d{1,2}:\d{2})|24/7)"},
    ),
    (
        "accessibilite_pmr",
        "string",
        _REQUIRED
        | {
            "enum": [
                "Réservé PMR",
                "Accessible mais non réservé PMR",
                "Non accessible",
                "Accessibilité inconnue",
            ]
        },
    ),
    ("restriction_gabarit", "string", _REQUIRED),
    ("station_deux_roues", "boolean", _REQUIRED),
    ("raccordement", "string", _OPTIONAL | {"enum": ["Direct", "Indirect"]}),
    ("num_pdl", "string", _OPTIONAL),
    ("date_mise_en_service", "date", _OPTIONAL),
    ("observations", "string", _OPTIONAL),
    ("date_maj", "date", _REQUIRED),
    ("cable_t2_attache", "boolean", _OPTIONAL),
]
DYNAMIC: list[tuple[str, str, dict[str, Any]]] = [
    ("id_pdc_itinerance", "string", _REQUIRED | {"pattern": "^[A-Z]{2}[A-Z0-9]{4,33}$"}),
    ("etat_pdc", "string", _REQUIRED | {"enum": ["en_service", "hors_service", "inconnu"]}),
    (
        "occupation_pdc",
        "string",
        _REQUIRED | {"enum": ["libre", "occupe", "reserve", "inconnu"]},
    ),
    ("horodatage", "datetime", _REQUIRED),
    ("etat_prise_type_2", "string", _OPTIONAL | {"enum": _STATES}),
    ("etat_prise_type_combo_ccs", "string", _OPTIONAL | {"enum": _STATES}),
    ("etat_prise_type_chademo", "string", _OPTIONAL | {"enum": _STATES}),
    ("etat_prise_type_ef", "string", _OPTIONAL | {"enum": _STATES}),
]


def faults(content: bytes, schema: list[tuple[str, str, dict[str, Any]]]) -> list[str]:
    """What is wrong with a file by the schema; strict about what its readers are lenient about."""
    rows = list(csv.reader(io.StringIO(content.decode("utf-8"), newline="")))
    names = [name for name, _, _ in schema]
    if rows[0] != names:
        return [f"header {rows[0]}"]
    return [
        f"line {number}, {name}: {value!r} ({fault})"
        for number, row in enumerate(rows[1:], start=2)
        for (name, kind, constraints), value in zip(schema, row, strict=True)
        if (fault := _fault(value, kind, constraints))
    ]


def _fault(value: str, kind: str, constraints: dict[str, Any]) -> str:
    if value == "":
        return "required" if constraints["required"] else ""
    if not _is_a(value, kind):
        return kind
    if "enum" in constraints and value not in constraints["enum"]:
        return "enum"
    if "pattern" in constraints and not re.search(constraints["pattern"], value):
        return "pattern"
    if "minimum" in constraints and Decimal(value) < constraints["minimum"]:
        return "minimum"
    return ""


def _is_a(value: str, kind: str) -> bool:
    try:
        if kind == "boolean":
            return value in ("true", "false")
        if kind == "integer":
            return str(int(value)) == value
        if kind == "number":
            return Decimal(value).is_finite() and "," not in value
        if kind == "date":
            return date.fromisoformat(value).isoformat() == value
        if kind == "datetime":
            return datetime.fromisoformat(value).utcoffset() is not None
        if kind == "geopoint":
            longitude, latitude = json.loads(value)
            inside = -180 <= longitude <= 180 and -90 <= latitude <= 90
            return inside and " " not in value and "e" not in value.lower()
    except (ValueError, InvalidOperation):
        return False
    return True
