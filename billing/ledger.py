"""The books as values: accounts, entries, and which entry each happening makes.

Pure. Debits are above 0, credits below; the postings of an entry sum to 0. An entry is named by the
key of its source, so that writing it twice writes it once. Corrections are new entries.

Accounts (the digits are those of the plan comptable général):

- what the operator holds for others: `bank:mandate` (its own bank account, kept apart) and
  `psp:clearing` (at the payment provider), both assets;
- whose it is: `wallet:{person}` (drivers, paid in and not yet used) and, of each client,
  `owed:available`, `owed:disputed`, `owed:paying`, all liabilities. At every commit what is held is
  never less than all of these together: client money is never lent (design, promise 5);
- `receivable:drivers:{client}` and `uncollected:{client}`: what drivers owe a client, and its
  counterpart. The claim is the client's, not the operator's: a memo of 467, always in balance;
- of co-owners whom it supplies itself (article 5.4 d): `receivable:owner:{client}:{person}` (what
  he owes), `advance:{client}:{person}` (a provision asked for) and `provision:{client}:{person}`
  (paid and not used): its own business, so none of it is money held for others;
- the operator's own: `bank:own`, `receivable:client:{client}` (what the client owes it),
  `income:commission`, `income:fees`, `income:energy`, `income:telemetering`, `vat:collected`,
  `vat:advances` (VAT of provisions, due when they are paid), `expense:psp_fees`, `suspense`.

Entries of one client form a chain, those of the operator another (client None). An entry's digest
holds that of the entry before it: one changed later breaks every digest after it.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum


class Kind(StrEnum):
    """What an account is."""

    ASSET = "asset"
    LIABILITY = "liability"
    INCOME = "income"
    EXPENSE = "expense"
    MEMO = "memo"


@dataclass(frozen=True, slots=True)
class Account:
    """One account; `code` names it."""

    code: str
    kind: Kind
    general_account: str
    label: str
    client_id: int | None = None
    person_id: int | None = None


@dataclass(frozen=True, slots=True)
class Posting:
    """A debit (above 0) or a credit (below)."""

    account: Account
    amount_cents: int


@dataclass(frozen=True, slots=True)
class Entry:
    """What is booked at once. `client_id` says whose chain it joins; None: the operator's."""

    source_key: str
    kind: str
    booked_on: date
    label: str
    client_id: int | None
    postings: tuple[Posting, ...]
    reverses_key: str | None = None

    def __post_init__(self) -> None:
        assert len(self.postings) > 1, self.source_key
        assert sum(posting.amount_cents for posting in self.postings) == 0, self.source_key
        assert all(posting.amount_cents for posting in self.postings), self.source_key


BANK_MANDATE = Account("bank:mandate", Kind.ASSET, "512100", "Banque, compte de tiers")
PSP_CLEARING = Account("psp:clearing", Kind.ASSET, "511600", "Prestataire de paiement, à recevoir")
BANK_OWN = Account("bank:own", Kind.ASSET, "512000", "Banque, compte propre")
INCOME_COMMISSION = Account("income:commission", Kind.INCOME, "706100", "Commissions")
INCOME_FEES = Account("income:fees", Kind.INCOME, "706200", "Frais de gestion et abonnements")
INCOME_ENERGY = Account("income:energy", Kind.INCOME, "707000", "Ventes d’énergie")
INCOME_TELEMETERING = Account("income:telemetering", Kind.INCOME, "706300", "Télérelève")
VAT_COLLECTED = Account("vat:collected", Kind.LIABILITY, "445710", "TVA collectée")
VAT_ADVANCES = Account("vat:advances", Kind.ASSET, "445870", "TVA sur avances reçues")
EXPENSE_PSP = Account("expense:psp_fees", Kind.EXPENSE, "627800", "Frais de paiement")
EXPENSE_BANK = Account("expense:bank_fees", Kind.EXPENSE, "627100", "Frais bancaires")
EXPENSE_LATE = Account("expense:late_payment", Kind.EXPENSE, "671200", "Pénalités de retard")
SUSPENSE = Account("suspense", Kind.LIABILITY, "471000", "Compte d’attente")

HELD = (BANK_MANDATE.code, PSP_CLEARING.code)
#: kinds of entries in which the operator lays money of its own beside that of others, or takes it
#: back; between its bank accounts it moves with the next internal transfer
COVERING = (
    *("allocation", "settlement", "credited", "suspense_covered", "late_payment"),
    "bank_fee_covered",
)
OWED_STATES = ("available", "disputed", "paying")


def owed(state: str, client_id: int) -> Account:
    """What the operator owes a client of what it collected; see OWED_STATES."""
    assert state in OWED_STATES, state
    label = {"available": "à reverser", "disputed": "contesté", "paying": "en paiement"}[state]
    general = {"available": "467110", "disputed": "467120", "paying": "467130"}[state]
    return Account(
        f"owed:{state}:{client_id}",
        Kind.LIABILITY,
        general,
        f"Client {client_id}, {label}",
        client_id,
    )


def receivable_drivers(client_id: int) -> Account:
    """What drivers owe the client: its claim, kept as a memo."""
    return Account(
        f"receivable:drivers:{client_id}",
        Kind.MEMO,
        "467210",
        f"Client {client_id}, créances sur les conducteurs",
        client_id,
    )


def uncollected(client_id: int) -> Account:
    """The counterpart of that claim."""
    return Account(
        f"uncollected:{client_id}",
        Kind.MEMO,
        "467220",
        f"Client {client_id}, recettes à encaisser",
        client_id,
    )


def receivable_client(client_id: int) -> Account:
    """What the client owes the operator."""
    return Account(
        f"receivable:client:{client_id}",
        Kind.ASSET,
        "411000",
        f"Client {client_id}",
        client_id,
    )


def receivable_owner(client_id: int, person_id: int) -> Account:
    """What a co-owner owes the operator for its supply."""
    return _of_owner("receivable:owner", Kind.ASSET, "411100", "", client_id, person_id)


def advance(client_id: int, person_id: int) -> Account:
    """A provision that a co-owner was asked for and has not paid yet."""
    return _of_owner(
        "advance", Kind.LIABILITY, "419110", ", provision appelée", client_id, person_id
    )


def provision(client_id: int, person_id: int) -> Account:
    """What a co-owner has paid on his future consumption."""
    return _of_owner("provision", Kind.LIABILITY, "419100", ", provision", client_id, person_id)


def _of_owner(
    name: str, kind: Kind, general: str, what: str, client_id: int, person_id: int
) -> Account:
    return Account(
        f"{name}:{client_id}:{person_id}",
        kind,
        general,
        f"Copropriétaire {person_id} du client {client_id}{what}",
        client_id,
        person_id,
    )


def wallet(person_id: int) -> Account:
    """What a driver has paid in and not used."""
    return Account(
        f"wallet:{person_id}",
        Kind.LIABILITY,
        "467300",
        f"Conducteur {person_id}, avance",
        None,
        person_id,
    )


def invoice_issued(
    client_id: int, invoice_id: int, number: str, effect_cents: int, booked_on: date
) -> Entry:
    """A document in the client's name: drivers owe it so much more (a credit: less)."""
    return _entry(
        f"invoice:{invoice_id}",
        "invoice",
        booked_on,
        f"Facture {number}",
        client_id,
        (receivable_drivers(client_id), effect_cents),
        (uncollected(client_id), -effect_cents),
    )


def money_received(
    receipt_id: int, person_id: int, into: Account, amount_cents: int, booked_on: date
) -> Entry:
    """Money came in for a driver, or went back (below 0): hers until it is allocated."""
    assert into.code in HELD, into.code
    return _entry(
        f"receipt:{receipt_id}",
        "receipt",
        booked_on,
        f"Encaissement {receipt_id}",
        None,
        (into, amount_cents),
        (wallet(person_id), -amount_cents),
    )


def allocated(
    key: str,
    invoice_number: str,
    client_id: int,
    person_id: int,
    amount_cents: int,
    booked_on: date,
    *,
    available_cents: int | None = None,
) -> Entry:
    """A driver's money paid an invoice of the client's; below 0: that is taken back.

    available_cents: of a taking back, what is still there of the client's; what is missing, since
    it was paid out already, the operator makes good from its own bank account in the same entry,
    and the client owes it: another client's money never covers it. None: all of it is there.
    """
    missing_cents = 0
    if amount_cents < 0 and available_cents is not None:
        missing_cents = max(0, -amount_cents - max(0, available_cents))
    return _entry(
        f"allocation:{key}",
        "allocation",
        booked_on,
        f"Règlement de la facture {invoice_number}",
        client_id,
        (wallet(person_id), amount_cents),
        (owed("available", client_id), -amount_cents - missing_cents),
        (uncollected(client_id), amount_cents),
        (receivable_drivers(client_id), -amount_cents),
        (receivable_client(client_id), missing_cents),
        (BANK_MANDATE, missing_cents),
        (BANK_OWN, -missing_cents),
    )


def provider_settled(key: str, amount_cents: int, fee_cents: int, booked_on: date) -> Entry:
    """The provider paid over what it held, less its fee, which the operator makes good."""
    return _entry(
        f"settlement:{key}",
        "settlement",
        booked_on,
        f"Versement du prestataire {key}",
        None,
        (BANK_MANDATE, amount_cents),
        (PSP_CLEARING, -amount_cents),
        (EXPENSE_PSP, fee_cents),
        (BANK_OWN, -fee_cents),
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
    """The operator's own invoice to a client (a credit note: amounts below 0)."""
    return _entry(
        f"invoice:{invoice_id}",
        "own_invoice",
        booked_on,
        f"Facture {number}",
        client_id,
        (receivable_client(client_id), commission_excl_cents + fees_excl_cents + vat_cents),
        (INCOME_COMMISSION, -commission_excl_cents),
        (INCOME_FEES, -fees_excl_cents),
        (VAT_COLLECTED, -vat_cents),
    )


def supply_invoice(
    invoice_id: int,
    number: str,
    owner: tuple[int, int],
    energy_excl_cents: int,
    telemetering_excl_cents: int,
    vat_cents: int,
    booked_on: date,
) -> Entry:
    """A bill to a co-owner (`owner`: client and person) for his consumption; a credit note: amounts
    below 0."""
    return _entry(
        f"invoice:{invoice_id}",
        "supply_invoice",
        booked_on,
        f"Facture {number}",
        owner[0],
        (receivable_owner(*owner), energy_excl_cents + telemetering_excl_cents + vat_cents),
        (INCOME_ENERGY, -energy_excl_cents),
        (INCOME_TELEMETERING, -telemetering_excl_cents),
        (VAT_COLLECTED, -vat_cents),
    )


def advance_invoiced(
    invoice_id: int,
    number: str,
    owner: tuple[int, int],
    asked_cents: int,
    paid_cents: int,
    paid_vat_cents: int,
    booked_on: date,
) -> Entry:
    """A co-owner is asked for a provision (`asked_cents`, VAT included); at the end both are below
    0: what he had not paid is asked no more, and of what he had paid so much is given back."""
    return _entry(
        f"invoice:{invoice_id}",
        "supply_invoice",
        booked_on,
        f"Facture {number}",
        owner[0],
        (receivable_owner(*owner), asked_cents + paid_cents),
        (advance(*owner), -asked_cents),
        (provision(*owner), -paid_cents),
        (VAT_ADVANCES, paid_vat_cents),
        (VAT_COLLECTED, -paid_vat_cents),
    )


def provision_received(
    provision_id: int, owner: tuple[int, int], amount_cents: int, vat_cents: int, booked_on: date
) -> Entry:
    """A co-owner paid the provision that he was asked for; below 0: that came back. Its VAT is due
    from then on (CGI, article 269-2 a)."""
    return _entry(
        f"provision:{provision_id}",
        "provision",
        booked_on,
        f"Provision {provision_id}",
        owner[0],
        (advance(*owner), amount_cents),
        (provision(*owner), -amount_cents),
        (VAT_ADVANCES, vat_cents),
        (VAT_COLLECTED, -vat_cents),
    )


def provision_used(
    provision_id: int, owner: tuple[int, int], amount_cents: int, vat_cents: int, booked_on: date
) -> Entry:
    """A provision paid a bill, whose VAT its own was part of; below 0: that is undone."""
    return _entry(
        f"provision:{provision_id}",
        "provision",
        booked_on,
        f"Provision {provision_id}, consommée",
        owner[0],
        (provision(*owner), amount_cents),
        (receivable_owner(*owner), -amount_cents),
        (VAT_COLLECTED, vat_cents),
        (VAT_ADVANCES, -vat_cents),
    )


def offset(client_id: int, month: date, amount_cents: int, booked_on: date) -> Entry:
    """What the client owes is set off against what is owed to it (Code civil, 1347-1). The caller
    sees to it that so much is available, certain, due and not contested."""
    assert amount_cents > 0
    return _entry(
        f"offset:{client_id}:{month:%Y-%m}",
        "offset",
        booked_on,
        f"Compensation {month:%m/%Y}",
        client_id,
        (owed("available", client_id), amount_cents),
        (receivable_client(client_id), -amount_cents),
    )


def credited(client_id: int, month: date, amount_cents: int, booked_on: date) -> Entry:
    """What the operator gave back of its own invoices beyond what the client owed: its own money,
    moved to where the client's lies."""
    assert amount_cents > 0
    return _entry(
        f"credited:{client_id}:{month:%Y-%m}",
        "credited",
        booked_on,
        f"Avoir {month:%m/%Y}",
        client_id,
        (receivable_client(client_id), amount_cents),
        (owed("available", client_id), -amount_cents),
        (BANK_MANDATE, amount_cents),
        (BANK_OWN, -amount_cents),
    )


def held(dispute_id: int, client_id: int, amount_cents: int, booked_on: date) -> Entry:
    """What is contested is held back."""
    assert amount_cents > 0
    return _entry(
        f"held:{dispute_id}",
        "held",
        booked_on,
        f"Contestation {dispute_id}",
        client_id,
        (owed("available", client_id), amount_cents),
        (owed("disputed", client_id), -amount_cents),
    )


def released(dispute_id: int, client_id: int, amount_cents: int, booked_on: date) -> Entry:
    """What was held back is available again, however it was decided."""
    assert amount_cents > 0
    return _entry(
        f"released:{dispute_id}",
        "released",
        booked_on,
        f"Contestation {dispute_id}, levée",
        client_id,
        (owed("disputed", client_id), amount_cents),
        (owed("available", client_id), -amount_cents),
    )


def paying(payout_id: int, client_id: int, amount_cents: int, booked_on: date) -> Entry:
    """A payout was made: its money is no longer available, and still held."""
    assert amount_cents > 0
    return _entry(
        f"paying:{payout_id}",
        "paying",
        booked_on,
        f"Reversement {payout_id}, ordonné",
        client_id,
        (owed("available", client_id), amount_cents),
        (owed("paying", client_id), -amount_cents),
    )


def unpaid(payout_id: int, client_id: int, amount_cents: int, booked_on: date) -> Entry:
    """A payout never left, cancelled by us or refused by the bank: its money is available again."""
    assert amount_cents > 0
    return _entry(
        f"unpaid:{payout_id}",
        "unpaid",
        booked_on,
        f"Reversement {payout_id}, annulé",
        client_id,
        (owed("paying", client_id), amount_cents),
        (owed("available", client_id), -amount_cents),
    )


def paid(payout_id: int, client_id: int, amount_cents: int, booked_on: date) -> Entry:
    """The bank paid it out."""
    assert amount_cents > 0
    return _entry(
        f"paid:{payout_id}",
        "paid",
        booked_on,
        f"Reversement {payout_id}",
        client_id,
        (owed("paying", client_id), amount_cents),
        (BANK_MANDATE, -amount_cents),
    )


def given_back(payout_id: int, client_id: int, amount_cents: int, booked_on: date) -> Entry:
    """The client's bank sent a payout back: it is owed as before."""
    assert amount_cents > 0
    return _entry(
        f"given_back:{payout_id}",
        "given_back",
        booked_on,
        f"Reversement {payout_id}, retourné",
        client_id,
        (BANK_MANDATE, amount_cents),
        (owed("available", client_id), -amount_cents),
    )


def late_paid(late_id: int, client_id: int, amount_cents: int, booked_on: date) -> Entry:
    """A payout came late: what that costs is the client's, out of the operator's own money."""
    assert amount_cents > 0
    return _entry(
        f"late_payment:{late_id}",
        "late_payment",
        booked_on,
        f"Pénalités de retard {late_id}",
        client_id,
        (EXPENSE_LATE, amount_cents),
        (BANK_OWN, -amount_cents),
        (BANK_MANDATE, amount_cents),
        (owed("available", client_id), -amount_cents),
    )


def swept(transfer_id: int, earned_cents: int, booked_on: date) -> Entry:
    """What the operator earned left the account of third parties for its own. What it had made
    good there in the books stayed where it was, and was taken off the transfer."""
    assert earned_cents > 0
    return _entry(
        f"swept:{transfer_id}",
        "swept",
        booked_on,
        f"Virement interne {transfer_id}",
        None,
        (BANK_OWN, earned_cents),
        (BANK_MANDATE, -earned_cents),
    )


def own_received(
    own_receipt_id: int,
    client_id: int,
    number: str,
    amount_cents: int,
    booked_on: date,
    *,
    person_id: int | None = None,
) -> Entry:
    """A client (`person_id`: a co-owner of it) paid an invoice of the operator's by itself, or that
    went back (below 0)."""
    owing = (
        receivable_client(client_id)
        if person_id is None
        else receivable_owner(client_id, person_id)
    )
    return _entry(
        f"own_receipt:{own_receipt_id}",
        "own_receipt",
        booked_on,
        f"Règlement de la facture {number}",
        client_id,
        (BANK_OWN, amount_cents),
        (owing, -amount_cents),
    )


def suspended(line_id: int, account: Account, amount_cents: int, booked_on: date) -> Entry:
    """A line of the bank's that nothing explains. What left the account of third parties so is made
    good from the operator's own in the same entry: client money covers nobody's error."""
    assert account in (BANK_MANDATE, BANK_OWN), account.code
    is_missing = account == BANK_MANDATE and amount_cents < 0
    return _entry(
        f"suspense:{line_id}",
        "suspense_covered" if is_missing else "suspense",
        booked_on,
        f"Ligne bancaire {line_id}, à expliquer",
        None,
        (BANK_OWN if is_missing else account, amount_cents),
        (SUSPENSE, -amount_cents),
    )


def bank_fee(line_id: int, account: Account, amount_cents: int, booked_on: date) -> Entry:
    """The bank took a fee: the operator's, from whichever account; what it took of the account of
    third parties the operator lays there."""
    assert amount_cents > 0 and account in (BANK_MANDATE, BANK_OWN)
    return _entry(
        f"bank_fee:{line_id}",
        "bank_fee_covered" if account == BANK_MANDATE else "bank_fee",
        booked_on,
        f"Frais bancaires, ligne {line_id}",
        None,
        (EXPENSE_BANK, amount_cents),
        (BANK_OWN, -amount_cents),
    )


def reversal(entry: Entry, booked_on: date) -> Entry:
    """The entry that undoes another."""
    return Entry(
        f"reversal:{entry.source_key}",
        "reversal",
        booked_on,
        f"Annulation : {entry.label}",
        entry.client_id,
        tuple(Posting(each.account, -each.amount_cents) for each in entry.postings),
        entry.source_key,
    )


def balances(entries: Iterable[Entry]) -> Counter[str]:
    """The balance of each account, by its code; accounts in balance may be missing."""
    found: Counter[str] = Counter()
    for entry in entries:
        for posting in entry.postings:
            found[posting.account.code] += posting.amount_cents
    return found


def faults(sums: Counter[str]) -> list[str]:
    """What may not be, of balances after any whole entry; empty: all is well."""
    found = []
    if sum(sums.values()):
        found.append("debits and credits differ")
    held_cents = sum(sums[code] for code in HELD)
    due_cents = -sum(cents for code, cents in sums.items() if code.startswith(("owed:", "wallet:")))
    if held_cents < due_cents:
        found.append(f"{held_cents} cents are held for others, {due_cents} are owed to them")
    for code, cents in sums.items():
        if code.startswith(("owed:", "wallet:", "advance:", "provision:")) and cents > 0:
            found.append(f"{code} is overdrawn by {cents} cents")
        if code.startswith("receivable:drivers:"):
            client_id = code.rsplit(":", 1)[1]
            if cents + sums[f"uncollected:{client_id}"]:
                found.append(f"{code} is not in balance with its counterpart")
    return found


def body(entry: Entry) -> bytes:
    """All that an entry says, always the same bytes."""
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


def body_digest(entry: Entry) -> bytes:
    """SHA-256 of what the entry says."""
    return hashlib.sha256(body(entry)).digest()


def digest(body_sha256: bytes, previous_sha256: bytes) -> bytes:
    """SHA-256 of an entry in its chain; the first one follows the empty digest."""
    return hashlib.sha256(previous_sha256 + body_sha256).digest()


def _entry(
    source_key: str,
    kind: str,
    booked_on: date,
    label: str,
    client_id: int | None,
    *legs: tuple[Account, int],
) -> Entry:
    postings = tuple(Posting(account, amount) for account, amount in legs if amount)
    return Entry(source_key, kind, booked_on, label, client_id, postings)
