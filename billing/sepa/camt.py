"""The bank's account statements: camt.053, versions 2, 4, 8 and 10.

An entry that the bank booked as a batch becomes a line for each of its transactions. Amounts are
above 0 where money came in. A statement whose lines do not lead from its opening to its closing
balance is refused as a whole: something is missing from it.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

from lxml import etree

from billing.sepa import reading
from billing.sepa.reading import Unreadable

VERSIONS: Final = tuple(f"camt.053.001.{number:02d}" for number in (2, 4, 8, 10))
REFERENCE_LENGTH_MAX: Final = 140
_AMOUNT: Final = re.compile(r"([0-9]{1,15})(?:[.]([0-9]{0,2})0*)?")
_RETURNS: Final = frozenset({"RRTN", "UPDD", "PRDD", "RPCR", "RIMB", "RETN"})


@dataclass(frozen=True, slots=True)
class BankLine:
    """One movement. `reference` is the bank's own, or made from the content where it gives none,
    and is never the same twice. `kind`: transfer_in, transfer_out, debit, return, fee, other.
    `reason`: the ISO code of a return."""

    reference: str
    amount_cents: int
    booked_on: date
    kind: str
    end_to_end_id: str | None
    mandate_reference: str | None
    counterparty_name: str | None
    counterparty_iban: str | None
    remittance: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class BankStatement:
    """One account statement; closing_on is the day of its closing balance."""

    reference: str
    iban: str
    opening_cents: int
    closing_cents: int
    closing_on: date
    lines: tuple[BankLine, ...]


def read_statements(content: bytes) -> list[BankStatement]:
    """The statements of a file. Raises: Unreadable."""
    root = reading.parse(content, "account statement")
    if not reading.is_of(root, VERSIONS):
        raise Unreadable(f"This is no account statement: one of {', '.join(VERSIONS)} is expected.")
    found = [_statement(each) for each in reading.children(root, "BkToCstmrStmt/Stmt")]
    if not found:
        raise Unreadable("The file has no statement in it.")
    return found


def _statement(element: etree._Element) -> BankStatement:
    iban = reading.text(element, "Acct/Id/IBAN")
    reference = reading.text(element, "Id")
    if iban is None or reference is None:
        raise Unreadable("A statement does not say of which account it is, or has no number.")
    opening = _balance(element, reference, ("OPBD", "PRCD"))
    closing = _balance(element, reference, ("CLBD",))
    lines = _numbered(
        reference,
        [
            line
            for entry in reading.children(element, "Ntry")
            if _is_booked(entry)
            for line in _lines(entry, reference)
        ],
    )
    moved = sum(line.amount_cents for line in lines)
    if opening[0] + moved != closing[0]:
        raise Unreadable(
            f"Statement {reference}: its lines lead from {opening[0]} to {opening[0] + moved} "
            f"cents, it closes with {closing[0]}. Something is missing: ask the bank for it anew."
        )
    return BankStatement(reference, iban, opening[0], closing[0], closing[1], tuple(lines))


def _balance(element: etree._Element, reference: str, codes: tuple[str, ...]) -> tuple[int, date]:
    for code in codes:
        for each in reading.children(element, "Bal"):
            if reading.text(each, "Tp/CdOrPrtry/Cd") == code:
                return _amount(each, reference), _day(each, "Dt", reference)
    raise Unreadable(f"Statement {reference} has no {' or '.join(codes)} balance.")


def _is_booked(entry: etree._Element) -> bool:
    """Version 2 says the status as text, later ones as a code."""
    return "BOOK" in (reading.text(entry, "Sts"), reading.text(entry, "Sts/Cd"))


def _lines(entry: etree._Element, reference: str) -> Iterator[BankLine]:
    booked_on = _day(entry, "BookgDt", reference)
    total = _amount(entry, reference)
    own = reading.text(entry, "AcctSvcrRef") or reading.text(entry, "NtryRef") or ""
    details = reading.children(entry, "NtryDtls/TxDtls")
    if len(details) < 2:
        yield _line(entry, details[0] if details else entry, total, booked_on, own)
        return
    cents = [_amount(each, reference, outer=entry) for each in details]
    if sum(cents) != total:
        raise Unreadable(
            f"Statement {reference}: the parts of entry {own or '?'} are {sum(cents)} cents, "
            f"it has {total}."
        )
    for each, part in zip(details, cents, strict=True):
        yield _line(entry, each, part, booked_on, reading.text(each, "Refs/AcctSvcrRef") or own)


def _line(
    entry: etree._Element, detail: etree._Element, cents: int, booked_on: date, own: str
) -> BankLine:
    codes = {
        reading.text(each, f"BkTxCd/Domn/{path}")
        for each in (entry, detail)
        for path in ("Cd", "Fmly/Cd", "Fmly/SubFmlyCd")
    }
    reason = reading.text(detail, "RtrInf/Rsn/Cd")
    side = "Dbtr" if cents > 0 else "Cdtr"
    if reason is not None or codes & _RETURNS:  # of a return the parties are the payment's own
        side = "Cdtr" if cents > 0 else "Dbtr"
    identifier = reading.text(detail, "Refs/EndToEndId")
    remittance = " ".join(
        each.text.strip() for each in reading.children(detail, "RmtInf/Ustrd") if each.text
    )
    return BankLine(
        own,
        cents,
        booked_on,
        _kind(cents, codes, reason),
        None if identifier == "NOTPROVIDED" else identifier,
        reading.text(detail, "Refs/MndtId"),
        reading.text(detail, f"RltdPties/{side}/Nm")
        or reading.text(detail, f"RltdPties/{side}/Pty/Nm"),
        reading.text(detail, f"RltdPties/{side}Acct/Id/IBAN"),
        remittance[:REFERENCE_LENGTH_MAX] or None,
        reason,
    )


def _kind(cents: int, codes: set[str | None], reason: str | None) -> str:
    if reason is not None or codes & _RETURNS:
        return "return"
    if "RDDT" in codes or "IDDT" in codes:
        return "debit"
    if codes & {"CHRG", "COMM", "FEES"}:
        return "fee"
    if "RCDT" in codes or "ICDT" in codes:
        return "transfer_in" if cents > 0 else "transfer_out"
    return "other"


def _numbered(statement: str, lines: list[BankLine]) -> list[BankLine]:
    """Each with a reference of its own: the bank's; where the bank gives none, or gives one to
    several, made from the statement, the place in it and what the line says."""
    shared = Counter(line.reference for line in lines)
    found = []
    for place, line in enumerate(lines, start=1):
        reference = line.reference
        if not reference or shared[reference] > 1:
            told = hashlib.sha256(repr((statement, place, line)).encode()).hexdigest()
            reference = f"{reference}#{told[:16]}"
        found.append(replace(line, reference=reference[-REFERENCE_LENGTH_MAX:]))
    return found


def _amount(element: etree._Element, reference: str, *, outer: etree._Element | None = None) -> int:
    """Cents, above 0 where it is a credit. A part takes its sign from its entry, if it has none."""
    amounts = reading.children(element, "Amt") or reading.children(element, "AmtDtls/TxAmt/Amt")
    sign = reading.text(element, "CdtDbtInd")
    if sign is None and outer is not None:
        sign = reading.text(outer, "CdtDbtInd")
    if not amounts or sign not in ("CRDT", "DBIT"):
        raise Unreadable(f"Statement {reference} has an amount without a value or a sign.")
    if amounts[0].get("Ccy") != "EUR":
        raise Unreadable(
            f"Statement {reference} has an amount in {amounts[0].get('Ccy')}, not in euros."
        )
    written = _AMOUNT.fullmatch((amounts[0].text or "").strip())
    if written is None:
        raise Unreadable(f"Statement {reference} has an amount that is not one of whole cents.")
    euros, fraction = written.groups(default="")
    cents = int(euros) * 100 + int(f"{fraction}00"[:2])
    return cents if sign == "CRDT" else -cents


def _day(element: etree._Element, name: str, reference: str) -> date:
    told = reading.text(element, f"{name}/Dt") or reading.text(element, f"{name}/DtTm")
    try:
        return date.fromisoformat((told or "")[:10])
    except ValueError:
        raise Unreadable(f"Statement {reference} has a line without its day.") from None
