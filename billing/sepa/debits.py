"""CORE direct debits: pain.008.001.08."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Final

from sepaxml import SepaDD  # type: ignore[import-untyped]  # it has no stubs

from billing.sepa import faults, proving
from billing.sepa.faults import Fault, to_sepa
from billing.sepa.parties import Creditor, Debit
from billing.sepa.proving import Built
from billing.sepa.transfers import party
from csms import deadlines
from csms.deadlines import Days

SEQUENCES: Final = ("FRST", "RCUR", "OOFF", "FNAL")
_IDENTIFIER: Final = re.compile(r"([A-Z]{2})([0-9]{2})([A-Z0-9]{3})([A-Za-z0-9+?/:().,'-]{1,28})")


def build_debits(
    message_id: str,
    creditor: Creditor,
    debits: Sequence[Debit],
    *,
    created_at: datetime,
    today: date,
) -> Built:
    """A file of direct debits, grouped by sequence and day. A debit with a fault is left out alone.

    Raises: ValueError for what concerns all of them: the message id, the creditor.
    """
    _check(message_id, creditor)
    account = faults.compact(creditor.account)
    repeated = proving.twice([each.end_to_end_id for each in debits])
    kept, refused = [], []
    for each in debits:
        fault = _fault(each, repeated, today)
        if fault is None:
            kept.append(replace(each, debtor=faults.compact(each.debtor)))
        else:
            refused.append(proving.refused(each.end_to_end_id, fault))
    if not kept:
        return Built(message_id, None, (), tuple(refused), 0)
    document = SepaDD(
        {
            **party(account),
            "batch": True,
            "currency": "EUR",
            "creditor_id": creditor.identifier,
            "instrument": "CORE",
        },
        proving.DEBITS,
        clean=False,
    )
    for each in kept:
        document.add_payment(
            {
                **party(each.debtor),
                "amount": each.amount_cents,
                "type": each.sequence,
                "collection_date": each.collection_on,
                "mandate_id": each.mandate_reference,
                "mandate_date": each.mandate_signed_on,
                "description": to_sepa(each.remittance, faults.REMITTANCE_LENGTH_MAX)
                or each.end_to_end_id,
                "endtoend_id": each.end_to_end_id,
            }
        )
    content = proving.finish(document.export(validate=False), message_id, created_at)
    asked = {
        each.end_to_end_id: (each.amount_cents, each.debtor.iban, each.collection_on)
        for each in kept
    }
    proving.prove(content, proving.DEBITS, asked, message_id, account.iban)
    total = sum(each.amount_cents for each in kept)
    return Built(message_id, content, tuple(asked), tuple(refused), total)


def is_identifier(text: str) -> bool:
    """Whether a SEPA creditor identifier's check digits are right (ISO 7064, as for an IBAN, the
    business code left out)."""
    found = _IDENTIFIER.fullmatch(text)
    if found is None:
        return False
    country, check, _, national = found.groups()
    plain = re.sub(r"[^A-Za-z0-9]", "", national).upper() + country + check
    return int("".join(str(int(character, 36)) for character in plain)) % 97 == 1


def _fault(debit: Debit, repeated: set[str], today: date) -> Fault | None:
    if debit.end_to_end_id in repeated:
        return Fault(
            "identifier",
            f"The reference {debit.end_to_end_id} is there twice.",
            "Give each debit a reference of its own.",
        )
    if debit.sequence not in SEQUENCES:
        return Fault("sequence", f"{debit.sequence} is no sequence.", "FRST or RCUR.")
    if debit.mandate_signed_on > today:
        return Fault(
            "mandate",
            f"Mandate {debit.mandate_reference} is signed on {debit.mandate_signed_on}, "
            "which lies ahead.",
            "Correct the day of the signature.",
        )
    if debit.collection_on < today or not deadlines.counts(debit.collection_on, Days.TARGET):
        return Fault(
            "day",
            f"On {debit.collection_on} nothing can be collected.",
            "Take a TARGET day to come.",
        )
    return (
        faults.of_identifier(debit.end_to_end_id, "The reference")
        or faults.of_identifier(debit.mandate_reference, "The mandate")
        or faults.of_amount(debit.amount_cents)
        or faults.of_account(debit.debtor)
    )


def _check(message_id: str, creditor: Creditor) -> None:
    """Raises: ValueError."""
    fault = faults.of_identifier(message_id, "The message id")
    fault = fault or faults.of_account(creditor.account)
    if fault is not None:
        raise ValueError(f"{fault.message} {fault.remedy}")
    if not is_identifier(creditor.identifier):
        raise ValueError(
            f"The creditor identifier {creditor.identifier} is wrong: the bank that gave it (ICS) "
            "says it as FR, two digits, three letters, six characters."
        )
