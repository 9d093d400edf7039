"""Who stands on an invoice: the operator by its settings, a client by its record and VAT status of
a day, a driver by what she gave for her invoices. What is missing is a `Lack` with its remedy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from billing.invoice import Party, VatCase
from billing.store.issuing import DriverRow
from csms.config import PREFIX, Settings
from csms.domain.siren import siren_is_valid
from csms.registry import Conflict
from csms.store.clients import ClientRecord, Vat

_NEEDED: Final = (
    "operator_name",
    "operator_legal_form",
    "operator_siren",
    "operator_vat_number",
    "operator_register",
    "operator_street",
    "operator_postal_code",
    "operator_city",
    "operator_email",
)


@dataclass(frozen=True, slots=True)
class Lack:
    """What keeps a client's invoices back: a stable code, what it is, and what to do."""

    cause: str
    message: str
    remedy: str
    about: str = ""  # whom of the client's, where it is not the client itself


def operator_party(settings: Settings) -> Party:
    """The operator, as each document names it. Raises: Conflict naming the settings to make."""
    values = {name: getattr(settings, name) for name in _NEEDED}
    missing = [PREFIX + name.upper() for name, value in values.items() if not value]
    if missing:
        raise Conflict(
            "No invoice can be issued before the settings say who the operator is: "
            f"set {', '.join(missing)}."
        )
    return Party(**{name.removeprefix("operator_"): value for name, value in values.items()})


def vat_on(statuses: Sequence[Vat], day: date) -> Vat | None:
    """How a client stands to VAT on a day; None: it has not said."""
    for status in statuses:
        if status.from_on <= day and (status.to_on is None or day < status.to_on):
            return status
    return None


def client_party(
    client: ClientRecord, statuses: Sequence[Vat], day: date, case: VatCase | None = None
) -> Party | Lack:
    """A client on a document of that day. `case` is the one under which it sells there; None where
    it is the buyer, whose status may be unknown."""
    if not client.legal_name:
        return Lack(
            "client_without_legal_name",
            f"Client {client.name} has no legal name for its invoices.",
            "Enter its legal name (PATCH /api/v1/clients/{id}, legal_name).",
        )
    if client.street is None:
        return Lack(
            "client_without_address",
            f"Client {client.name} has no address for its invoices.",
            "Enter its address (PATCH /api/v1/clients/{id}, address).",
        )
    vat = vat_on(statuses, day)
    if case is not None:
        lack = _lack_as_seller(client, vat, day, case)
        if lack is not None:
            return lack
    return Party(
        name=client.legal_name,
        siren=client.siren or "",
        vat_number=(vat.vat_number if vat is not None else None) or "",
        street=client.street,
        postal_code=client.postal_code or "",
        city=client.city or "",
        country=client.country or "FR",
        is_consumer=client.client_class == "particulier" or client.siren is None,
    )


def _lack_as_seller(client: ClientRecord, vat: Vat | None, day: date, case: VatCase) -> Lack | None:
    """What a client lacks to sell under a VAT case on a day."""
    if vat is None:
        return Lack(
            "vat_status_missing",
            f"Client {client.name} has not declared how it stands to VAT on {day}.",
            "Enter its declaration (POST /api/v1/clients/{id}/vat); it is never guessed.",
        )
    if vat.status != case:
        return Lack(
            "vat_status_changed",
            f"Client {client.name} was {case} on {day} when its sessions were priced, and is "
            f"{vat.status} by a later declaration.",
            "Put the declaration right, or decide with the client on correctives.",
        )
    if client.siren is None or not siren_is_valid(client.siren):
        return Lack(
            "client_without_siren",
            f"Client {client.name} has no valid SIREN, and its invoices need one.",
            "Enter its SIREN (PATCH /api/v1/clients/{id}, siren).",
        )
    if case is VatCase.REDEVABLE and not _belongs(vat.vat_number or "", client.siren):
        return Lack(
            "vat_number_wrong",
            f"Client {client.name}: VAT number {vat.vat_number} is not that of its SIREN.",
            "Put right its VAT number or its SIREN.",
        )
    return None


def _belongs(vat_number: str, siren: str) -> bool:
    """Whether a French VAT number is of a SIREN; keys of letters go by its digits alone."""
    return not vat_number.startswith("FR") or vat_number[4:] == siren


def driver_party(driver: DriverRow) -> Party | Lack:
    """The buyer. A company without SIREN is invoiced as a consumer (see `is_doubtful`); one with it
    needs an address, a consumer does not."""
    is_business = driver.siren is not None and siren_is_valid(driver.siren)
    if is_business and not (driver.street and driver.postal_code and driver.city):
        return Lack(
            "driver_without_address",
            f"Driver {driver.person_id} is invoiced as a business and has no whole address.",
            "Enter street, postal code and city of the driver's invoices.",
            f"driver {driver.person_id}",
        )
    name = driver.company or driver.billing_name or driver.name
    return Party(
        name=name or f"Client {driver.person_id}",
        siren=(driver.siren or "") if is_business else "",
        vat_number=(driver.vat_number or "") if is_business else "",
        street=driver.street,
        postal_code=driver.postal_code,
        city=driver.city,
        country=driver.country,
        email=driver.email or "",
        is_consumer=not is_business,
    )


def is_doubtful(driver: DriverRow) -> bool:
    """Whether she gave a company and no valid SIREN, so that she was treated as a consumer."""
    return driver.company is not None and not siren_is_valid(driver.siren or "")
