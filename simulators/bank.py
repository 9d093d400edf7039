"""A simulated bank: takes payment files and tells, day by day, what became of them.

It reads and writes its messages by itself (pain.001 and pain.008 in, pain.002 and camt.053.001.08
out) and shares no code with the product. Faults on request: payments refused at once, returned
later, lines told again. Its statements name it: SIMULATION.
"""

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from xml.sax.saxutils import escape

CAMT = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"
PAIN002 = "urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"


@dataclass
class Movement:
    """One booked amount in cents, above 0 where it came in."""

    amount_cents: int
    family: tuple[str, str]  # as in BkTxCd: PMNT, these two
    end_to_end_id: str | None = None
    name: str = ""
    iban: str | None = None
    remittance: str = ""
    mandate: str | None = None
    reason: str | None = None
    reference: str = ""


@dataclass
class Bank:
    """One account at it. What was taken is booked on the day that it names, or on the next
    statement's where that is later."""

    iban: str
    balance_cents: int
    number: int = 0
    movements: int = 0
    waiting: list[tuple[date, Movement]] = field(default_factory=list)
    booked: list[Movement] = field(default_factory=list)
    told: list[Movement] = field(default_factory=list)

    def take(
        self, content: bytes, refuse: Mapping[str, str] | None = None, *, at_once: bool = False
    ) -> bytes:
        """Take a pain.001 or pain.008; the pain.002 that answers it. `refuse`: reasons by
        end-to-end id. `at_once`: executed with the next statement, whatever day it names."""
        root = ET.fromstring(content)  # noqa: S314 - what the product has just made
        refuse = refuse or {}
        message_id = _text(root, ".//{*}GrpHdr/{*}MsgId")
        statuses = []
        for batch in root.iterfind(".//{*}PmtInf"):
            is_transfer = _text(batch, "{*}PmtMtd") == "TRF"
            day = _text(batch, "{*}ReqdExctnDt/{*}Dt" if is_transfer else "{*}ReqdColltnDt")
            for each in batch.iterfind("{*}CdtTrfTxInf" if is_transfer else "{*}DrctDbtTxInf"):
                movement = _movement(each, is_transfer)
                assert movement.end_to_end_id is not None
                reason = refuse.get(movement.end_to_end_id)
                statuses.append((movement.end_to_end_id, reason))
                if reason is None:
                    on = date.min if at_once else date.fromisoformat(day)
                    self.waiting.append((on, movement))
        return _status_report(message_id, statuses)

    def receive(self, amount_cents: int, name: str, iban: str, remittance: str) -> None:
        """A transfer comes in."""
        self.booked.append(Movement(amount_cents, ("RCDT", "ESCT"), None, name, iban, remittance))

    def charge(self, amount_cents: int, remittance: str) -> None:
        """The bank takes a fee."""
        self.booked.append(Movement(-amount_cents, ("MDOP", "CHRG"), remittance=remittance))

    def give_back(self, end_to_end_id: str, reason: str) -> None:
        """A payment that was booked comes back."""
        found = next(each for each in self.told if each.end_to_end_id == end_to_end_id)
        family = ("ICDT", "RRTN") if found.amount_cents < 0 else ("IDDT", "UPDD")
        self.booked.append(
            Movement(
                -found.amount_cents,
                family,
                end_to_end_id,
                found.name,
                found.iban,
                found.remittance,
                found.mandate,
                reason,
            )
        )

    def statement(self, day: date) -> bytes:
        """The statement of a day: everything that is due until then, and booked since the last."""
        due = [movement for on, movement in self.waiting if on <= day]
        self.waiting = [(on, movement) for on, movement in self.waiting if on > day]
        lines, self.booked = [*self.booked, *due], []
        self.number += 1
        opening = self.balance_cents
        for line in lines:
            self.movements += 1
            line.reference = f"SIM{self.movements:09d}"
            self.balance_cents += line.amount_cents
        self.told += lines
        entries = "".join(_entry(line, day) for line in lines)
        return (
            f'<?xml version="1.0" encoding="UTF-8"?><Document xmlns="{CAMT}"><BkToCstmrStmt>'
            f"<GrpHdr><MsgId>SIMULATION-{self.number}</MsgId>"
            f"<CreDtTm>{day}T20:00:00+00:00</CreDtTm></GrpHdr>"
            f"<Stmt><Id>SIMULATION-{self.iban[-4:]}-{self.number:05d}</Id>"
            f"<CreDtTm>{day}T20:00:00+00:00</CreDtTm>"
            f"<Acct><Id><IBAN>{self.iban}</IBAN></Id><Ccy>EUR</Ccy></Acct>"
            + _balance("OPBD", opening, day - timedelta(days=1))
            + _balance("CLBD", self.balance_cents, day)
            + entries
            + "</Stmt></BkToCstmrStmt></Document>"
        ).encode()


def _movement(element: ET.Element, is_transfer: bool) -> Movement:
    side = "Cdtr" if is_transfer else "Dbtr"
    amount = element.find("{*}Amt/{*}InstdAmt" if is_transfer else "{*}InstdAmt")
    assert amount is not None and amount.text is not None
    euros, _, cents = amount.text.partition(".")
    value = int(euros) * 100 + int((cents + "00")[:2])
    return Movement(
        -value if is_transfer else value,
        ("ICDT", "ESCT") if is_transfer else ("RDDT", "ESDD"),
        _text(element, "{*}PmtId/{*}EndToEndId"),
        _text(element, f"{{*}}{side}/{{*}}Nm"),
        _text(element, f"{{*}}{side}Acct/{{*}}Id/{{*}}IBAN"),
        _text(element, "{*}RmtInf/{*}Ustrd"),
        None if is_transfer else _text(element, "{*}DrctDbtTx/{*}MndtRltdInf/{*}MndtId"),
    )


def _text(element: ET.Element, path: str) -> str:
    found = element.find(path)
    assert found is not None and found.text is not None, path
    return found.text


def _money(cents: int) -> str:
    sign = "CRDT" if cents >= 0 else "DBIT"
    value = abs(cents)
    amount = f'<Amt Ccy="EUR">{value // 100}.{value % 100:02d}</Amt>'
    return f"{amount}<CdtDbtInd>{sign}</CdtDbtInd>"


def _balance(code: str, cents: int, day: date) -> str:
    return (
        f"<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp>{_money(cents)}"
        f"<Dt><Dt>{day}</Dt></Dt></Bal>"
    )


def _entry(line: Movement, day: date) -> str:
    is_return = line.family[1] in ("RRTN", "UPDD")
    came_in = line.amount_cents > 0
    side = "Dbtr" if came_in != is_return else "Cdtr"
    party = ""
    if line.name:
        party += f"<{side}><Pty><Nm>{escape(line.name)}</Nm></Pty></{side}>"
    if line.iban:
        party += f"<{side}Acct><Id><IBAN>{line.iban}</IBAN></Id></{side}Acct>"
    references = f"<EndToEndId>{escape(line.end_to_end_id or 'NOTPROVIDED')}</EndToEndId>"
    if line.mandate:
        references += f"<MndtId>{escape(line.mandate)}</MndtId>"
    code = (
        f"<BkTxCd><Domn><Cd>PMNT</Cd><Fmly><Cd>{line.family[0]}</Cd>"
        f"<SubFmlyCd>{line.family[1]}</SubFmlyCd></Fmly></Domn></BkTxCd>"
    )
    return (
        f"<Ntry>{_money(line.amount_cents)}<Sts><Cd>BOOK</Cd></Sts>"
        f"<BookgDt><Dt>{day}</Dt></BookgDt><ValDt><Dt>{day}</Dt></ValDt>"
        f"<AcctSvcrRef>{line.reference}</AcctSvcrRef>{code}"
        f"<NtryDtls><TxDtls><Refs>{references}</Refs>{_money(line.amount_cents)}"
        + (f"<RltdPties>{party}</RltdPties>" if party else "")
        + (f"<RmtInf><Ustrd>{escape(line.remittance)}</Ustrd></RmtInf>" if line.remittance else "")
        + (f"<RtrInf><Rsn><Cd>{line.reason}</Cd></Rsn></RtrInf>" if line.reason else "")
        + "</TxDtls></NtryDtls></Ntry>"
    )


def _status_report(message_id: str, statuses: list[tuple[str, str | None]]) -> bytes:
    refused = sum(reason is not None for _, reason in statuses)
    group = "RJCT" if refused == len(statuses) else "PART" if refused else "ACCP"
    rows = "".join(
        f"<TxInfAndSts><OrgnlEndToEndId>{escape(identifier)}</OrgnlEndToEndId>"
        f"<TxSts>{'ACCP' if reason is None else 'RJCT'}</TxSts>"
        + ("" if reason is None else f"<StsRsnInf><Rsn><Cd>{reason}</Cd></Rsn></StsRsnInf>")
        + "</TxInfAndSts>"
        for identifier, reason in statuses
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><Document xmlns="{PAIN002}"><CstmrPmtStsRpt>'
        f"<GrpHdr><MsgId>SIMULATION-{escape(message_id)}</MsgId></GrpHdr>"
        f"<OrgnlGrpInfAndSts><OrgnlMsgId>{escape(message_id)}</OrgnlMsgId>"
        f"<OrgnlMsgNmId>pain</OrgnlMsgNmId><GrpSts>{group}</GrpSts></OrgnlGrpInfAndSts>"
        f"<OrgnlPmtInfAndSts><OrgnlPmtInfId>1</OrgnlPmtInfId>{rows}</OrgnlPmtInfAndSts>"
        "</CstmrPmtStsRpt></Document>"
    ).encode()
