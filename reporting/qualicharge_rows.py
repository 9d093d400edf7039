"""What QualiCharge is told, in its words: pure. Shapes and rules are those of its models (0.33).

Power is told in kW, energy in kWh; times with their zone. The rules are checked here before
anything is sent: what the service would refuse is put on the desk with a sentence instead.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from csms.static_data import irve
from csms.static_data.irve_columns import (
    UNKNOWN_LIMITS,
    degrees,
    limits_in_words,
    site_columns,
    terms_columns,
)
from csms.static_data.models import EvseStatic, PointTerms, SiteStatic

STATUS_AGE_MAX: Final = timedelta(hours=24) - timedelta(minutes=2)  # refused from 24 hours on
SESSION_AGE_MAX: Final = timedelta(days=365)
SESSION_LENGTH_MAX: Final = timedelta(days=7)
SESSION_ENERGY_WH_MAX: Final = 1_000_000
SESSION_ZERO_WH_MAX: Final = 1_000  # of one that took no time (quality rule 40)
SESSION_POWER_MARGIN: Final = Decimal("1.1")  # over the nominal power (quality rule 38)

_STATION_ID: Final = re.compile(r"FR[A-Z0-9]{3}P[A-Z0-9]{1,29}")
_POINT_ID: Final = re.compile(r"FR[A-Z0-9]{3}E[A-Z0-9]{1,29}")
_HOURS: Final = re.compile(r"(.*?)((\d{1,2}:\d{2})-(\d{1,2}:\d{2})|24/7)")
_BUSY: Final = frozenset(
    {"preparing", "charging", "suspended_ev", "suspended_evse", "finishing", "occupied"}
)
_BROKEN: Final = frozenset({"unavailable", "faulted"})
_SOCKET_STATES: Final = {
    "etat_prise_type_2": irve.SOCKETS["prise_type_2"],
    "etat_prise_type_combo_ccs": irve.SOCKETS["prise_type_combo_ccs"],
    "etat_prise_type_chademo": irve.SOCKETS["prise_type_chademo"],
    "etat_prise_type_ef": irve.SOCKETS["prise_type_ef"],
}


# Points.


def static_row(
    *,
    evse_uid: str,
    site_name: str,
    site: SiteStatic,
    evse: EvseStatic,
    terms: PointTerms,
    power_w: int,
    connector_types: Iterable[str | None],
    points: int,
    changed_on: date,
) -> dict[str, Any]:
    """A point that lacks nothing. What its station has in common is the site's alone, so that it is
    the same for all its points; `points` is how many are declared."""
    assert site.implantation and site.access and site.grid_connection and terms.pmr_access
    assert site.longitude is not None and site.latitude is not None
    row: dict[str, Any] = {
        **site_columns(site_name, site),
        # To the millionth, a decimetre.
        "coordonneesXY": f"[{degrees(site.longitude, 6)}, {degrees(site.latitude, 6)}]",
        "nbre_pdc": points,
        "id_pdc_itinerance": evse_uid,
        "id_pdc_local": evse.local_id,
        "puissance_nominale": _thousandth(power_w),
        **irve.sockets(connector_types),
        **terms_columns(terms),
        "paiement_cb": terms.pays_card,
        "paiement_autre": terms.pays_other,
        "restriction_gabarit": size_limits(terms),
        "date_mise_en_service": _day(site.commissioned_on),
        "date_maj": _day(changed_on),
    }
    return {name: value for name, value in row.items() if value is not None or name == "num_pdl"}


def size_limits(terms: PointTerms) -> str:
    """The limits of size in words, from the numbers where nobody wrote any."""
    if terms.size_limits is not None:
        return terms.size_limits
    return limits_in_words(terms) or UNKNOWN_LIMITS


def static_flaw(row: Mapping[str, Any], today: date) -> str | None:
    """Why the service would refuse the point; None: nothing is seen."""
    station, point = row["id_station_itinerance"], row["id_pdc_itinerance"]
    if not _STATION_ID.fullmatch(station):
        return f"id_station_itinerance {station} is no French station"
    if not _POINT_ID.fullmatch(point) or point[:5] != station[:5]:
        return f"id_pdc_itinerance {point} is no French point of the station's operating unit"
    if not 1.3 <= row["puissance_nominale"] <= 4000:
        return "puissance_nominale is from 1.3 to 4000 kW"
    if row["raccordement"] == "Direct" and not row["num_pdl"]:
        return "num_pdl is needed where the connection is direct"
    if not _HOURS.search(row["horaires"]):
        return "horaires names no hours"
    if len(row["restriction_gabarit"]) < 2:
        return "restriction_gabarit takes two characters or more"
    for name in ("date_maj", "date_mise_en_service"):
        if row.get(name) and date.fromisoformat(row[name]) > today:
            return f"{name} lies in the future"
    return None


# Statuses.


def status_row(
    evse_uid: str, at: datetime, status: str, connectors: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """A status of a point. One of its connectors in use occupies it; it is out of service where all
    of them are. `status` counts where nothing is known of any connector."""
    known = [c for c in connectors if c["status"] not in (None, "unknown")]
    state, use = _state_of({c["status"] for c in known} or {status})
    row: dict[str, Any] = {
        "id_pdc_itinerance": evse_uid,
        "etat_pdc": state,
        "occupation_pdc": use,
        "horodatage": at.isoformat(),
    }
    listed = list(connectors)
    for column, kinds in _SOCKET_STATES.items():
        found = {c["status"] for c in listed if c["type"] in kinds}
        if found:
            row[column] = _socket_state(found)
    return row


def _state_of(statuses: set[str]) -> tuple[str, str]:
    """etat_pdc and occupation_pdc; what is broken is not occupied (quality rule 37)."""
    if statuses & _BUSY:
        return "en_service", "occupe"
    if "reserved" in statuses:
        return "en_service", "reserve"
    if "available" in statuses:
        return "en_service", "libre"
    if statuses & _BROKEN:
        return "hors_service", "inconnu"
    return "inconnu", "inconnu"


def _socket_state(statuses: set[str | None]) -> str:
    if statuses - _BROKEN - {None, "unknown"}:
        return "fonctionnel"
    return "hors_service" if statuses & _BROKEN else "inconnu"


def is_too_old(horodatage: str, now: datetime) -> bool:
    """A status of a day ago or more is refused."""
    return now - datetime.fromisoformat(horodatage) >= STATUS_AGE_MAX


# Sessions.


def session_row(
    evse_uid: str, started_at: datetime, ended_at: datetime, energy_wh: int
) -> dict[str, Any]:
    """A session; nothing of who charged."""
    return {
        "id_pdc_itinerance": evse_uid,
        "start": started_at.isoformat(),
        "end": ended_at.isoformat(),
        "energy": _thousandth(energy_wh),
    }


def session_flaw(row: Mapping[str, Any], power_w_max: int | None, now: datetime) -> str | None:
    """Why the service would refuse the session, or its quality rules would; None: nothing."""
    start, end = datetime.fromisoformat(row["start"]), datetime.fromisoformat(row["end"])
    energy_wh = Decimal(str(row["energy"])) * 1000
    length = end - start
    if length < timedelta(0):
        return "it ends before it begins"
    if end > now:
        return "it ends in the future"
    if length > SESSION_LENGTH_MAX:
        return "it lasts more than 7 days"
    if now - start >= SESSION_AGE_MAX:
        return "it began 365 days ago or more"
    if not 0 <= energy_wh <= SESSION_ENERGY_WH_MAX:
        return "its energy is not from 0 to 1000 kWh"
    if not length and energy_wh > SESSION_ZERO_WH_MAX:
        return "it took no time, and more than 1 kWh"
    hours = Decimal(str(length.total_seconds())) / 3600
    if length and power_w_max and energy_wh > power_w_max * hours * SESSION_POWER_MARGIN:
        return "its energy is more than the point can give in that time"
    return None


def _thousandth(value: int) -> float:
    """W as kW, Wh as kWh: exact to the last digit of its decimal form."""
    return float(Decimal(value) / 1000)


def _day(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
