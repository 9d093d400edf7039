"""What the bank says of a file that it was given: pain.002."""

from dataclasses import dataclass
from typing import Final

from lxml import etree

from billing.sepa import reading
from billing.sepa.reading import Unreadable

REFUSED: Final = "RJCT"
VERSIONS: Final = ("pain.002.001.03", "pain.002.001.10")


@dataclass(frozen=True, slots=True)
class PaymentStatus:
    """Of one payment, of a batch (end_to_end_id None), or of the whole file (`batch` None too).
    `status`: RJCT, ACCP, ACSC, ...; `reason`: the code of a refusal, ISO's or the bank's own."""

    message_id: str
    batch: str | None
    end_to_end_id: str | None
    status: str
    reason: str | None


def is_status_report(content: bytes) -> bool:
    """Whether a file of the bank's is one of these, no account statement. Raises: Unreadable."""
    return reading.is_of(reading.parse(content, "file"), VERSIONS)


def read_status(content: bytes) -> list[PaymentStatus]:
    """Every status that the report tells, the file's first. Raises: Unreadable."""
    root = reading.parse(content, "status report")
    if not reading.is_of(root, VERSIONS):
        raise Unreadable(f"This is no status report: one of {', '.join(VERSIONS)} is expected.")
    found = []
    for report in reading.children(root, "CstmrPmtStsRpt"):
        message_id = reading.text(report, "OrgnlGrpInfAndSts/OrgnlMsgId")
        if message_id is None:
            raise Unreadable("The status report does not say of which file it is (OrgnlMsgId).")
        for whole in reading.children(report, "OrgnlGrpInfAndSts"):
            found += _status(whole, "GrpSts", message_id, None, None)
        for batch in reading.children(report, "OrgnlPmtInfAndSts"):
            name = reading.text(batch, "OrgnlPmtInfId")
            if name is not None:
                found += _status(batch, "PmtInfSts", message_id, name, None)
            for each in reading.children(batch, "TxInfAndSts"):
                identifier = reading.text(each, "OrgnlEndToEndId")
                if identifier is not None:
                    found += _status(each, "TxSts", message_id, name, identifier)
    return found


def _status(
    element: etree._Element,
    name: str,
    message_id: str,
    batch: str | None,
    end_to_end_id: str | None,
) -> list[PaymentStatus]:
    """The status that an element has, if it has one."""
    status = reading.text(element, name)
    reason = reading.text(element, "StsRsnInf/Rsn/Cd")
    reason = reason or reading.text(element, "StsRsnInf/Rsn/Prtry")
    if status is None:
        return []
    return [PaymentStatus(message_id, batch, end_to_end_id, status, reason)]


def identifiers_in(content: bytes, batch: str | None) -> list[str]:
    """The end-to-end ids of the payments of a file of ours, or (`batch`) of one of its batches."""
    root = reading.parse(content, "payment file")
    return [
        identifier
        for each in reading.children(root[0], "PmtInf")
        if batch is None or reading.text(each, "PmtInfId") == batch
        for name in ("CdtTrfTxInf", "DrctDbtTxInf")
        for payment in reading.children(each, name)
        if (identifier := reading.text(payment, "PmtId/EndToEndId")) is not None
    ]
