"""An invoice as a value: what it says.

Amounts are cents. For charging the price to the driver comes first, VAT included: each line's VAT
is contained in its gross amount, rounded half up once, and the totals are the sums of the lines. A
sale whose price is without VAT comes to the same: the VAT upon a rounded net amount is the one that
the sum of both contains.

A line's quantity is 1 (UN/ECE C62): its net unit price is then the line's net amount, exactly.
Energy, time and the price that the driver knows stand beside it. A credit note (381) prints what it
gives back above 0.
"""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import IntEnum, StrEnum


class TypeCode(IntEnum):
    """What kind of document, by UNTDID 1001."""

    INVOICE = 380
    CREDIT_NOTE = 381
    CORRECTED = 384
    PREPAYMENT = 386  # asks for an advance


class VatCase(StrEnum):
    """How the seller stands to VAT (csms client_vat, by date); the operator is redevable."""

    REDEVABLE = "redevable"
    FRANCHISE = "franchise"
    NON_ASSUJETTI = "non_assujetti"


@dataclass(frozen=True, slots=True)
class Party:
    """Seller, buyer, or the operator who issues for the seller. Empty text: not known."""

    name: str
    siren: str = ""  # nine digits
    vat_number: str = ""
    street: str = ""
    postal_code: str = ""
    city: str = ""
    country: str = "FR"
    email: str = ""
    legal_form: str = ""  # with the capital: "SAS au capital de 60 000 €"
    register: str = ""  # "RCS Paris 912 044 948"
    is_consumer: bool = False


@dataclass(frozen=True, slots=True)
class DocumentLine:
    """One use, or one sale. `attributes` are pairs of name and value, in French, as printed."""

    label: str
    attributes: tuple[tuple[str, str], ...]
    vat_percent: Decimal  # 0 where the seller charges none
    net_cents: int
    vat_cents: int
    gross_cents: int
    session_id: int | None = None
    own_sale_id: int | None = None
    energy_wh: int | None = None
    started_at: str = ""  # RFC 3339 in UTC
    ended_at: str = ""
    point: str = ""
    tariff: tuple[str, ...] = ()  # its components as the driver knows them, VAT included
    # Where the line is one quantity at one price with VAT included: what the gross amount is made
    # of, exactly. None: it is not (a minimum price, a part of a sum, a price without VAT).
    unit_price_eur: Decimal | None = None  # of a kWh or an hour
    billed_wh: int | None = None  # after the tariff's step, so not always the energy
    billed_s: int | None = None


@dataclass(frozen=True, slots=True)
class VatTotal:
    """Of all lines of one rate."""

    percent: Decimal
    base_cents: int
    vat_cents: int


@dataclass(frozen=True, slots=True)
class Document:
    """What an invoice says. Texts are those of the day of issue, in the buyer's language."""

    type_code: TypeCode
    number: str
    issued_on: date
    due_on: date
    supplied_from_on: date
    supplied_to_on: date
    vat_case: VatCase
    is_goods: bool  # electricity; the operator's services: False
    seller: Party
    buyer: Party
    invoicer: Party | None  # the operator, in the seller's name and for its account; None: itself
    lines: tuple[DocumentLine, ...]
    vat: tuple[VatTotal, ...]
    net_cents: int
    vat_cents: int
    gross_cents: int
    paid_cents: int  # received before the issue
    mentions: tuple[tuple[str, str], ...]  # code (PMT, PMD, AAB, REG, franchise, ...) and text
    original_number: str = ""
    original_issued_on: date | None = None
    reason: str = ""
    language: str = "fr"
    is_simulated: bool = False  # of the demonstration: says so wherever it shows
    has_services: bool = False  # beside goods: the telemetering of what is supplied
    deducts_advance: bool = False  # what was paid before is an advance, invoiced by itself
