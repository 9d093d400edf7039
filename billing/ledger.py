"""The books as values: accounts, entries that balance, and the digest that chains them.

Pure. Debits are above 0, credits below. Client money has accounts of its own; what drivers owe a
client is memo, for it is the client's receivable and not ours.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class Account:
    """Where money stands. `code` is its name for ever."""

    code: str
    kind: str  # asset | liability | income | expense | memo
    general_account: str  # plan comptable général
    label: str
    client_id: int | None = None
    person_id: int | None = None


@dataclass(frozen=True, slots=True)
class Posting:
    """One leg of an entry."""

    account: Account
    amount_cents: int


@dataclass(frozen=True, slots=True)
class Entry:
    """What happened, whole: its postings sum to 0. `client_id` None: in the operator's chain."""

    source_key: str
    kind: str
    booked_on: date
    label: str
    client_id: int | None
    postings: tuple[Posting, ...]
    reverses_key: str | None = None

    def __post_init__(self) -> None:
        assert self.postings, f"{self.source_key} has no posting"
        assert sum(posting.amount_cents for posting in self.postings) == 0, self.source_key


def receivable_drivers(client_id: int) -> Account:
    """What drivers owe a client."""
    return Account(
        f"receivable:drivers:{client_id}", "memo", "8011", "Créances sur conducteurs", client_id
    )


def uncollected(client_id: int) -> Account:
    """The other side: what the client has not been collected."""
    return Account(f"uncollected:{client_id}", "memo", "8012", "À encaisser", client_id)


def owed_available(client_id: int) -> Account:
    """What was collected for a client and is not paid out."""
    return Account(
        f"owed:available:{client_id}", "liability", "4671", "Dû au client, disponible", client_id
    )


def wallet(person_id: int) -> Account:
    """What a driver has paid that is on no invoice."""
    return Account(
        f"wallet:{person_id}", "liability", "4191", "Avance de conducteur", person_id=person_id
    )


def receivable_client(client_id: int) -> Account:
    """What a client owes the operator."""
    return Account(f"receivable:client:{client_id}", "asset", "4111", "Client", client_id)


COMMISSION = Account("income:commission", "income", "7061", "Commissions d’intermédiation")
FEES = Account("income:fees", "income", "7062", "Frais de gestion, abonnements, interventions")
VAT = Account("vat:collected", "liability", "44571", "TVA collectée")


def invoice_issued(
    client_id: int, invoice_id: int, number: str, effect_cents: int, booked_on: date
) -> Entry:
    """What a document in a client's name does to what its drivers owe; below 0: a credit."""
    return Entry(
        f"invoice:{invoice_id}",
        "invoice",
        booked_on,
        number,
        client_id,
        _legs(
            (receivable_drivers(client_id), effect_cents),
            (uncollected(client_id), -effect_cents),
        ),
    )


def allocated(
    receipt_id: int,
    invoice_id: int,
    client_id: int,
    person_id: int,
    amount_cents: int,
    booked_on: date,
) -> Entry:
    """Money of a driver's wallet becomes a client's, for an invoice; below 0: it goes back."""
    return Entry(
        f"allocation:{receipt_id}:{invoice_id}",
        "allocation",
        booked_on,
        f"Encaissement {receipt_id}",
        client_id,
        _legs(
            (wallet(person_id), amount_cents),
            (owed_available(client_id), -amount_cents),
            (uncollected(client_id), amount_cents),
            (receivable_drivers(client_id), -amount_cents),
        ),
    )


def own_invoice(
    invoice_id: int,
    number: str,
    client_id: int,
    commission_excl_cents: int,
    fees_excl_cents: int,
    vat_cents: int,
    booked_on: date,
) -> Entry:
    """An invoice of the operator's; below 0: a credit."""
    gross = commission_excl_cents + fees_excl_cents + vat_cents
    return Entry(
        f"invoice:{invoice_id}",
        "own_invoice",
        booked_on,
        number,
        None,
        _legs(
            (receivable_client(client_id), gross),
            (COMMISSION, -commission_excl_cents),
            (FEES, -fees_excl_cents),
            (VAT, -vat_cents),
        ),
    )


def digest(entry: Entry, previous: bytes) -> bytes:
    """SHA-256 of an entry's body after the digest of the entry before it in its chain."""
    return hashlib.sha256(previous + body(entry)).digest()


def body(entry: Entry) -> bytes:
    """All that an entry says, the same bytes always."""
    return json.dumps(
        [
            entry.source_key,
            entry.kind,
            entry.booked_on.isoformat(),
            entry.label,
            entry.client_id,
            [[posting.account.code, posting.amount_cents] for posting in entry.postings],
            entry.reverses_key,
        ],
        ensure_ascii=False,
        separators=(",", ":"),
    ).encode()


def _legs(*legs: tuple[Account, int]) -> tuple[Posting, ...]:
    """The legs that are not of nothing."""
    return tuple(Posting(account, amount) for account, amount in legs if amount != 0)
