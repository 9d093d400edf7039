"""Credit transfers: pain.001.001.09."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any

from sepaxml import SepaTransfer  # type: ignore[import-untyped]  # it has no stubs

from billing.sepa import faults, proving
from billing.sepa.faults import Fault, to_sepa
from billing.sepa.parties import Account, Address, Transfer
from billing.sepa.proving import Built
from csms import deadlines
from csms.deadlines import Days


def build_transfers(
    message_id: str,
    debtor: Account,
    execution_on: date,
    transfers: Sequence[Transfer],
    *,
    created_at: datetime,
    today: date,
) -> Built:
    """A file of transfers from one account, on one day. A transfer with a fault is left out alone.

    Raises: ValueError for what concerns all of them: the message id, the debtor, the day.
    """
    _check(message_id, debtor, execution_on, today)
    debtor = faults.compact(debtor)
    repeated = proving.twice([each.end_to_end_id for each in transfers])
    kept, refused = [], []
    for each in transfers:
        fault = _fault(each, repeated)
        if fault is None:
            kept.append(replace(each, creditor=faults.compact(each.creditor)))
        else:
            refused.append(proving.refused(each.end_to_end_id, fault))
    if not kept:
        return Built(message_id, None, (), tuple(refused), 0)
    document = SepaTransfer(
        {**party(debtor), "batch": True, "currency": "EUR"}, proving.TRANSFERS, clean=False
    )
    for each in kept:
        document.add_payment(
            {
                **party(each.creditor),
                "amount": each.amount_cents,
                "execution_date": execution_on,
                "description": to_sepa(each.remittance, faults.REMITTANCE_LENGTH_MAX)
                or each.end_to_end_id,
                "endtoend_id": each.end_to_end_id,
            }
        )
    content = proving.finish(document.export(validate=False), message_id, created_at)
    asked = {
        each.end_to_end_id: (each.amount_cents, each.creditor.iban, execution_on) for each in kept
    }
    proving.prove(content, proving.TRANSFERS, asked, message_id, debtor.iban)
    total = sum(each.amount_cents for each in kept)
    return Built(message_id, content, tuple(asked), tuple(refused), total)


def _fault(transfer: Transfer, repeated: set[str]) -> Fault | None:
    if transfer.end_to_end_id in repeated:
        return Fault(
            "identifier",
            f"The reference {transfer.end_to_end_id} is there twice: the bank would pay once.",
            "Give each payment a reference of its own.",
        )
    return (
        faults.of_identifier(transfer.end_to_end_id, "The reference")
        or faults.of_amount(transfer.amount_cents)
        or faults.of_account(transfer.creditor)
    )


def _check(message_id: str, debtor: Account, execution_on: date, today: date) -> None:
    """Raises: ValueError."""
    fault = faults.of_identifier(message_id, "The message id") or faults.of_account(debtor)
    if fault is not None:
        raise ValueError(f"{fault.message} {fault.remedy}")
    if execution_on < today:
        raise ValueError(f"{execution_on} is past.")
    if not deadlines.counts(execution_on, Days.TARGET):
        raise ValueError(f"On {execution_on} no transfer settles (TARGET is closed).")


def party(account: Account) -> dict[str, Any]:
    """An account in the library's words."""
    found: dict[str, Any] = {
        "name": to_sepa(account.name, faults.NAME_LENGTH_MAX),
        "IBAN": account.iban,
    }
    if account.bic is not None:
        found["BIC"] = account.bic
    if account.address is not None:
        found["address"] = _address(account.address)
    return found


def _address(address: Address) -> dict[str, Any]:
    """An address in the library's words."""
    parts = {
        "street_name": address.street,
        "building_number": address.building,
        "postcode": address.postal_code,
        "town": address.town,
    }
    found: dict[str, Any] = {name: to_sepa(part) for name, part in parts.items() if part}
    return {
        **found,
        "country": address.country,
        "lines": [to_sepa(line) for line in address.lines],
    }
