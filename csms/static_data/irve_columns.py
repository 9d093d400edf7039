"""Columns of the national row (IRVE 2.3.1) that say the same wherever a point is declared: in the
file for data.gouv.fr, and to QualiCharge. Values are as stored, None where nothing is known."""

from collections.abc import Mapping

from csms.static_data import irve
from csms.static_data.models import PointTerms, SiteStatic

UNKNOWN_LIMITS = "inconnu"  # the column is required


def site_columns(site_name: str, site: SiteStatic) -> dict[str, object]:
    """What a site says, the same for all its points; but for where it is."""
    address = " ".join(part for part in (site.address, site.postal_code, site.city) if part)
    return {
        "nom_amenageur": site.owner_name,
        "siren_amenageur": site.owner_siren,
        "contact_amenageur": site.owner_email,
        "nom_operateur": site.operator_name,
        "contact_operateur": site.operator_email,
        "telephone_operateur": site.operator_phone,
        "nom_enseigne": site.brand_name,
        "id_station_itinerance": site.afirev_station_id,
        "id_station_local": site.local_id,
        "nom_station": site_name,
        "implantation_station": _label(irve.IMPLANTATION, site.implantation),
        "adresse_station": address,
        "code_insee_commune": site.insee_code,
        "condition_acces": _label(irve.ACCESS, site.access),
        "horaires": site.opening_hours,
        "station_deux_roues": site.two_wheelers_only,
        "raccordement": _label(irve.GRID_CONNECTION, site.grid_connection),
        "num_pdl": site.delivery_point,
    }


def terms_columns(terms: PointTerms) -> dict[str, object]:
    """How a point may be used; but for what it takes beside money for one use."""
    return {
        "gratuit": terms.free,
        "paiement_acte": terms.pays_ad_hoc,
        "tarification": terms.tariff_text,
        "reservation": terms.reservation,
        "accessibilite_pmr": _label(irve.PMR_ACCESS, terms.pmr_access),
        "observations": terms.observations,
    }


def limits_in_words(terms: PointTerms) -> str:
    """The numbers that limit a car's size, in small letters; "" where there are none."""
    limits = (
        ("hauteur maximale", terms.height_max_m, "m"),
        ("longueur maximale", terms.length_max_m, "m"),
        ("largeur maximale", terms.width_max_m, "m"),
        ("masse maximale", terms.mass_max_t, "t"),
    )
    return ", ".join(
        f"{what} {f'{value:g}'.replace('.', ',')} {unit}"
        for what, value, unit in limits
        if value is not None
    )


def degrees(value: float, places: int) -> str:
    """To so many places, without an exponent and without what is nothing but noise."""
    text = f"{value:.{places}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _label(words: Mapping[str, str], ours: str | None) -> str | None:
    return None if ours is None else irve.label(words, ours)
