"""What the objects of OCPI 2.2.1 must look like, field by field, written from its specification.

A field is a cardinality (1 required, ? optional, * a list, + a list that is not empty) and a type:
`ci36` a CiString of at most 36, `s255` a string, `time`, `num`, `int`, `bool`, `url`, an
enumeration or another object by its name. `problems` says in words what a document breaks.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from zoneinfo import available_timezones

import pycountry

ENUMS: Final[dict[str, frozenset[str]]] = {
    name: frozenset(words.split())
    for name, words in {
        "Status": "AVAILABLE BLOCKED CHARGING INOPERATIVE OUTOFORDER PLANNED REMOVED RESERVED"
        " UNKNOWN",
        "Capability": "CHARGING_PROFILE_CAPABLE CHARGING_PREFERENCES_CAPABLE CHIP_CARD_SUPPORT"
        " CONTACTLESS_CARD_SUPPORT CREDIT_CARD_PAYABLE DEBIT_CARD_PAYABLE PED_TERMINAL"
        " REMOTE_START_STOP_CAPABLE RESERVABLE RFID_READER START_SESSION_CONNECTOR_REQUIRED"
        " TOKEN_GROUP_CAPABLE UNLOCK_CAPABLE",
        "ConnectorType": "CHADEMO CHAOJI DOMESTIC_A DOMESTIC_B DOMESTIC_C DOMESTIC_D DOMESTIC_E"
        " DOMESTIC_F DOMESTIC_G DOMESTIC_H DOMESTIC_I DOMESTIC_J DOMESTIC_K DOMESTIC_L DOMESTIC_M"
        " DOMESTIC_N DOMESTIC_O GBT_AC GBT_DC IEC_60309_2_single_16 IEC_60309_2_three_16"
        " IEC_60309_2_three_32 IEC_60309_2_three_64 IEC_62196_T1 IEC_62196_T1_COMBO IEC_62196_T2"
        " IEC_62196_T2_COMBO IEC_62196_T3A IEC_62196_T3C NEMA_5_20 NEMA_6_30 NEMA_6_50 NEMA_10_30"
        " NEMA_10_50 NEMA_14_30 NEMA_14_50 PANTOGRAPH_BOTTOM_UP PANTOGRAPH_TOP_DOWN TESLA_R"
        " TESLA_S",
        "ConnectorFormat": "SOCKET CABLE",
        "PowerType": "AC_1_PHASE AC_2_PHASE AC_2_PHASE_SPLIT AC_3_PHASE DC",
        "ParkingType": "ALONG_MOTORWAY PARKING_GARAGE PARKING_LOT ON_DRIVEWAY ON_STREET"
        " UNDERGROUND_GARAGE",
        "ParkingRestriction": "EV_ONLY PLUGGED DISABLED CUSTOMERS MOTORCYCLES",
        "Facility": "HOTEL RESTAURANT CAFE MALL SUPERMARKET SPORT RECREATION_AREA NATURE MUSEUM"
        " BIKE_SHARING BUS_STOP TAXI_STAND TRAM_STOP METRO_STATION TRAIN_STATION AIRPORT"
        " PARKING_LOT CARPOOL_PARKING FUEL_STATION WIFI",
        "ImageCategory": "CHARGER ENTRANCE LOCATION NETWORK OPERATOR OTHER OWNER",
        "EnergySourceCategory": "NUCLEAR GENERAL_FOSSIL COAL GAS GENERAL_GREEN SOLAR WIND WATER",
        "EnvironmentalImpactCategory": "NUCLEAR_WASTE CARBON_DIOXIDE",
        "SessionStatus": "ACTIVE COMPLETED INVALID PENDING RESERVATION",
        "AuthMethod": "AUTH_REQUEST COMMAND WHITELIST",
        "TokenType": "AD_HOC_USER APP_USER OTHER RFID",
        "WhitelistType": "ALWAYS ALLOWED ALLOWED_OFFLINE NEVER",
        "ProfileType": "CHEAP FAST GREEN REGULAR",
        "CdrDimensionType": "CURRENT ENERGY ENERGY_EXPORT ENERGY_IMPORT MAX_CURRENT MIN_CURRENT"
        " MAX_POWER MIN_POWER PARKING_TIME POWER RESERVATION_TIME STATE_OF_CHARGE TIME",
        "TariffType": "AD_HOC_PAYMENT PROFILE_CHEAP PROFILE_FAST PROFILE_GREEN REGULAR",
        "TariffDimensionType": "ENERGY FLAT PARKING_TIME TIME",
        "DayOfWeek": "MONDAY TUESDAY WEDNESDAY THURSDAY FRIDAY SATURDAY SUNDAY",
        "ReservationRestriction": "RESERVATION RESERVATION_EXPIRES",
        "Role": "CPO EMSP HUB NAP NSP OTHER SCSP",
        "InterfaceRole": "SENDER RECEIVER",
        "AllowedType": "ALLOWED BLOCKED EXPIRED NO_CREDIT NOT_ALLOWED",
        "CommandResponseType": "NOT_SUPPORTED REJECTED ACCEPTED UNKNOWN_SESSION",
        "CommandResultType": "ACCEPTED CANCELED_RESERVATION EVSE_OCCUPIED EVSE_INOPERATIVE FAILED"
        " NOT_SUPPORTED REJECTED TIMEOUT UNKNOWN_RESERVATION",
    }.items()
}

_OWNER = "country_code 1 alpha2, party_id 1 ci3"
_PLACE = (
    "address 1 s45, city 1 s45, postal_code ? s10, state ? s20, country 1 alpha3,"
    " coordinates 1 GeoLocation"
)
_TIMES = "last_updated 1 time"
_DOCUMENTS: Final = {
    "Location": f"{_OWNER}, id 1 ci36, publish 1 bool, publish_allowed_to * PublishTokenType,"
    f" name ? s255, {_PLACE}, related_locations * AdditionalGeoLocation,"
    " parking_type ? ParkingType, evses * EVSE, directions * DisplayText,"
    " operator ? BusinessDetails, suboperator ? BusinessDetails, owner ? BusinessDetails,"
    " facilities * Facility, time_zone 1 zone, opening_times ? Hours,"
    f" charging_when_closed ? bool, images * Image, energy_mix ? EnergyMix, {_TIMES}",
    "EVSE": "uid 1 ci36, evse_id ? ci48, status 1 Status, status_schedule * StatusSchedule,"
    " capabilities * Capability, connectors + Connector, floor_level ? s4,"
    " coordinates ? GeoLocation, physical_reference ? s16, directions * DisplayText,"
    f" parking_restrictions * ParkingRestriction, images * Image, {_TIMES}",
    "Connector": "id 1 ci36, standard 1 ConnectorType, format 1 ConnectorFormat,"
    " power_type 1 PowerType, max_voltage 1 int, max_amperage 1 int, max_electric_power ? int,"
    f" tariff_ids * ci36, terms_and_conditions ? url, {_TIMES}",
    "PublishTokenType": "uid ? ci36, type ? TokenType, visual_number ? s64, issuer ? s64,"
    " group_id ? ci36",
    "GeoLocation": "latitude 1 latitude, longitude 1 longitude",
    "AdditionalGeoLocation": "latitude 1 latitude, longitude 1 longitude, name ? DisplayText",
    "BusinessDetails": "name 1 s100, website ? url, logo ? Image",
    "Image": "url 1 url, thumbnail ? url, category 1 ImageCategory, type 1 ci4, width ? int,"
    " height ? int",
    "Hours": "twentyfourseven 1 bool, regular_hours * RegularHours,"
    " exceptional_openings * ExceptionalPeriod, exceptional_closings * ExceptionalPeriod",
    "RegularHours": "weekday 1 weekday, period_begin 1 hour, period_end 1 hour",
    "ExceptionalPeriod": "period_begin 1 time, period_end 1 time",
    "StatusSchedule": "period_begin 1 time, period_end ? time, status 1 Status",
    "EnergyMix": "is_green_energy 1 bool, energy_sources * EnergySource,"
    " environ_impact * EnvironmentalImpact, supplier_name ? s64, energy_product_name ? s64",
    "EnergySource": "source 1 EnergySourceCategory, percentage 1 num",
    "EnvironmentalImpact": "category 1 EnvironmentalImpactCategory, amount 1 num",
    "DisplayText": "language 1 s2, text 1 s512",
    "Price": "excl_vat 1 num, incl_vat ? num",
    "CdrToken": "country_code 1 ci2, party_id 1 ci3, uid 1 ci36, type 1 TokenType,"
    " contract_id 1 ci36",
    "Session": f"{_OWNER}, id 1 ci36, start_date_time 1 time, end_date_time ? time, kwh 1 num,"
    " cdr_token 1 CdrToken, auth_method 1 AuthMethod, authorization_reference ? ci36,"
    " location_id 1 ci36, evse_uid 1 ci36, connector_id 1 ci36, meter_id ? s255,"
    " currency 1 currency, charging_periods * ChargingPeriod, total_cost ? Price,"
    f" status 1 SessionStatus, {_TIMES}",
    "ChargingPeriod": "start_date_time 1 time, dimensions + CdrDimension, tariff_id ? ci36",
    "CdrDimension": "type 1 CdrDimensionType, volume 1 num",
    "CDR": f"{_OWNER}, id 1 ci39, start_date_time 1 time, end_date_time 1 time,"
    " session_id ? ci36, cdr_token 1 CdrToken, auth_method 1 AuthMethod,"
    " authorization_reference ? ci36, cdr_location 1 CdrLocation, meter_id ? s255,"
    " currency 1 currency, tariffs * Tariff, charging_periods + ChargingPeriod,"
    " signed_data ? SignedData, total_cost 1 Price, total_fixed_cost ? Price, total_energy 1 num,"
    " total_energy_cost ? Price, total_time 1 num, total_time_cost ? Price,"
    " total_parking_time ? num, total_parking_cost ? Price, total_reservation_cost ? Price,"
    " remark ? s255, invoice_reference_id ? ci39, credit ? bool, credit_reference_id ? ci39,"
    f" home_charging_compensation ? bool, {_TIMES}",
    "CdrLocation": f"id 1 ci36, name ? s255, {_PLACE}, evse_uid 1 ci36, evse_id 1 ci48,"
    " connector_id 1 ci36, connector_standard 1 ConnectorType,"
    " connector_format 1 ConnectorFormat, connector_power_type 1 PowerType",
    "SignedData": "encoding_method 1 ci36, encoding_method_version ? int, public_key ? s512,"
    " signed_values + SignedValue, url ? s512",
    "SignedValue": "nature 1 ci32, plain_data 1 s512, signed_data 1 s5000",
    # The last two are the guide's own.
    "Tariff": f"{_OWNER}, id 1 ci36, currency 1 currency, type ? TariffType,"
    " tariff_alt_text * DisplayText, tariff_alt_url ? url, min_price ? Price, max_price ? Price,"
    " elements + TariffElement, start_date_time ? time, end_date_time ? time,"
    f" energy_mix ? EnergyMix, {_TIMES}, target_operator_country_code ? ci2,"
    " target_operator_party_id ? ci3",
    "TariffElement": "price_components + PriceComponent, restrictions ? TariffRestrictions",
    "PriceComponent": "type 1 TariffDimensionType, price 1 num, vat ? num, step_size 1 int",
    "TariffRestrictions": "start_time ? hour, end_time ? hour, start_date ? date, end_date ? date,"
    " min_kwh ? num, max_kwh ? num, min_current ? num, max_current ? num, min_power ? num,"
    " max_power ? num, min_duration ? int, max_duration ? int, day_of_week * DayOfWeek,"
    " reservation ? ReservationRestriction",
    "Token": "country_code 1 ci2, party_id 1 ci3, uid 1 ci36, type 1 TokenType,"
    " contract_id 1 ci36, visual_number ? s64, issuer 1 s64, group_id ? ci36, valid 1 bool,"
    " whitelist 1 WhitelistType, language ? s2, default_profile_type ? ProfileType,"
    f" energy_contract ? EnergyContract, {_TIMES}",
    "EnergyContract": "supplier_name 1 s64, contract_id ? s64",
    "LocationReferences": "location_id 1 ci36, evse_uids * ci36",
    "Credentials": "token 1 ci64, url 1 url, roles + CredentialsRole",
    "CredentialsRole": "role 1 Role, business_details 1 BusinessDetails, party_id 1 ci3,"
    " country_code 1 alpha2",
    "Version": "version 1 ci16, url 1 url",
    "VersionDetails": "version 1 ci16, endpoints + Endpoint",
    "Endpoint": "identifier 1 ci36, role 1 InterfaceRole, url 1 url",
    "CommandResponse": "result 1 CommandResponseType, timeout 1 int, message * DisplayText",
    "CommandResult": "result 1 CommandResultType, message * DisplayText",
}
SHAPES: Final[dict[str, dict[str, tuple[str, str]]]] = {
    kind: {
        name: (cardinality, of)
        for name, cardinality, of in (field.split() for field in text.split(","))
    }
    for kind, text in _DOCUMENTS.items()
}

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_PATTERNS: Final = {
    "latitude": re.compile(r"-?[0-9]{1,2}\.[0-9]{5,7}"),
    "longitude": re.compile(r"-?[0-9]{1,3}\.[0-9]{5,7}"),
    "hour": re.compile(r"([0-1][0-9]|2[0-3]):[0-5][0-9]"),
    "date": re.compile(r"([12][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"),
    "url": re.compile(r"https?://[!-~]{1,247}"),
}


def problems(kind: str, value: Any, *, partial: bool = False) -> list[str]:
    """What of the specification the document breaks, in words; none: nothing.

    `partial`: the body of a PATCH, which needs its changed fields and `last_updated` only.
    """
    return list(_object(kind, value, kind, partial))


def instant(text: Any) -> datetime | None:
    """The instant that a DateTime names; None where it is none in UTC with a Z."""
    if not isinstance(text, str) or len(text) > 25 or not _TIME.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _object(kind: str, value: Any, path: str, partial: bool = False) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path} must be an object, and is {_short(value)}"
        return
    fields = SHAPES[kind]
    for name in value.keys() - fields.keys():
        yield f"{path}.{name} is no field of {kind}"
    for name, (cardinality, of) in fields.items():
        place = f"{path}.{name}"
        if name not in value:
            if cardinality in "1+" and (not partial or name == "last_updated"):
                yield f"{place} is missing"
        elif value[name] is None:
            yield f"{place} is null, where what is unknown is left out"
        elif cardinality in "*+":
            yield from _list(cardinality, of, value[name], place)
        else:
            yield from _value(of, value[name], place)


def _list(cardinality: str, of: str, value: Any, place: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{place} must be a list, and is {_short(value)}"
        return
    if cardinality == "+" and not value:
        yield f"{place} must not be empty"
    for number, each in enumerate(value):
        yield from _value(of, each, f"{place}[{number}]")


def _value(of: str, value: Any, place: str) -> Iterator[str]:
    if of in SHAPES:
        yield from _object(of, value, place)
    elif not _is(of, value):
        yield f"{place} must be {_called(of)}, and is {_short(value)}"


def _called(of: str) -> str:
    if of in ENUMS:
        return f"a word of {of}"
    if of.startswith("ci"):
        return f"a CiString of 1 to {of[2:]} printable ASCII characters"
    if of[0] == "s" and of[1:].isdigit():
        return f"a string of 1 to {of[1:]} characters"
    return _CALLED[of]


def _is(of: str, value: Any) -> bool:
    if of in ENUMS:
        return isinstance(value, str) and value in ENUMS[of]
    if of in _SIMPLE:
        return _SIMPLE[of](value)
    if not isinstance(value, str):
        return False
    if of.startswith("ci"):
        return 0 < len(value) <= int(of[2:]) and all(" " <= c <= "~" for c in value)
    if of[0] == "s" and of[1:].isdigit():
        return 0 < len(value) <= int(of[1:]) and value.isprintable()
    if of in _PATTERNS:
        return _PATTERNS[of].fullmatch(value) is not None
    return _STRINGS[of](value)


def _is_number(value: Any) -> bool:
    """The specification's numbers have four decimals, a JSON number of more says too much."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    exponent = Decimal(repr(value)).as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -4


_SIMPLE: Final[Mapping[str, Callable[[Any], bool]]] = {
    "num": _is_number,
    "int": lambda value: type(value) is int,
    "weekday": lambda value: type(value) is int and 1 <= value <= 7,
    "bool": lambda value: isinstance(value, bool),
}
_STRINGS: Final[Mapping[str, Callable[[str], bool]]] = {
    "time": lambda value: instant(value) is not None,
    "zone": lambda value: value in available_timezones(),
    "alpha2": lambda value: pycountry.countries.get(alpha_2=value) is not None,
    "alpha3": lambda value: pycountry.countries.get(alpha_3=value) is not None,
    "currency": lambda value: pycountry.currencies.get(alpha_3=value) is not None,
}
_CALLED: Final = {
    "num": "a number of at most four decimals",
    "int": "a whole number",
    "weekday": "a whole number from 1 (Monday) to 7",
    "bool": "true or false",
    "time": "a time in UTC of at most 25 characters that ends in Z",
    "zone": "a time zone of the IANA",
    "alpha2": "a country of ISO 3166-1 alpha-2",
    "alpha3": "a country of ISO 3166-1 alpha-3",
    "currency": "a currency of ISO 4217",
    "latitude": "a string as 50.77032 (five to seven decimals)",
    "longitude": "a string as -126.10494 (five to seven decimals)",
    "hour": "an hour as 08:30",
    "date": "a date as 2026-11-01",
    "url": "an absolute http(s) address of at most 255 characters",
}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
