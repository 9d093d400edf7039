"""Documents: each of our rules catches what breaks it, sums are exact, JSON keeps every byte."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.invoice import (
    Document,
    DocumentLine,
    Party,
    TypeCode,
    VatCase,
    VatTotal,
    add_up,
    added_up,
    faults,
    from_json,
    to_json,
)
from billing.invoice.faults import LINES_MAX
from billing.money import vat_in, vat_on
from csms.domain.siren import french_vat_number, siren_is_valid
from tests.scenarios.documents import (
    BUSINESS,
    CONSUMER,
    OPERATOR,
    charging,
    every_kind,
    own,
    sale,
    use,
)

KINDS = dict(every_kind())
SOUND = charging()
FRANCHISE = charging(VatCase.FRANCHISE)
ACCOUNT = charging(VatCase.NON_ASSUJETTI)
TO_BUSINESS = charging(buyer=BUSINESS)
CREDIT = charging(type_code=TypeCode.CREDIT_NOTE)
CORRECTED = charging(type_code=TypeCode.CORRECTED)


def with_line(document: Document, **changes: Any) -> Document:
    """The document with its first line changed, and its sums those of its lines again."""
    return added_up(
        replace(document, lines=(replace(document.lines[0], **changes), *document.lines[1:]))
    )


def with_seller(document: Document, **changes: Any) -> Document:
    return replace(document, seller=replace(document.seller, **changes))


def with_buyer(document: Document, **changes: Any) -> Document:
    return replace(document, buyer=replace(document.buyer, **changes))


def without(document: Document, code: str) -> Document:
    return replace(document, mentions=tuple(m for m in document.mentions if m[0] != code))


def also(document: Document, code: str, text: str) -> Document:
    return replace(document, mentions=(*document.mentions, (code, text)))


def vat_moved(document: Document, cents: int) -> Document:
    """So many cents of a line's net amount called VAT, consistently in every sum."""
    line = document.lines[0]
    return with_line(document, vat_cents=line.vat_cents + cents, net_cents=line.net_cents - cents)


def total_moved(document: Document, cents: int) -> Document:
    """The same in the totals alone."""
    only = document.vat[0]
    moved = replace(only, vat_cents=only.vat_cents + cents, base_cents=only.base_cents - cents)
    return replace(
        document,
        vat=(moved,),
        vat_cents=document.vat_cents + cents,
        net_cents=document.net_cents - cents,
    )


def scattered() -> Document:
    """More than a euro of roundings, all to one side."""
    line = replace(use(), gross_cents=3, vat_cents=1, net_cents=2, unit_price_eur=None)
    line = replace(line, billed_wh=None)
    return added_up(replace(SOUND, lines=(line,) * 220))


MUTANTS: dict[str, Callable[[], Document]] = {
    "Its number needs": lambda: replace(SOUND, number="C00001 F 2026"),
    "Its number needs 1": lambda: replace(SOUND, number="X" * 36),
    "There is no language": lambda: replace(SOUND, language="de"),
    "An invoice names no original": lambda: replace(SOUND, original_number="C00001-F-2026-000001"),
    "A credit note and a corrected": lambda: replace(CREDIT, original_number=""),
    "A credit note and a corrected invoice": lambda: replace(CORRECTED, original_issued_on=None),
    "name one original": lambda: replace(
        CORRECTED, original_number="C00001-F-2026-000001, C00001-F-2026-000002"
    ),
    "It names itself": lambda: replace(CREDIT, original_number=CREDIT.number),
    "Its original is of a later day": lambda: replace(CREDIT, original_issued_on=date(2026, 11, 3)),
    "Its days are not all": lambda: replace(SOUND, due_on=date(2126, 12, 2)),
    "It is due before": lambda: replace(SOUND, due_on=date(2026, 11, 1)),
    "Its supply ends before": lambda: replace(SOUND, supplied_from_on=date(2026, 11, 1)),
    "before what it invoices was supplied": lambda: replace(SOUND, issued_on=date(2026, 10, 30)),
    "The seller has no name": lambda: with_seller(SOUND, name=""),
    "The seller has no whole address": lambda: with_seller(SOUND, city=""),
    "The seller's country": lambda: with_seller(SOUND, country="France"),
    "The seller has no SIREN": lambda: with_seller(ACCOUNT, siren="99900000"),
    "the last of which checks the others": lambda: with_seller(ACCOUNT, siren="999000004"),
    "is not that of its SIREN": lambda: with_seller(
        SOUND, vat_number=french_vat_number(BUSINESS.siren)
    ),
    "The seller's VAT number begins": lambda: with_seller(SOUND, vat_number="42999000003"),
    "A seller who owes VAT shows": lambda: with_seller(SOUND, vat_number=""),
    "no taxable person shows no VAT number": lambda: with_seller(
        ACCOUNT, vat_number=french_vat_number(ACCOUNT.seller.siren)
    ),
    "The invoicer has no name": lambda: replace(SOUND, invoicer=replace(OPERATOR, name="")),
    "The invoicer has no valid SIREN": lambda: replace(SOUND, invoicer=replace(OPERATOR, siren="")),
    "The buyer has no whole address": lambda: with_buyer(TO_BUSINESS, street=""),
    "A business that buys has a SIREN": lambda: with_buyer(TO_BUSINESS, siren=""),
    "The buyer's VAT number": lambda: with_buyer(TO_BUSINESS, vat_number="12"),
    "The buyer has no name": lambda: with_buyer(SOUND, name=""),
    "The buyer's country": lambda: with_buyer(SOUND, country="fr"),
    "It has 0 mentions PMT": lambda: without(SOUND, "PMT"),
    "It has 0 mentions PMD": lambda: without(SOUND, "PMD"),
    "It has 2 mentions AAB": lambda: also(SOUND, "AAB", "Escompte de 1 %."),
    "It has 0 mentions franchise": lambda: without(FRANCHISE, "franchise"),
    "It has 1 mentions franchise and needs 0": lambda: also(
        SOUND, "franchise", "TVA non applicable, art. 293 B du CGI"
    ),
    "It has 0 mentions non_assujetti": lambda: without(ACCOUNT, "non_assujetti"),
    "somebody else made it out": lambda: also(own(), "REG", "Établie par un tiers."),
    "by whom, and in whose name": lambda: without(SOUND, "REG"),
    "in whose name, it was made out": lambda: also(
        without(SOUND, "REG"), "REG", f"Établie par {OPERATOR.name}."
    ),
    "A text is longer": lambda: with_buyer(SOUND, name="x" * 201),
    "a character that cannot be printed": lambda: replace(CREDIT, reason="en défaut\x07"),
    "The mention PMD is empty": lambda: also(without(SOUND, "PMD"), "PMD", " "),
    "It has 0 lines": lambda: added_up(replace(SOUND, lines=())),
    f"needs 1 to {LINES_MAX}": lambda: added_up(
        replace(SOUND, lines=(sale("x", 100),) * (LINES_MAX + 1))
    ),
    "its amounts are not whole cents": lambda: with_line(SOUND, net_cents=213.0),
    "net and VAT do not make": lambda: with_line(SOUND, net_cents=1),
    "is no rate of French VAT": lambda: with_line(
        SOUND, vat_percent=Decimal(21), vat_cents=44, net_cents=212
    ),
    "the seller charges none": lambda: with_line(
        FRANCHISE, vat_percent=Decimal(20), vat_cents=43, net_cents=213
    ),
    "its VAT is not the one that its gross amount contains": lambda: vat_moved(SOUND, 50),
    "is not the one that its gross amount": lambda: vat_moved(SOUND, 1),
    "A use costs less than nothing": lambda: added_up(
        replace(
            SOUND,
            lines=(
                *SOUND.lines,
                replace(
                    use(7),
                    net_cents=-100,
                    vat_cents=-20,
                    gross_cents=-120,
                    unit_price_eur=None,
                    billed_wh=None,
                ),
            ),
        )
    ),
    "a text is missing": lambda: with_line(SOUND, label=""),
    "a text is missing, too long": lambda: with_line(SOUND, point="x" * 201),
    "more than 20 attributes": lambda: with_line(SOUND, attributes=(("a", "b"),) * 21),
    "its energy is below zero": lambda: with_line(SOUND, energy_wh=-1),
    "no time of day in UTC": lambda: with_line(SOUND, started_at="2026-10-02T19:05:00+02:00"),
    "its begin or end is no time": lambda: with_line(SOUND, ended_at="hier soir"),
    "it ends before it begins": lambda: with_line(SOUND, ended_at="2026-10-02T17:04:59Z"),
    "not one quantity in Wh or in seconds": lambda: with_line(SOUND, billed_wh=None),
    "its quantity times its price": lambda: with_line(SOUND, billed_wh=7_340),
    "quantity times its price is not": lambda: with_line(SOUND, unit_price_eur=Decimal("0.36")),
    "Its sums are not whole cents": lambda: replace(SOUND, paid_cents=Decimal(1)),  # type: ignore[arg-type]
    "Its VAT by rate is not that of its lines": lambda: total_moved(SOUND, 50),
    "Its VAT by rate is not": lambda: replace(SOUND, vat=(*SOUND.vat, *SOUND.vat)),
    "Its sums are not those": lambda: replace(SOUND, gross_cents=SOUND.gross_cents + 1),
    "come to a euro or more": scattered,
    "An invoice is not below zero": lambda: added_up(replace(own(), lines=(sale("Remise", -500),))),
    "a credit note gives something back": lambda: added_up(replace(CREDIT, lines=(use(wh=0),))),
    "What was paid is below zero": lambda: replace(SOUND, paid_cents=-1),
    "or more than the document": lambda: replace(SOUND, paid_cents=SOUND.gross_cents + 1),
    "A credit note was not paid before": lambda: replace(CREDIT, paid_cents=100),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_document_is_without_fault(kind: str) -> None:
    assert faults(KINDS[kind]) == []


@pytest.mark.parametrize("sentence", MUTANTS)
def test_each_rule_catches_what_breaks_it(sentence: str) -> None:
    found = faults(MUTANTS[sentence]())

    assert any(sentence in fault for fault in found), found


def test_a_line_below_zero_is_sound_where_the_whole_use_is_not_below() -> None:
    """A maximum price takes something off."""
    off = replace(
        use(0), gross_cents=-120, vat_cents=-20, net_cents=-100, unit_price_eur=None, billed_wh=None
    )

    assert faults(added_up(replace(SOUND, lines=(*SOUND.lines, off)))) == []


def test_a_consumer_may_do_without_address_mail_and_country() -> None:
    assert faults(with_buyer(SOUND, email="", country="")) == []


def test_hours_have_a_price_too() -> None:
    line = replace(
        use(),
        label="Recharge : durée",
        billed_wh=None,
        billed_s=5_400,
        unit_price_eur=Decimal("2.01"),
        gross_cents=302,  # 3.015 €, half up
        vat_cents=50,
        net_cents=252,
    )

    assert faults(added_up(replace(SOUND, lines=(line,)))) == []
    assert faults(added_up(replace(SOUND, lines=(replace(line, billed_s=5_381),)))) != []


def test_rates_add_up_each_by_itself_the_lowest_first() -> None:
    lines = (use(0), use(1, percent=Decimal("5.5")), use(2), use(3, percent=Decimal("20.0")))

    totals = add_up(lines)

    assert [total.percent for total in totals.vat] == [Decimal("5.5"), Decimal(20)]
    assert totals.vat[1].vat_cents == sum(lines[n].vat_cents for n in (0, 2, 3))
    assert totals.net_cents + totals.vat_cents == totals.gross_cents
    assert totals.gross_cents == sum(line.gross_cents for line in lines)


@given(st.integers(-(10**9), 10**9), st.sampled_from(["20", "10", "5.5", "2.1", "8.5", "0"]))
def test_a_price_without_vat_comes_to_the_vat_that_its_sum_contains(
    net_cents: int, rate: str
) -> None:
    """So one rule does for charging, priced with VAT, and for sales, priced without."""
    vat = vat_on(net_cents, Decimal(rate))

    assert vat_in(net_cents + vat, Decimal(rate)) == vat


TEXTS = st.text(max_size=30)
CENTS = st.integers(-(10**10), 10**10)
RATES = st.decimals(0, 100, places=2)
DAYS = st.dates(date(2000, 1, 1), date(2099, 12, 31))
PARTIES = st.builds(Party, *[TEXTS] * 4, country=TEXTS, email=TEXTS, is_consumer=st.booleans())
PAIRS = st.lists(st.tuples(TEXTS, TEXTS), max_size=3).map(tuple)
LINES = st.builds(
    DocumentLine,
    label=TEXTS,
    attributes=PAIRS,
    vat_percent=RATES,
    net_cents=CENTS,
    vat_cents=CENTS,
    gross_cents=CENTS,
    session_id=st.none() | st.integers(1, 10**9),
    energy_wh=st.none() | st.integers(0, 10**9),
    started_at=TEXTS,
    tariff=st.lists(TEXTS, max_size=3).map(tuple),
    unit_price_eur=st.none() | st.decimals(0, 100, places=6),
    billed_s=st.none() | st.integers(0, 10**6),
)
DOCUMENTS = st.builds(
    Document,
    type_code=st.sampled_from(TypeCode),
    number=TEXTS,
    issued_on=DAYS,
    due_on=DAYS,
    supplied_from_on=DAYS,
    supplied_to_on=DAYS,
    vat_case=st.sampled_from(VatCase),
    is_goods=st.booleans(),
    seller=PARTIES,
    buyer=PARTIES,
    invoicer=st.none() | PARTIES,
    lines=st.lists(LINES, max_size=4).map(tuple),
    vat=st.lists(st.builds(VatTotal, RATES, CENTS, CENTS), max_size=3).map(tuple),
    net_cents=CENTS,
    vat_cents=CENTS,
    gross_cents=CENTS,
    paid_cents=CENTS,
    mentions=PAIRS,
    original_number=TEXTS,
    original_issued_on=st.none() | DAYS,
    reason=TEXTS,
    language=st.sampled_from(["fr", "en"]),
    is_simulated=st.booleans(),
)


@given(DOCUMENTS)
def test_a_document_comes_back_from_json_as_it_was(document: Document) -> None:
    text = to_json(document)

    assert from_json(text) == document
    assert to_json(from_json(text)) == text


@given(DOCUMENTS)
def test_faults_are_sentences_whatever_the_document_says(document: Document) -> None:
    assert all(fault.endswith(".") for fault in faults(document))


def test_equal_documents_make_equal_bytes() -> None:
    """Whatever zeros a rate was written with."""
    other = added_up(
        replace(
            SOUND,
            lines=tuple(
                replace(line, vat_percent=Decimal("2.00E+1"), unit_price_eur=Decimal("0.350000"))
                for line in SOUND.lines
            ),
        )
    )

    assert other == SOUND
    assert to_json(other) == to_json(SOUND)
    assert '"vat_percent":"20"' in to_json(other)
    assert "Conductrice de démonstration" in to_json(other)


def test_what_was_kept_before_a_field_existed_is_read_with_its_default() -> None:
    values = json.loads(to_json(SOUND))
    for line in values["lines"]:
        del line["unit_price_eur"], line["billed_wh"], line["billed_s"], line["tariff"]
    del values["reason"]

    document = from_json(json.dumps(values))

    assert document.lines[0].billed_wh is None
    assert replace(document, lines=SOUND.lines) == SOUND


def test_sirens_of_the_samples_check_themselves() -> None:
    assert all(map(siren_is_valid, (SOUND.seller.siren, OPERATOR.siren, BUSINESS.siren)))
    assert CONSUMER.siren == ""
