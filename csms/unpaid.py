"""What a driver is told who may not start because of unpaid invoices: how much, and how to pay.

Who is blocked is billing's to decide (billing.payment_blocks); here it is put in words.
"""

from collections.abc import Sequence
from typing import Final

from csms.notifications import writing
from csms.store.unpaid import UnpaidRow

NAMED_MAX: Final = 5  # invoices named in a sentence


def sentences(rows: Sequence[UnpaidRow], iban: str | None) -> tuple[str, str]:
    """In French and in English: what to pay and how. `rows`: of one client, one at least. `iban`:
    of the account that drivers pay to; None: it is not said."""
    total_cents = sum(row.left_cents for row in rows)
    return _french(rows, total_cents, iban), _english(rows, total_cents, iban)


def _french(rows: Sequence[UnpaidRow], total_cents: int, iban: str | None) -> str:
    several = len(rows) > 1
    account = f" sur le compte {spaced(iban)}" if iban else ""
    text = (
        f"Il reste {writing.money(total_cents, 'fr')} à payer pour vos recharges chez "
        f"{rows[0].client} ({'factures' if several else 'facture'} {_numbers(rows)}). Payez par "
        f"virement{account} en indiquant {'les numéros' if several else 'le numéro'} ; vous "
        "pourrez recharger ici dès que le paiement sera enregistré."
    )
    return writing.french(text)


def _english(rows: Sequence[UnpaidRow], total_cents: int, iban: str | None) -> str:
    several = len(rows) > 1
    account = f" to account {spaced(iban)}" if iban else ""
    return (
        f"{writing.money(total_cents, 'en')} are left to be paid for your charging at "
        f"{rows[0].client} ({'invoices' if several else 'invoice'} {_numbers(rows)}). Pay by "
        f"transfer{account}, naming {'their numbers' if several else 'its number'}; you can charge "
        "here again as soon as the payment is recorded."
    )


def _numbers(rows: Sequence[UnpaidRow]) -> str:
    shown = ", ".join(row.number for row in rows[:NAMED_MAX])
    return f"{shown}, …" if len(rows) > NAMED_MAX else shown


def spaced(iban: str) -> str:
    """An IBAN in groups of four, as it is printed."""
    plain = iban.replace(" ", "")
    return " ".join(plain[at : at + 4] for at in range(0, len(plain), 4))
