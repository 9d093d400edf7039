"""What each rule says to people, by its code, in English (the API) and French (pages, mails)."""

from typing import Literal

Language = Literal["en", "fr"]

TEXTS: dict[str, dict[str, str]] = {
    "station_id_form": {
        "en": "takes an AFIREV station identifier: country, 3 characters of the operating unit, "
        "P, then 1 to 29 letters or digits, like FR*ABC*P12",
        "fr": "attend un identifiant AFIREV de station : pays, 3 caractères de l’unité "
        "d’exploitation, P, puis 1 à 29 lettres ou chiffres, comme FR*ABC*P12",
    },
    "station_id_letter": {
        "en": "this is the identifier of a point (letter E); a station's has the letter P",
        "fr": "c’est l’identifiant d’un point de recharge (lettre E) ; celui d’une station porte "
        "la lettre P",
    },
    "point_id_form": {
        "en": "takes an eMI3 identifier like FR*ABC*E1234: country, 3 characters of the operating "
        "unit, E, then 1 to 29 letters or digits",
        "fr": "attend un identifiant AFIREV de point de recharge comme FR*ABC*E1234 : pays, "
        "3 caractères de l’unité d’exploitation, E, puis 1 à 29 lettres ou chiffres",
    },
    "point_id_letter": {
        "en": "this is the identifier of a station (letter P); a point's has the letter E",
        "fr": "c’est l’identifiant d’une station (lettre P) ; celui d’un point de recharge porte "
        "la lettre E",
    },
    "siren_form": {
        "en": "a SIREN has nine digits",
        "fr": "un numéro SIREN comporte neuf chiffres",
    },
    "siren_checksum": {
        "en": "this is no SIREN: its check digit is wrong, a digit may be mistyped",
        "fr": "ce numéro SIREN est erroné : sa clé de contrôle est fausse, un chiffre a pu être "
        "mal saisi",
    },
    "phone_form": {
        "en": "takes a telephone number like +33184710062 or 01 84 71 00 62",
        "fr": "attend un numéro de téléphone comme +33184710062 ou 01 84 71 00 62",
    },
    "email_form": {
        "en": "takes an e-mail address like contact@example.org",
        "fr": "attend une adresse électronique comme contact@example.org",
    },
    "insee_form": {
        "en": "an INSEE code of a commune has five characters, like 21231 or 2A004",
        "fr": "un code INSEE de commune comporte cinq caractères, comme 21231 ou 2A004",
    },
    "insee_is_postal": {
        "en": "{value} is a postal code; the INSEE code is {meant}",
        "fr": "{value} est un code postal ; le code INSEE est {meant}",
    },
    "postal_form": {
        "en": "a French postal code has five digits",
        "fr": "un code postal comporte cinq chiffres",
    },
    "pdl_form": {
        "en": "a delivery point (PDL) has 14 digits",
        "fr": "un point de livraison (PDL) comporte 14 chiffres",
    },
    "power_looks_like_kw": {
        "en": "takes watts, {value} looks like kW: write {meant}",
        "fr": "attend des watts ; {value} semble exprimé en kW : écrivez {meant}",
    },
    "power_too_much": {
        "en": "takes watts, and no point has more than {most} W",
        "fr": "attend des watts, et aucun point de recharge ne dépasse {most} W",
    },
    "coordinates_swapped": {
        "en": "latitude and longitude look swapped: {longitude} is given as the longitude and "
        "{latitude} as the latitude",
        "fr": "latitude et longitude semblent inversées : {longitude} est donné comme longitude "
        "et {latitude} comme latitude",
    },
    "coordinates_outside": {
        "en": "longitude {longitude}, latitude {latitude} lies neither in metropolitan France, "
        "Corsica nor the overseas departments; name the country if it is another",
        "fr": "longitude {longitude}, latitude {latitude} n’est ni en France métropolitaine, ni "
        "en Corse, ni dans un département d’outre-mer ; indiquez le pays si c’en est un autre",
    },
    "opening_hours_form": {
        "en": "takes 24/7, or hours like Mo-Fr 08:00-12:00,Sa 09:00-12:00; cannot read “{value}”",
        "fr": "attend 24/7, ou des horaires comme Mo-Fr 08:00-12:00,Sa 09:00-12:00 ; "
        "« {value} » n’est pas compris",
    },
    "opening_hours_time": {
        "en": "{value} is no stretch of a day: times go from 00:00 to 24:00",
        "fr": "{value} n’est pas une plage horaire : les heures vont de 00:00 à 24:00",
    },
    "opening_hours_never": {
        "en": "these hours are never open",
        "fr": "ces horaires n’ouvrent jamais",
    },
    "dates_order": {
        "en": "{later} lies before {earlier}",
        "fr": "{later} précède {earlier}",
    },
    "pdl_direct": {
        "en": "a direct grid connection has its delivery point (PDL)",
        "fr": "un raccordement direct a son point de livraison (PDL)",
    },
    "connector_twice": {
        "en": "connector {value} stands there twice",
        "fr": "le connecteur {value} figure deux fois",
    },
    "current_dc_only": {
        "en": "a {value} connector gives direct current only",
        "fr": "un connecteur {value} ne délivre que du courant continu",
    },
    "current_ac_only": {
        "en": "a {value} connector gives alternating current only",
        "fr": "un connecteur {value} ne délivre que du courant alternatif",
    },
    "other_too_much": {
        "en": "takes an object of at most {most} characters of JSON, at most {depth} levels deep",
        "fr": "accepte un objet JSON d’au plus {most} caractères et {depth} niveaux",
    },
    # Findings: what keeps a public point from being declared.
    "missing": {"en": "is missing", "fr": "manque"},
    "stored_badly": {
        "en": "what is stored cannot be used: {reason}",
        "fr": "la valeur enregistrée est inutilisable : {reason}",
    },
    "no_connector": {
        "en": "the point has no connector of a known type",
        "fr": "le point de recharge n’a aucun connecteur de type connu",
    },
    "prefix_differs": {
        "en": "begins with {value}, its station's identifier with {meant}: both carry the same "
        "operating unit",
        "fr": "commence par {value}, l’identifiant de sa station par {meant} : les deux portent "
        "la même unité d’exploitation",
    },
    "not_french": {
        "en": "the national register takes identifiers that begin with FR",
        "fr": "le registre national n’accepte que des identifiants qui commencent par FR",
    },
    "commune_elsewhere": {
        "en": "commune {value} does not lie in {meant}, where the coordinates are",
        "fr": "la commune {value} ne se trouve pas dans la zone des coordonnées ({meant})",
    },
    "in_future": {
        "en": "lies in the future: it can be declared from that day on",
        "fr": "est dans le futur : la déclaration est possible à partir de ce jour",
    },
    "decommissioned": {
        "en": "the point is out of service for good",
        "fr": "le point de recharge est définitivement hors service",
    },
    "power_too_little": {
        "en": "QualiCharge takes points from {least} W on",
        "fr": "QualiCharge accepte les points de recharge à partir de {least} W",
    },
    "tariff_free_contradiction": {
        "en": "charging is free, and yet a price is written",
        "fr": "la recharge est gratuite et un prix est pourtant indiqué",
    },
}


def message(code: str, language: Language = "en", **parts: str | float) -> str:
    """The sentence of a rule."""
    return TEXTS[code][language].format(**parts)
