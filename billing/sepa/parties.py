"""Who pays whom what: the payments of a file, before they are XML. Pure."""

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class Address:
    """A structured postal address; `lines` is the unstructured rest, which is allowed only beside
    a town and a country (EPC, since 15 November 2026). country: ISO 3166-1."""

    street: str = ""
    building: str = ""
    postal_code: str = ""
    town: str = ""
    country: str = ""
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Account:
    """An account and its holder. An address is optional within the EEA."""

    name: str
    iban: str
    bic: str | None = None
    address: Address | None = None


@dataclass(frozen=True, slots=True)
class Creditor:
    """Who collects direct debits; `identifier` is its SEPA creditor identifier (ICS)."""

    account: Account
    identifier: str


@dataclass(frozen=True, slots=True)
class Transfer:
    """A credit transfer in euros."""

    end_to_end_id: str
    amount_cents: int
    creditor: Account
    remittance: str


@dataclass(frozen=True, slots=True)
class Debit:
    """A CORE direct debit in euros. sequence: FRST or RCUR."""

    end_to_end_id: str
    amount_cents: int
    debtor: Account
    mandate_reference: str
    mandate_signed_on: date
    sequence: str
    collection_on: date
    remittance: str
