"""Public points as they are stored, for tests of the national files."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from reporting.irve.static_rows import Point, Static, build

TODAY = date(2026, 11, 25)
CHANGED_AT = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)  # the 21st in Paris
SITE: dict[str, Any] = {
    "owner_name": "Syndicat Exemple",
    "owner_siren": "130025265",
    "owner_email": "contact@example.org",
    "operator_name": "Opérateur Exemple",
    "operator_email": "bornes@example.org",
    "operator_phone": "+33184710062",
    "brand_name": "Réseau Exemple",
    "afirev_station_id": "FRABCP1",
    "local_id": "S-1",
    "implantation": "customer_parking",
    "address": "12 rue des Tilleuls",
    "postal_code": "75012",
    "city": "Paris",
    "insee_code": "75112",
    "longitude": 2.4032,
    "latitude": 48.8398,
    "opening_hours": "Mo-Fr 08:00-12:00,Sa 09:00-12:00",
    "access": "reserved",
    "two_wheelers_only": False,
    "grid_connection": "direct",
    "delivery_point": "12345678912345",
    "pmr_access": "accessible",
    "reservation": False,
    "pays_ad_hoc": True,
    "commissioned_on": "2024-05-06",
}
EVSE: dict[str, Any] = {
    "local_id": "B1",
    "free": False,
    "pays_card": True,
    "pays_other": False,
    "tariff_text": "0,40 € / kWh",
    "height_max_m": 2.1,
}


def point(
    number: int = 1,
    *,
    site: Mapping[str, Any] | None = None,
    evse: Mapping[str, Any] | None = None,
    station: Mapping[str, Any] | None = None,
    **values: Any,
) -> Point:
    """A good point; `site`, `station` and `evse` change members of its static data, None taking one
    away. Another site is another station."""
    if values.get("site_id", "tilleuls") != "tilleuls":
        site = {"afirev_station_id": "FRABCP2", **(site or {})}
    known: dict[str, Any] = {
        "site_id": "tilleuls",
        "site_name": "Les Tilleuls",
        "client_id": 1,
        "client": "Syndicat",
        "station_id": f"CP-{number}",
        "evse_id": 1,
        "evse_uid": f"FRABCE{number}",
        "power_w_max": 22_000,
        "connectors": {1: "sType2", 2: "sCEE-7-7"},
        "changed_at": CHANGED_AT,
    }
    return Point(
        **(known | values),
        site_static=_changed(SITE, site),
        station_static=_changed({}, station),
        evse_static=_changed(EVSE, evse),
    )


def _changed(values: Mapping[str, Any], changes: Mapping[str, Any] | None) -> dict[str, Any]:
    merged = {**values, **(changes or {})}
    return {name: value for name, value in merged.items() if value is not None}


def good_row(**changes: str) -> dict[str, str]:
    """The row of a good point, some cells written otherwise."""
    row = dict(built(point()).rows[0])
    assert set(changes) <= set(row)
    return row | changes


def built(*points: Point, **options: Any) -> Static:
    """The static file of these points."""
    return build(points, TODAY, **options)
