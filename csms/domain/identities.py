"""Numbers that name persons and companies, checked by their own check digits; and numbers that must
never be kept here: those of bank cards and bank accounts."""

import re
from typing import Final

_FRENCH_VAT: Final = re.compile(r"FR(\d{2})(\d{9})")
_EU_VAT: Final = re.compile(r"[A-Z]{2}[0-9A-Z+*]{2,13}")
_CARD: Final = re.compile(r"(?<!\d)\d(?:[ .-]?\d){12,18}(?!\d)")
_IBAN: Final = re.compile(r"(?<![A-Z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}(?![A-Z0-9])")
_POSTAL_CODE: Final = re.compile(r"[0-9A-Z][0-9A-Z -]{1,10}[0-9A-Z]")

# ISO 3166-1, as of 2024.
_CODES: Final = (
    "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO "
    "BQ BR BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ "
    "DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP "
    "GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG "
    "KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML "
    "MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE "
    "PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL "
    "SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM "
    "US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW"
)
COUNTRIES: Final = frozenset(_CODES.split())


def luhn(digits: str) -> bool:
    """Whether the last digit checks the others (ISO/IEC 7812-1)."""
    total = 0
    for position, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (1 + position % 2)
        total += doubled - 9 * (doubled > 9)
    return total % 10 == 0


def is_siren(text: str) -> bool:
    """Whether it is a SIREN: nine digits, the last of them checking the others."""
    return len(text) == 9 and text.isascii() and text.isdecimal() and luhn(text)


def is_vat_number(text: str) -> bool:
    """Whether it looks like a VAT number of a member state; a French one is checked by its key."""
    french = _FRENCH_VAT.fullmatch(text)
    if french is not None:
        key, siren = french.groups()
        return is_siren(siren) and int(key) == (12 + 3 * (int(siren) % 97)) % 97
    return not text.startswith("FR") and _EU_VAT.fullmatch(text) is not None


def is_postal_code(text: str, country: str) -> bool:
    """Whether it can be a postal code there: five digits in France and what belongs to it."""
    if country in ("FR", "GF", "GP", "MQ", "RE", "YT", "MC"):
        return len(text) == 5 and text.isascii() and text.isdecimal()
    return _POSTAL_CODE.fullmatch(text) is not None


def holds_card_number(text: str) -> bool:
    """Whether there is something in it that may be the number of a bank card: 13 to 19 digits, the
    last of them checking the others."""
    return any(luhn(re.sub(r"\D", "", found)) for found in _CARD.findall(text))


def holds_iban(text: str) -> bool:
    """Whether there is a whole IBAN in it (ISO 13616), written with or without spaces."""
    for found in _IBAN.findall(text.upper()):
        iban = found.replace(" ", "")
        digits = "".join(str(int(character, 36)) for character in iban[4:] + iban[:4])
        if iban[:2] in COUNTRIES and int(digits) % 97 == 1:
            return True
    return False
