"""What may not be in a payment: each fault as a value with its remedy. Pure but for schwifty's
tables of banks."""

import re
from dataclasses import dataclass, replace
from typing import Final

import pycountry
from schwifty import BIC, IBAN
from schwifty.exceptions import SchwiftyException
from text_unidecode import unidecode  # type: ignore[import-untyped]  # it has no stubs

from billing.sepa.parties import Account, Address

AMOUNT_CENTS_MAX: Final = 99_999_999_999
ID_LENGTH_MAX: Final = 35
STREET_LENGTH_MAX: Final = 70
BUILDING_LENGTH_MAX: Final = 16
POSTAL_CODE_LENGTH_MAX: Final = 16
TOWN_LENGTH_MAX: Final = 35
NAME_LENGTH_MAX: Final = 70
REMITTANCE_LENGTH_MAX: Final = 140
_CHARACTERS: Final = re.compile(r"[A-Za-z0-9/\-?:().,'+ ]+")
_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9/\-?:().,'+]+")
_COUNTRIES: Final = frozenset(country.alpha_2 for country in pycountry.countries)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a payment, and what to do."""

    cause: str
    message: str
    remedy: str


def of_amount(amount_cents: int) -> Fault | None:
    """Whether the schemes carry that amount."""
    if 1 <= amount_cents <= AMOUNT_CENTS_MAX:
        return None
    return Fault(
        "amount",
        f"{amount_cents} cents cannot be paid: from 1 to {AMOUNT_CENTS_MAX}.",
        "Pay nothing of nothing; split what is more.",
    )


def of_identifier(identifier: str, what: str) -> Fault | None:
    """Whether a reference keeps to the schemes' characters and length."""
    is_odd = identifier.startswith("/") or identifier.endswith("/") or "//" in identifier
    if len(identifier) <= ID_LENGTH_MAX and _IDENTIFIER.fullmatch(identifier) and not is_odd:
        return None
    return Fault(
        "identifier",
        f"{what} {identifier!r} has characters that no bank takes, or more than {ID_LENGTH_MAX}.",
        "Letters, digits and - ? : ( ) . , ' + within, / not at an end.",
    )


def of_account(account: Account) -> Fault | None:
    """Whether the account can exist, is reached by SEPA, and has a holder that can be written."""
    try:
        iban = IBAN(account.iban, validate_bban=True)
    except SchwiftyException as error:
        return Fault(
            "iban",
            f"The IBAN {masked(account.iban)} of {account.name} is wrong: {error}.",
            "Ask the holder for a RIB, enter it anew and have it approved.",
        )
    if not iban.in_sepa_zone:
        return Fault(
            "iban",
            f"SEPA does not reach accounts in {iban.country_code}.",
            "Pay it by another way, or ask for an account within SEPA.",
        )
    if account.bic is not None and (fault := _of_bic(account.bic, iban)) is not None:
        return fault
    if not to_sepa(account.name, NAME_LENGTH_MAX):
        return Fault(
            "name",
            "The holder's name has no letter that a bank takes.",
            "Write it in Latin letters.",
        )
    return None if account.address is None else _of_address(account.address)


def _of_bic(text: str, iban: IBAN) -> Fault | None:
    try:
        bic = BIC(text)
    except SchwiftyException as error:
        return Fault("bic", f"The BIC {text} is wrong: {error}.", "Leave it out: the IBAN says it.")
    if bic.country_code != iban.country_code:
        return Fault(
            "bic",
            f"The BIC {text} is of {bic.country_code}, the account of {iban.country_code}.",
            "Leave it out: the IBAN says it.",
        )
    return None


def _of_address(address: Address) -> Fault | None:
    """Structured, or hybrid: never lines alone (EPC153-22); and nothing that would be cut."""
    if not (to_sepa(address.town) and address.country in _COUNTRIES and len(address.lines) <= 2):
        return Fault(
            "address",
            "An address names its town and its country, and two more lines at most: banks refuse "
            "unstructured ones.",
            "Give street, number, postal code, town and country each by itself, or no address.",
        )
    parts = [
        (address.street, STREET_LENGTH_MAX),
        (address.building, BUILDING_LENGTH_MAX),
        (address.postal_code, POSTAL_CODE_LENGTH_MAX),
        (address.town, TOWN_LENGTH_MAX),
        *((line, NAME_LENGTH_MAX) for line in address.lines),
    ]
    for text, length_max in parts:
        written = to_sepa(text)
        if len(written) > length_max or bool(text) != bool(written):
            return Fault(
                "address",
                f"{text!r} is too long for its place in an address ({length_max} characters), or "
                "has no letter that a bank takes.",
                "Shorten it, or leave the address out: within SEPA none is needed.",
            )
    return None


def compact(account: Account) -> Account:
    """An account without a fault as a file has it: IBAN and BIC without spaces, in capitals."""
    bic = None if account.bic is None else str(BIC(account.bic).compact)
    return replace(account, iban=str(IBAN(account.iban).compact), bic=bic)


def to_sepa(text: str, length_max: int | None = None) -> str:
    """The text in the characters that every bank takes: é as e, œ as oe, others as a space. What
    is longer is cut, as is usual with names and remittances; None: nothing is."""
    plain = unidecode(text)
    kept = "".join(c if _CHARACTERS.fullmatch(c) else " " for c in plain)
    return " ".join(kept.split())[:length_max].strip(" /")


def masked(iban: str) -> str:
    """The first four and the last four characters."""
    return f"{iban[:4]}…{iban[-4:]}" if len(iban) > 8 else "…"
