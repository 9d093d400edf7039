"""What the bank says of a file that it was given: pain.002."""

from dataclasses import dataclass
from typing import Final

from billing.sepa import reading
from billing.sepa.reading import Unreadable

REFUSED: Final = "RJCT"
_ROOTS: Final = ("pain.002.001.03", "pain.002.001.10")


@dataclass(frozen=True, slots=True)
class PaymentStatus:
    """Of one payment, or of the whole file (end_to_end_id None). `status`: RJCT, ACCP, ACSC, ...;
    `reason`: the ISO code of a refusal."""

    message_id: str
    end_to_end_id: str | None
    status: str
    reason: str | None


def read_status(content: bytes) -> list[PaymentStatus]:
    """Every status that the report tells, the file's first. Raises: Unreadable."""
    root = reading.parse(content, "status report")
    if not any(f"xsd:{name}" in str(root.tag) for name in _ROOTS):
        raise Unreadable("This is no status report: a pain.002.001.03 or .10 is expected.")
    found = []
    for report in reading.children(root, "CstmrPmtStsRpt"):
        message_id = reading.text(report, "OrgnlGrpInfAndSts/OrgnlMsgId")
        if message_id is None:
            raise Unreadable("The status report does not say of which file it is (OrgnlMsgId).")
        group = reading.text(report, "OrgnlGrpInfAndSts/GrpSts")
        if group is not None:
            reason = reading.text(report, "OrgnlGrpInfAndSts/StsRsnInf/Rsn/Cd")
            found.append(PaymentStatus(message_id, None, group, reason))
        for each in reading.children(report, "OrgnlPmtInfAndSts/TxInfAndSts"):
            status = reading.text(each, "TxSts")
            identifier = reading.text(each, "OrgnlEndToEndId")
            if status is not None and identifier is not None:
                reason = reading.text(each, "StsRsnInf/Rsn/Cd")
                found.append(PaymentStatus(message_id, identifier, status, reason))
    return found
