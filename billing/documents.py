"""Documents from priced sessions and own sales: lines, totals, mentions. No clock, no database.

A use has a line for each part of its price (energy by tariff slot, time, flat sum), as it was
priced: the VAT of each is the one contained in its gross amount. Where it is not (a minimum price
adds a line that makes the sum right), the use has one line for each rate.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from billing import money
from billing.invoice import Document, DocumentLine, Party, TypeCode, VatCase, added_up
from billing.store.issuing import PendingSession
from csms.points import label_of

Mentions = Mapping[tuple[str, str], str]  # by code and language

_MINUTE_S: Final = 60
_PRICED: Final = {  # what is billed, and how many of it have the unit price
    "ENERGY": ("billed_wh", 1_000),
    "TIME": ("billed_s", 3_600),
    "PARKING_TIME": ("billed_s", 3_600),
}
_WORDS: Final = {
    "fr": {
        "ENERGY": "Recharge : énergie",
        "TIME": "Recharge : durée",
        "PARKING_TIME": "Recharge : stationnement",
        "FLAT": "Recharge : forfait",
        "WHOLE": "Recharge",
        "energy": "Énergie",
        "duration": "Durée",
        "price": "Prix TTC",
        "price_net": "Prix",
        "estimated": "Répartition",
        "is_estimated": "estimée",
        "tariff": "Tarif",
        "corrected": "Montant",
        "is_corrected": "corrigé",
        "wallet": "Somme déjà payée, portée à votre compte : {amount}.",
        "deducted": "Réglée par déduction sur votre relevé mensuel : rien d’autre n’est à payer.",
    },
    "en": {
        "ENERGY": "Charging: energy",
        "TIME": "Charging: time",
        "PARKING_TIME": "Charging: parking",
        "FLAT": "Charging: flat sum",
        "WHOLE": "Charging",
        "energy": "Energy",
        "duration": "Duration",
        "price": "Price incl. VAT",
        "price_net": "Price",
        "estimated": "Split",
        "is_estimated": "estimated",
        "tariff": "Tariff",
        "corrected": "Amount",
        "is_corrected": "corrected",
        "wallet": "Already paid, and put to your account: {amount}.",
        "deducted": "Settled by deduction on your monthly statement: nothing else is to be paid.",
    },
}


class MentionMissing(Exception):
    """A text that the law wants is not in force: nothing of its kind is issued."""

    def __init__(self, code: str, language: str, day: date) -> None:
        super().__init__(f"No text {code} ({language}) is in force on {day}.")
        self.code = code
        self.language = language
        self.day = day


def lines_of(
    session: PendingSession, language: str, tariff: tuple[str, ...]
) -> tuple[DocumentLine, ...]:
    """A session's lines, which sum to its price with VAT. `tariff`: its components in words."""
    parts = [
        part for part in session.lines if part["amount_incl_cents"] or part["amount_excl_cents"]
    ]
    lines = tuple(_line(session, part, language, tariff) for part in parts)
    if lines and all(map(_is_exact, lines)):
        return lines
    rates = sorted({Decimal(str(part["vat_percent"])) for part in session.lines}) or [Decimal(0)]
    merged = [
        _line(session, _merged(session, rate), language, tariff)
        for rate in rates
        if len(rates) == 1 or any(line.vat_percent == rate for line in lines)
    ]
    return tuple(line if _is_exact(line) else _made_exact(line) for line in merged)


def _is_exact(line: DocumentLine) -> bool:
    return line.vat_cents == money.vat_in(line.gross_cents, line.vat_percent)


def _made_exact(line: DocumentLine) -> DocumentLine:
    """The line with the VAT that its gross amount contains: what the driver pays stands."""
    vat = money.vat_in(line.gross_cents, line.vat_percent)
    return replace(line, vat_cents=vat, net_cents=line.gross_cents - vat)


def _merged(session: PendingSession, rate: Decimal) -> dict[str, Any]:
    """All parts of a session under one rate as one."""
    parts = [part for part in session.lines if Decimal(str(part["vat_percent"])) == rate]
    return {
        "dimension": "WHOLE",
        "energy_wh": sum(part.get("energy_wh") or 0 for part in parts) or session.energy_wh,
        "vat_percent": rate,
        "amount_excl_cents": sum(part["amount_excl_cents"] for part in parts),
        "amount_incl_cents": sum(part["amount_incl_cents"] for part in parts),
        "estimated": any(part.get("estimated") for part in parts),
    }


def _line(
    session: PendingSession, part: Mapping[str, Any], language: str, tariff: tuple[str, ...]
) -> DocumentLine:
    words = _WORDS[language]
    vat_free = session.vat_case != VatCase.REDEVABLE
    dimension = str(part["dimension"]).upper()
    gross, net = part["amount_incl_cents"], part["amount_excl_cents"]
    return DocumentLine(
        label=words.get(dimension, words["WHOLE"]),
        attributes=tuple(_attributes(session, part, dimension, language, vat_free)),
        vat_percent=Decimal(0) if vat_free else Decimal(str(part["vat_percent"])),
        net_cents=net,
        vat_cents=gross - net,
        gross_cents=gross,
        session_id=session.session_id,
        energy_wh=part.get("energy_wh") if dimension in ("ENERGY", "WHOLE") else None,
        started_at=_rfc(session.started_at),
        ended_at=_rfc(session.ended_at),
        point=_point(session),
        tariff=tariff,
        **_quantity(part, dimension, gross),
    )


def _quantity(part: Mapping[str, Any], dimension: str, gross_cents: int) -> dict[str, Any]:
    """Quantity and price where they make the gross amount; nothing where it is made otherwise."""
    of_dimension = _PRICED.get(dimension)
    if of_dimension is None or "unit_price_eur" not in part:
        return {}
    name, units = of_dimension
    price = Decimal(str(part["unit_price_eur"]))
    numerator, denominator = price.as_integer_ratio()
    exact = part["quantity"] * numerator * money.CENTS_PER_EURO
    if money.divide_half_up(exact, denominator * units) != gross_cents:
        return {}
    return {"unit_price_eur": price, name: part["quantity"]}


def _attributes(
    session: PendingSession,
    part: Mapping[str, Any],
    dimension: str,
    language: str,
    vat_free: bool,
) -> Iterable[tuple[str, str]]:
    words = _WORDS[language]
    price = str(part.get("unit_price_eur", ""))
    price_word = words["price_net" if vat_free else "price"]
    if dimension in ("ENERGY", "WHOLE"):
        yield words["energy"], _energy(part.get("energy_wh") or 0, language)
        if price:
            yield price_word, _unit_price(price, "kWh", language)
    elif dimension in ("TIME", "PARKING_TIME"):
        yield words["duration"], _duration(part["quantity"])
        if price:
            yield price_word, _unit_price(price, "h", language)
    if session.tariff_name:
        yield words["tariff"], session.tariff_name
    if part.get("estimated"):
        yield words["estimated"], words["is_estimated"]


def _point(session: PendingSession) -> str:
    """Where it was, as people know it."""
    label = label_of(session.evse_static or {}, session.station_id, session.evse_id or 1)
    return f"{session.site_name}, {label}" if session.site_name else label


# Written by hand, since there are a million lines a month; as billing.formats writes them.


def _energy(wh: int, language: str) -> str:
    whole = f"{wh // 1000:,}"
    return (
        f"{whole.replace(',', chr(0x202F))},{wh % 1000:03}\u00a0kWh"
        if language == "fr"
        else f"{whole}.{wh % 1000:03}\u00a0kWh"
    )


def _duration(seconds: int) -> str:
    minutes = seconds // _MINUTE_S
    return f"{minutes // 60}\u00a0h\u00a0{minutes % 60:02}"


@lru_cache(maxsize=1_000)
def _unit_price(price_eur: str, unit: str, language: str) -> str:
    digits = f"{Decimal(price_eur):f}"
    whole, _, fraction = digits.partition(".")
    text = f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"
    if language == "fr":
        return f"{text.replace('.', ',')}\u00a0€/{unit}"
    return f"€{text}/{unit}"


def _rfc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def mentions_of(
    texts: Mentions,
    *,
    seller: Party,
    buyer: Party,
    invoicer: Party | None,
    vat_case: VatCase,
    language: str,
    day: date,
) -> tuple[tuple[str, str], ...]:
    """The texts that such a document carries, by their code on it. Raises: MentionMissing."""
    kind = "consumer" if buyer.is_consumer else "professional"
    wanted = [("PMT", f"pmt_{kind}"), ("PMD", f"pmd_{kind}"), ("AAB", f"aab_{kind}")]
    if invoicer is not None:
        wanted.append(("REG", "mandate"))
    if vat_case is not VatCase.REDEVABLE:
        wanted.append((vat_case.value, vat_case.value))
    found = []
    for shown, code in wanted:
        text = texts.get((code, language))
        if text is None:
            raise MentionMissing(code, language, day)
        operator = invoicer.name if invoicer is not None else ""
        found.append((shown, text.replace("{operator}", operator).replace("{seller}", seller.name)))
    return tuple(found)


def wallet_mention(amount: str, language: str) -> tuple[str, str]:
    """What was paid too much, and where it went."""
    return "wallet", _WORDS[language]["wallet"].format(amount=amount)


def deduction_mention(language: str) -> tuple[str, str]:
    """How the operator's invoice of what a statement deducts is paid."""
    return "deducted", _WORDS[language]["deducted"]


def compose(
    *,
    type_code: TypeCode,
    issued_on: date,
    due_on: date,
    supplied: tuple[date, date],
    vat_case: VatCase,
    is_goods: bool,
    seller: Party,
    buyer: Party,
    invoicer: Party | None,
    lines: Sequence[DocumentLine],
    texts: Mentions,
    language: str,
    is_simulated: bool,
    original: Document | None = None,
    reason: str = "",
    paid_cents: int = 0,
) -> Document:
    """A document that waits for its number. Raises: MentionMissing."""
    return added_up(
        Document(
            type_code=type_code,
            number="",
            issued_on=issued_on,
            due_on=due_on,
            supplied_from_on=supplied[0],
            supplied_to_on=supplied[1],
            vat_case=vat_case,
            is_goods=is_goods,
            seller=seller,
            buyer=buyer,
            invoicer=invoicer,
            lines=tuple(lines),
            vat=(),
            net_cents=0,
            vat_cents=0,
            gross_cents=0,
            paid_cents=paid_cents,
            mentions=mentions_of(
                texts,
                seller=seller,
                buyer=buyer,
                invoicer=invoicer,
                vat_case=vat_case,
                language=language,
                day=issued_on,
            ),
            original_number="" if original is None else original.number,
            original_issued_on=None if original is None else original.issued_on,
            reason=reason,
            language=language,
            is_simulated=is_simulated,
        )
    )


def repriced(
    lines: Sequence[DocumentLine], gross_cents: int, language: str
) -> tuple[DocumentLine, ...]:
    """The lines of one use at another price, VAT included, split in proportion to what they were;
    each line's VAT is the one contained in it. What changes is no more a quantity at the tariff's
    price, and says so."""
    shares = money.split(gross_cents, [max(line.gross_cents, 0) for line in lines])
    return tuple(
        line if gross == line.gross_cents else _at_another_price(line, gross, language)
        for line, gross in zip(lines, shares, strict=True)
    )


def _at_another_price(line: DocumentLine, gross_cents: int, language: str) -> DocumentLine:
    words = _WORDS[language]
    dropped = (words["price"], words["price_net"], words["corrected"])
    kept = tuple(pair for pair in line.attributes if pair[0] not in dropped)
    vat = money.vat_in(gross_cents, line.vat_percent)
    return replace(
        line,
        attributes=(*kept, (words["corrected"], words["is_corrected"])),
        tariff=(),
        gross_cents=gross_cents,
        vat_cents=vat,
        net_cents=gross_cents - vat,
        unit_price_eur=None,
        billed_wh=None,
        billed_s=None,
    )


def reversed_sign(line: DocumentLine) -> DocumentLine:
    """The line as a credit note prints it, where what is given back is above 0."""
    return replace(
        line,
        net_cents=-line.net_cents,
        vat_cents=-line.vat_cents,
        gross_cents=-line.gross_cents,
    )
