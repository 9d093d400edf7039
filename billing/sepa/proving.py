"""A file is proved before it leaves: the bank's XSD, then our own rules on the very bytes.

The XSD is the one that sepaxml ships. It lets pass what banks refuse since: our rules count what
is in the file again, and compare each payment with what was asked.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Final

import sepaxml  # type: ignore[import-untyped]  # it has no stubs
from lxml import etree

from billing.sepa import reading
from billing.sepa.faults import ID_LENGTH_MAX, Fault

TRANSFERS: Final = "pain.001.001.09"
DEBITS: Final = "pain.008.001.08"
_NOT_PROVIDED: Final = "NOTPROVIDED"


@dataclass(frozen=True, slots=True)
class Refused:
    """A payment that is left out, why, and what to do."""

    end_to_end_id: str
    cause: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Built:
    """A file; content None: nothing was left to be paid. `accepted` are end-to-end ids."""

    message_id: str
    content: bytes | None
    accepted: tuple[str, ...]
    refused: tuple[Refused, ...]
    total_cents: int


def refused(end_to_end_id: str, fault: Fault) -> Refused:
    """A payment with its fault."""
    return Refused(end_to_end_id, fault.cause, fault.message, fault.remedy)


def finish(content: bytes, message_id: str, created_at: datetime) -> bytes:
    """The library's document with our message id and moment in the places of its own."""
    root = reading.parse(content, "payment file")
    space = etree.QName(root).namespace
    for header in root.iter(f"{{{space}}}GrpHdr"):
        _write(header, f"{{{space}}}MsgId", message_id)
        moment = created_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S+00:00")
        _write(header, f"{{{space}}}CreDtTm", moment)
    for number, batch in enumerate(root.iter(f"{{{space}}}PmtInf"), start=1):
        suffix = f"-{number}"
        name = message_id[: ID_LENGTH_MAX - len(suffix)] + suffix
        _write(batch, f"{{{space}}}PmtInfId", name)
    for bank in root.iter(f"{{{space}}}FinInstnId"):
        if not len(bank):
            other = etree.SubElement(bank, f"{{{space}}}Othr")
            etree.SubElement(other, f"{{{space}}}Id").text = _NOT_PROVIDED
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


def _write(parent: etree._Element, tag: str, value: str) -> None:
    element = parent.find(tag)
    assert element is not None, tag
    element.text = value


def prove(
    content: bytes,
    schema: str,
    payments: Mapping[str, tuple[int, str, date]],
    message_id: str,
    own_iban: str,
) -> None:
    """Nothing is in the file but these payments (end-to-end id: cents, IBAN and day) of the account
    that is ours, each once, and its sums say so. Raises: AssertionError, for it is our own
    fault."""
    root = reading.parse(content, "payment file")
    xsd = _xsd(schema)
    assert xsd.validate(root), str(xsd.error_log)
    body = root[0]
    assert reading.text(body, "GrpHdr/MsgId") == message_id
    found: dict[str, tuple[int, str, date]] = {}
    if schema == TRANSFERS:
        tag, account, own, day = "CdtTrfTxInf", "CdtrAcct", "DbtrAcct", "ReqdExctnDt/Dt"
    else:
        tag, account, own, day = "DrctDbtTxInf", "DbtrAcct", "CdtrAcct", "ReqdColltnDt"
    for batch in reading.children(body, "PmtInf"):
        assert reading.text(batch, f"{own}/Id/IBAN") == own_iban
        on = date.fromisoformat(reading.text(batch, day) or "")
        inside = reading.children(batch, tag)
        cents = 0
        for each in inside:
            amount_path = "Amt/InstdAmt" if schema == TRANSFERS else "InstdAmt"
            amount = reading.children(each, amount_path)[0]
            assert amount.get("Ccy") == "EUR"
            identifier = reading.text(each, "PmtId/EndToEndId")
            iban = reading.text(each, f"{account}/Id/IBAN")
            assert identifier is not None and iban is not None
            assert identifier not in found, identifier
            found[identifier] = (_cents(amount.text), iban, on)
            cents += found[identifier][0]
        _count(batch, len(inside), cents)
    assert found == dict(payments)
    _count(reading.children(body, "GrpHdr")[0], len(found), sum(c for c, _, _ in found.values()))
    for address in root.iter("{*}PstlAdr"):
        if reading.children(address, "AdrLine"):
            assert reading.text(address, "TwnNm") and reading.text(address, "Ctry")


def _count(element: etree._Element, payments: int, cents: int) -> None:
    assert reading.text(element, "NbOfTxs") == str(payments)
    assert _cents(reading.text(element, "CtrlSum")) == cents


def _cents(amount: str | None) -> int:
    assert amount is not None
    cents = Decimal(amount) * 100
    assert cents == int(cents), amount
    return int(cents)


@cache
def _xsd(schema: str) -> etree.XMLSchema:
    path = Path(sepaxml.__file__).parent / "schemas" / f"{schema}.xsd"
    return etree.XMLSchema(etree.parse(str(path)))


def twice(identifiers: Sequence[str]) -> set[str]:
    """Those that are there more than once."""
    return {each for each, count in Counter(identifiers).items() if count > 1}
