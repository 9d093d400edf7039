"""Electronic invoices: valid by the schema and by the official rules, and the paper that carries
them; and that the rules look: each mutant fails one of them.

The paper's structure is checked here (profile, identifier, letters embedded, the file within); no
validator of PDF/A runs.
"""

import hashlib
import io
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import facturx  # type: ignore[import-untyped]
import pypdf
import pypdfium2
import pytest
from lxml import etree

from billing.facturx import pdf, xml
from billing.facturx_reading import differences
from billing.invoice import Document, TypeCode, VatCase, added_up, faults
from billing.money import euros
from tests.scenarios.documents import BUSINESS, CONSUMER, charging, every_kind, own, use
from tests.schematron import BR_FR, EN16931, broken, judge, schema_errors

KINDS = dict(every_kind())
SOUND = charging(buyer=BUSINESS)
NAMESPACES = {
    "rsm": "urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100",
    "ram": "urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100",
    "udt": "urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100",
    "qdt": "urn:un:unece:uncefact:data:standard:QualifiedDataType:100",
}


def said(document_xml: bytes, path: str) -> list[str]:
    """The texts at a path, wherever in the document it begins."""
    found = etree.fromstring(document_xml).xpath(f"//{path}/text()", namespaces=NAMESPACES)
    assert isinstance(found, list)
    return [str(text) for text in found]


def words_of(paper: bytes) -> str:
    """All that the pages say."""
    document = pypdfium2.PdfDocument(paper)
    try:
        text = ""
        for page in document:
            text_page = page.get_textpage()
            text += text_page.get_text_bounded() + "\n"
            text_page.close()
            page.close()
        return text
    finally:
        document.close()


# --- XML ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_valid_by_the_schema_and_by_the_official_rules(kind: str) -> None:
    made = xml(KINDS[kind])

    assert schema_errors(made) == []
    for sheet in (EN16931, BR_FR):
        verdict = judge(sheet, made)
        assert verdict.fired > 10
        assert verdict.failed == []


ODD: dict[str, Callable[[], Document]] = {
    "a use of nothing among others": lambda: added_up(
        replace(SOUND, lines=(*SOUND.lines, replace(use(5, wh=0), session_id=9)))
    ),
    "a corrected invoice over nothing": lambda: added_up(
        replace(charging(type_code=TypeCode.CORRECTED), lines=(use(wh=0),))
    ),
    "a maximum price": lambda: added_up(
        replace(
            SOUND,
            lines=(
                *SOUND.lines,
                replace(
                    use(0),
                    gross_cents=-120,
                    vat_cents=-20,
                    net_cents=-100,
                    unit_price_eur=None,
                    billed_wh=None,
                ),
            ),
        )
    ),
    "two rates": lambda: added_up(
        replace(SOUND, lines=(*SOUND.lines, use(4, percent=Decimal("5.5"))))
    ),
    "a consumer who gave nothing but her name": lambda: charging(
        buyer=replace(CONSUMER, email="", country="")
    ),
    "a consumer abroad": lambda: charging(buyer=replace(CONSUMER, country="BE")),
    "a use that began in the month before": lambda: replace(
        SOUND, supplied_from_on=date(2026, 10, 3)
    ),
    "partly paid": lambda: replace(SOUND, paid_cents=100),
    "one day": lambda: replace(SOUND, supplied_from_on=SOUND.supplied_to_on),
    "simulated, in English, with money put back": lambda: replace(
        SOUND,
        is_simulated=True,
        language="en",
        mentions=(*SOUND.mentions, ("wallet", "Already paid, and put to your account: €1.20.")),
    ),
    "special letters": lambda: replace(
        SOUND, buyer=replace(BUSINESS, name="L’Œil & <Fils> « Ğ »", street="1 rue du “4 < 5”")
    ),
    "200 uses": lambda: charging(uses=200),
}


@pytest.mark.parametrize("case", ODD)
def test_odd_but_sound_documents_are_valid_too(case: str) -> None:
    made = xml(ODD[case]())

    assert schema_errors(made) + broken(made) == []


MUTANTS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "no mention of recovery costs": ("BR-FR-05", lambda x: x.replace(b">PMT<", b">AAI<")),
    "no mention of penalties": ("BR-FR-05", lambda x: x.replace(b">PMD<", b">AAI<")),
    "two mentions of discount": ("BR-FR-06", lambda x: x.replace(b">REG<", b">AAB<")),
    "a rate that France has not": ("BR-FR-16", lambda x: x.replace(b">20<", b">21<")),
    "a space in the number": (
        "BR-FR-02",
        lambda x: x.replace(b"C00001-F-2026-", b"C00001 F 2026 "),
    ),
    "a SIREN of eight digits": (
        "BR-FR-10",
        lambda x: x.replace(b'"0002">999000003', b'"0002">99900000'),
    ),
    "a business without SIREN": ("BR-FR-11", lambda x: x.replace(b'"0002">999000110', b'"0002">')),
    "another endpoint than the SIREN": (
        "BR-FR-21",
        lambda x: x.replace(b'"0225">999000110', b'"0225">999000003'),
    ),
    "a type of document that is none": (
        "BR-FR-04",
        lambda x: x.replace(b"<ram:TypeCode>380", b"<ram:TypeCode>751"),
    ),
    "no process": (
        "BR-FR-08",
        lambda x: re.sub(
            rb"<ram:BusinessProcess.*?</ram:BusinessProcessSpecifiedDocumentContextParameter>",
            b"",
            x,
            flags=re.DOTALL,
        ),
    ),
    "an unknown treatment": ("BR-FR-20", lambda x: x.replace(b">B2B<", b">B2X<")),
    "paid by its process, and not by its sums": (
        "BR-FR-CO-09",
        lambda x: x.replace(b"<ram:ID>B1<", b"<ram:ID>B2<"),
    ),
    "another total": (
        "BR-CO-15",
        lambda x: re.sub(rb"(<ram:GrandTotalAmount>)[0-9.]+", rb"\g<1>999.00", x),
    ),
    "another sum of lines": (
        "BR-CO-10",
        lambda x: re.sub(
            rb"(<ram:LineTotalAmount>)[0-9.]+(?!.*<ram:LineTotalAmount>)",
            rb"\g<1>999.00",
            x,
            flags=re.DOTALL,
        ),
    ),
    "another VAT than the rate makes": (
        "BR-CO-17",
        lambda x: re.sub(rb"(<ram:CalculatedAmount>)[0-9.]+", rb"\g<1>9.00", x),
    ),
    "a category without its reason": (
        "BR-E-10",
        lambda x: x.replace(b"<ram:CategoryCode>S<", b"<ram:CategoryCode>E<"),
    ),
    "due before its day": ("BR-FR-CO-07", lambda x: x.replace(b">20261202<", b">20261101<")),
    "three decimals": (
        "BR-FR-DEC-01",
        lambda x: re.sub(rb"(<ram:DuePayableAmount>[0-9.]+)", rb"\g<1>0", x),
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_official_rules_fail_each_mutant(mutant: str) -> None:
    rule, change = MUTANTS[mutant]
    made = xml(SOUND)
    changed = change(made)
    assert changed != made

    assert any(rule in fault for fault in broken(changed)), broken(changed)


OF_KIND: dict[str, tuple[str, str, Callable[[bytes], bytes]]] = {
    "a corrected invoice that names no original": (
        "redevable, business, 384, unpaid",
        "BR-FR-CO-04",
        lambda x: re.sub(
            rb"<ram:InvoiceReferencedDocument>.*?</ram:InvoiceReferencedDocument>",
            b"",
            x,
            flags=re.DOTALL,
        ),
    ),
    "a credit note that names no original": (
        "franchise, consumer, 381, unpaid",
        "BR-FR-CO-05",
        lambda x: re.sub(
            rb"<ram:InvoiceReferencedDocument>.*?</ram:InvoiceReferencedDocument>",
            b"",
            x,
            flags=re.DOTALL,
        ),
    ),
    "franchise without the reason": (
        "franchise, business, 380, paid",
        "BR-E-10",
        lambda x: re.sub(rb"<ram:ExemptionReason(Code)?>.*?</ram:ExemptionReason(Code)?>", b"", x),
    ),
    "an account that shows a VAT number": (
        "non_assujetti, consumer, 380, unpaid",
        "BR-O-02",
        lambda x: x.replace(
            b"</ram:SellerTradeParty>",
            b'<ram:SpecifiedTaxRegistration><ram:ID schemeID="VA">FR42999000003</ram:ID>'
            b"</ram:SpecifiedTaxRegistration></ram:SellerTradeParty>",
        ),
    ),
    "a paid service with something left": (
        "own sale, 380, paid",
        "BR-FR-CO-09",
        lambda x: x.replace(b"<ram:DuePayableAmount>0.00", b"<ram:DuePayableAmount>1.00"),
    ),
}


@pytest.mark.parametrize("mutant", OF_KIND)
def test_the_official_rules_fail_the_mutants_of_other_kinds(mutant: str) -> None:
    kind, rule, change = OF_KIND[mutant]
    made = xml(KINDS[kind])
    changed = change(made)
    assert changed != made

    assert any(rule in fault for fault in broken(changed)), broken(changed)


def test_an_empty_delivery_is_no_valid_xml() -> None:
    changed = re.sub(
        rb"<ram:ActualDeliverySupplyChainEvent>.*?</ram:ActualDeliverySupplyChainEvent>",
        b"<ram:Nothing/>",
        xml(SOUND),
        flags=re.DOTALL,
    )

    assert schema_errors(changed) != []


def vat_off(made: bytes) -> bytes:
    """50 cents of VAT too much, in every sum that speaks of it."""
    vat, net = euros(SOUND.vat_cents), euros(SOUND.net_cents)
    for path, amount in (
        ("CalculatedAmount", vat),
        ('TaxTotalAmount currencyID="EUR"', vat),
    ):
        made = made.replace(
            f"<ram:{path}>{amount}".encode(), f"<ram:{path}>{amount + Decimal('0.50')}".encode()
        )
    gross = net + vat
    for path in ("GrandTotalAmount", "DuePayableAmount"):
        made = made.replace(
            f"<ram:{path}>{gross}".encode(), f"<ram:{path}>{gross + Decimal('0.50')}".encode()
        )
    return made


def product_off(made: bytes) -> bytes:
    """A price that is not that of its line."""
    return re.sub(rb"(<ram:ChargeAmount>)[0-9.]+", rb"\g<1>77.77", made, count=1)


@pytest.mark.parametrize("change", [vat_off, product_off])
def test_what_the_official_rules_let_pass_our_own_reading_catches(
    change: Callable[[bytes], bytes],
) -> None:
    made = xml(SOUND)
    changed = change(made)
    assert changed != made

    assert broken(changed) == []
    assert differences(made, SOUND) == []
    assert differences(changed, SOUND) != []


@pytest.mark.parametrize(
    ("path", "other"),
    [
        ("rsm:ExchangedDocument/ram:ID", "C00001-F-2026-000124"),
        ("rsm:ExchangedDocument/ram:TypeCode", "381"),
        ("ram:IssueDateTime/udt:DateTimeString", "20261103"),
        ("ram:SellerTradeParty/ram:Name", "Une autre"),
        ("ram:BuyerTradeParty/ram:Name", "Une autre"),
        ("ram:SellerTradeParty/ram:SpecifiedLegalOrganization/ram:ID", "999000110"),
        ("ram:TotalPrepaidAmount", "1.00"),
        ("ram:DuePayableAmount", "1.00"),
        ("ram:TaxBasisTotalAmount", "1.00"),
        ("ram:ApplicableTradeTax/ram:BasisAmount", "1.00"),
        ("ram:SpecifiedTradeProduct/ram:Name", "Autre chose"),
        ("ram:BilledQuantity", "2"),
    ],
)
def test_our_own_reading_sees_each_figure(path: str, other: str) -> None:
    document = replace(SOUND, paid_cents=500)
    tree = etree.fromstring(xml(document))
    found = tree.xpath(f"//{path}", namespaces=NAMESPACES)
    assert isinstance(found, list)
    assert isinstance(found[0], etree._Element)
    found[0].text = other

    assert differences(etree.tostring(tree), document) != []


def test_a_line_that_is_missing_is_seen() -> None:
    assert differences(xml(SOUND), charging(buyer=BUSINESS, uses=2)) != []


def test_the_same_document_makes_the_same_bytes() -> None:
    assert xml(SOUND) == xml(charging(buyer=BUSINESS))


def test_the_xml_says_who_sells_to_whom_and_how() -> None:
    made = xml(SOUND)

    assert said(made, "ram:SpecifiedLegalOrganization/ram:ID") == ["999000003", "999000110"]
    assert said(made, "ram:URIUniversalCommunication/ram:URIID") == ["999000003", "999000110"]
    assert said(made, "ram:BusinessProcessSpecifiedDocumentContextParameter/ram:ID") == ["B1"]
    notes = dict(
        zip(
            said(made, "ram:IncludedNote/ram:SubjectCode"),
            said(made, "ram:IncludedNote/ram:Content"),
            strict=True,
        )
    )
    assert notes["BAR"] == "B2B"
    assert notes["REG"] == (
        "Établie par Opérateur de démonstration au nom et pour le compte de "
        "Copropriété de démonstration 1."
    )
    assert said(made, "ram:OccurrenceDateTime/udt:DateTimeString") == ["20261031"]


@pytest.mark.parametrize(
    ("document", "process"),
    [
        (charging(), "B1"),
        (charging(is_paid=True), "B2"),
        (replace(charging(), paid_cents=1), "B1"),
        (own(), "S1"),
        (own(is_paid=True), "S2"),
    ],
)
def test_goods_and_services_paid_and_not_have_their_process(
    document: Document, process: str
) -> None:
    made = xml(document)

    assert said(made, "ram:BusinessProcessSpecifiedDocumentContextParameter/ram:ID") == [process]
    if process.endswith("2"):
        assert said(made, "ram:TotalPrepaidAmount") == said(made, "ram:GrandTotalAmount")
        assert said(made, "ram:DuePayableAmount") == ["0.00"]


@pytest.mark.parametrize(
    ("case", "category", "exemption", "treatment"),
    [
        (VatCase.REDEVABLE, "S", [], "B2C"),
        (VatCase.FRANCHISE, "E", ["VATEX-FR-FRANCHISE"], "B2C"),
        (VatCase.NON_ASSUJETTI, "O", ["VATEX-EU-O"], "OUTOFSCOPE"),
    ],
)
def test_each_vat_case_has_its_category(
    case: VatCase, category: str, exemption: list[str], treatment: str
) -> None:
    made = xml(charging(case))

    assert set(said(made, "ram:ApplicableTradeTax/ram:CategoryCode")) == {category}
    assert said(made, "ram:ApplicableTradeTax/ram:ExemptionReasonCode") == exemption
    assert said(made, "ram:IncludedNote/ram:Content")[0] == treatment
    if case is VatCase.NON_ASSUJETTI:
        assert said(made, "ram:SpecifiedTaxRegistration/ram:ID") == []


def test_what_corrects_names_its_original_with_its_day() -> None:
    for code in (TypeCode.CREDIT_NOTE, TypeCode.CORRECTED):
        made = xml(charging(type_code=code))

        assert said(made, "ram:InvoiceReferencedDocument/ram:IssuerAssignedID") == [
            "C00001-F-2026-000007"
        ]
        assert said(
            made, "ram:InvoiceReferencedDocument/ram:FormattedIssueDateTime/qdt:DateTimeString"
        ) == ["20261101"]


# --- Paper ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_xml_is_read_back_from_the_paper_byte_by_byte(kind: str) -> None:
    name, found = facturx.get_xml_from_pdf(pdf(KINDS[kind]), check_xsd=True, check_schematron=False)

    assert name == "factur-x.xml"
    assert hashlib.sha256(found).digest() == hashlib.sha256(xml(KINDS[kind])).digest()


def test_the_paper_has_the_structure_of_an_archive() -> None:
    reader = pypdf.PdfReader(io.BytesIO(pdf(charging(uses=40))))
    root: Any = reader.trailer["/Root"]

    (intent,) = root["/OutputIntents"]
    assert intent["/S"] == "/GTS_PDFA1"
    assert intent["/DestOutputProfile"].get_object().get_data()[36:40] == b"acsp"  # an ICC profile
    assert len(reader.trailer["/ID"]) == 2  # type: ignore[arg-type]
    assert "/Encrypt" not in reader.trailer
    (attached,) = (each.get_object() for each in root["/AF"])
    assert attached["/AFRelationship"] == "/Data"
    assert attached["/F"] == attached["/UF"] == "factur-x.xml"
    assert attached["/EF"]["/F"].get_object()["/Subtype"] == "/text/xml"
    assert root["/Names"]["/EmbeddedFiles"]["/Names"][0] == "factur-x.xml"
    told = root["/Metadata"].get_object().get_data().decode("utf-8")
    assert "<pdfaid:part>3<" in told
    assert "<pdfaid:conformance>B<" in told
    assert "<fx:ConformanceLevel>EN 16931<" in told
    assert root["/Lang"] == "fr-FR"
    assert reader.metadata is not None
    assert reader.metadata.title == (
        "Facture C00001-F-2026-000123 – Copropriété de démonstration 1"
    )


def test_every_letter_on_paper_is_embedded() -> None:
    reader = pypdf.PdfReader(io.BytesIO(pdf(charging(uses=40))))
    seen = 0
    for page in reader.pages:
        fonts: Any = page["/Resources"]["/Font"]  # type: ignore[index]
        for font in fonts.values():
            (inner,) = font.get_object()["/DescendantFonts"]
            assert len(inner["/FontDescriptor"]["/FontFile2"].get_object().get_data()) > 1_000
            seen += 1
    assert seen >= 2 * len(reader.pages)


def test_an_invoice_says_all_that_its_reader_looks_for() -> None:
    text = words_of(pdf(replace(charging(), paid_cents=500)))

    for expected in (
        "Copropriété de démonstration 1",
        "Facture",
        "C00001-F-2026-000123",
        "02/11/2026",
        "du 02/10/2026 au 31/10/2026",
        "Établie par Opérateur de démonstration au nom et pour le compte de",
        "Conductrice de démonstration",
        "SIREN 999\u202f000\u202f003",
        "Résidence de l’Œillet, place 2",
        "22:12 – 00:32",
        "12,297\u00a0kWh",
        "0,35\u00a0€/kWh",
        "4,30\u00a0€",
        "TVA 20\u202f%",
        "2,16\u00a0€",
        "12,91\u00a0€",
        "\u22125,00\u00a0€",
        "7,91\u00a0€",
        "Pas d’escompte",
        "Page 1 sur 1",
    ):
        assert plain(expected) in plain(text), expected
    assert "Démonstration –" not in text


def plain(text: str) -> str:
    """With all spaces alike: a reader of PDF takes its own."""
    return re.sub(r"\s+", " ", text)


def test_an_account_is_no_invoice_and_has_no_vat() -> None:
    text = words_of(pdf(charging(VatCase.NON_ASSUJETTI)))

    assert "Décompte" in text
    assert "Facture" not in text
    assert "TVA" not in text.replace("TVA comprise", "").replace("assujettie à la TVA", "")
    assert "TTC" not in text


def test_franchise_says_why_there_is_no_vat() -> None:
    text = words_of(pdf(charging(VatCase.FRANCHISE)))

    assert "TVA non applicable, art. 293 B du CGI" in text
    assert "Total HT" not in text


def test_what_corrects_says_what_it_corrects_and_why() -> None:
    credit = plain(words_of(pdf(charging(type_code=TypeCode.CREDIT_NOTE))))
    corrected = plain(words_of(pdf(charging(type_code=TypeCode.CORRECTED))))

    assert (
        "Avoir n° C00001-A-2026-000123 sur la facture n° C00001-F-2026-000007 du 01/11/2026"
        in credit
    )
    assert "Motif : Session contestée : point en défaut" in credit
    assert "Montant de l’avoir" in credit
    assert "Facture rectificative" in corrected
    assert "remplace la facture n° C00001-F-2026-000007 du 01/11/2026" in corrected
    assert "Montant rectifié" in corrected
    assert "Reste à payer" not in corrected


def test_a_simulated_document_says_so_on_every_page() -> None:
    paper = pdf(replace(charging(uses=60), is_simulated=True))

    pages = len(pypdf.PdfReader(io.BytesIO(paper)).pages)
    assert pages > 1
    assert words_of(paper).count("Démonstration – paiements simulés") == pages


def test_many_uses_take_many_pages_and_none_is_lost() -> None:
    document = charging(uses=200)
    paper = pdf(document)

    text = plain(words_of(paper))
    pages = len(pypdf.PdfReader(io.BytesIO(paper)).pages)
    assert 5 < pages < 12
    assert f"Page {pages} sur {pages}" in text
    assert text.count("Résidence de l’Œillet") == 200
    assert text.count("Montant TTC") >= pages - 1
    assert "200 recharges" in text


@pytest.mark.parametrize(
    "document",
    [
        charging(buyer=BUSINESS, uses=1),
        added_up(
            replace(charging(uses=1), lines=(use(0, wh=7_310), use(4, percent=Decimal("5.5"))))
        ),
    ],
)
def test_a_business_and_who_pays_several_rates_sees_net_amount_and_rate_of_each_use(
    document: Document,
) -> None:
    text = plain(words_of(pdf(document)))

    assert "HT TVA Montant TTC" in text
    assert "0,35 €/kWh 2,13 € 20 % 2,56 €" in text


def test_a_consumer_sees_prices_with_vat_alone() -> None:
    assert "0,35 €/kWh 2,56 €" in plain(words_of(pdf(charging())))


def test_parts_of_one_use_name_its_place_once() -> None:
    part = replace(use(0, wh=10_000), label="Recharge : heures creuses", session_id=1000)
    parked = replace(
        part,
        label="Recharge : stationnement",
        energy_wh=None,
        billed_wh=None,
        billed_s=2_700,
        unit_price_eur=Decimal(2),
        gross_cents=150,
        vat_cents=25,
        net_cents=125,
    )
    document = added_up(replace(charging(uses=1), lines=(use(0), part, parked)))
    assert faults(document) == []

    text = plain(words_of(pdf(document)))

    assert text.count("Résidence de l’Œillet, place 1") == 1
    assert "Recharge : heures creuses" in text
    assert "Recharge : stationnement 45 min 2,00 €/h 1,50 €" in text
    assert "1 recharge ·" in text


def test_hours_of_the_night_when_clocks_go_back_are_told_as_they_were() -> None:
    """From 02:30 to 02:10 by the clock, 40 minutes in truth."""
    line = replace(use(0), started_at="2026-10-25T00:30:00Z", ended_at="2026-10-25T01:10:00Z")

    text = plain(words_of(pdf(added_up(replace(charging(), lines=(line,))))))

    assert "02:30 – 02:10" in text
    assert "40 min" in text


def test_an_english_reader_reads_english() -> None:
    text = plain(words_of(pdf(replace(charging(), language="en"))))

    for expected in ("Invoice", "Left to pay", "€12.91", "12.297 kWh", "€0.35/kWh", "Page 1 of 1"):
        assert expected in text, expected
    assert "Facturé" not in text


def test_letters_that_the_font_has_not_and_long_names_do_no_harm() -> None:
    buyer = replace(BUSINESS, name="漢字 " + "Très longue dénomination " * 7, city="W" * 180)

    text = plain(words_of(pdf(charging(buyer=buyer))))

    assert "?? Très longue dénomination" in text
    assert "WWW…" in text
