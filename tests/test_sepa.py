"""Files exchanged with the bank: what leaves is proved, what is wrong stops only its payment."""

import re
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing import sepa
from billing.sepa import (
    Account,
    Address,
    Creditor,
    Debit,
    Transfer,
    camt,
    debits,
    faults,
    proving,
    reading,
)
from simulators.bank import Bank

TODAY = date(2026, 11, 12)
PAYDAY = date(2026, 11, 13)
NOW = datetime(2026, 11, 12, 9, 30, tzinfo=UTC)
MANDATE = "FR7630006000011234567890189"
OTHER = "FR1420041010050500013M02606"
DEBTOR = Account("Opérateur de démonstration", MANDATE, "AGRIFRPP")
CREDITOR = Creditor(DEBTOR, "FR72ZZZ123456")
TRANSFER = Transfer(
    "T2P-2026-10-7", 12_345, Account("SDC Résidence Exemple", OTHER), "Reversement 10/2026"
)
DEBIT = Debit(
    "T2P-P-9-1",
    4_210,
    Account("Œuvre d’Exemple", OTHER),
    "MD-7",
    date(2026, 1, 5),
    "FRST",
    date(2026, 11, 30),
    "Facture C00001-F-2026-000009",
)


def transfers(*payments: Transfer) -> sepa.Built:
    return sepa.build_transfers(
        "T2P-V-20261113-01", DEBTOR, PAYDAY, payments, created_at=NOW, today=TODAY
    )


def collected(*payments: Debit) -> sepa.Built:
    return sepa.build_debits("T2P-P-1", CREDITOR, payments, created_at=NOW, today=TODAY)


def test_the_same_batch_gives_the_same_bytes() -> None:
    assert transfers(TRANSFER) == transfers(TRANSFER)
    assert collected(DEBIT) == collected(DEBIT)
    content = transfers(TRANSFER).content
    assert content is not None and b"SDC Residence Exemple" in content
    assert collected(DEBIT).content is not None


@pytest.mark.parametrize(
    ("wrong", "cause"),
    [
        (replace(TRANSFER, amount_cents=0), "amount"),
        (replace(TRANSFER, amount_cents=faults.AMOUNT_CENTS_MAX + 1), "amount"),
        (replace(TRANSFER, end_to_end_id="x" * 36), "identifier"),
        (replace(TRANSFER, end_to_end_id="été"), "identifier"),
        (replace(TRANSFER, end_to_end_id="/a"), "identifier"),
        (replace(TRANSFER, creditor=Account("A", "FR7630006000011234567890188")), "iban"),
        (replace(TRANSFER, creditor=Account("A", "FR7630006000011234567890")), "iban"),
        (replace(TRANSFER, creditor=Account("A", "US64SVBKUS6S3300958879")), "iban"),
        (replace(TRANSFER, creditor=Account("A", OTHER, "AGRIFRP")), "bic"),
        (replace(TRANSFER, creditor=Account("A", OTHER, "DEUTDEFF")), "bic"),
        (replace(TRANSFER, creditor=Account("日", OTHER)), None),
        (replace(TRANSFER, creditor=Account("\u0001", OTHER)), "name"),
        (
            replace(
                TRANSFER,
                creditor=Account("A", OTHER, None, Address(lines=("1 rue Exemple", "Lyon"))),
            ),
            "address",
        ),
        (
            replace(
                TRANSFER, creditor=Account("A", OTHER, None, Address(country="FR", lines=("x",)))
            ),
            "address",
        ),
    ],
)
def test_a_wrong_transfer_stops_itself_and_no_other(wrong: Transfer, cause: str | None) -> None:
    right = replace(TRANSFER, end_to_end_id="T2P-2026-10-8")
    built = transfers(wrong, right)
    assert [each.cause for each in built.refused] == ([] if cause is None else [cause])
    assert right.end_to_end_id in built.accepted
    assert all(each.message and each.remedy for each in built.refused)


def test_an_address_that_is_structured_goes_into_the_file() -> None:
    address = Address("rue de l’Exemple", "2 bis", "69001", "Lyon", "FR")
    content = transfers(
        replace(TRANSFER, creditor=replace(TRANSFER.creditor, address=address))
    ).content
    assert content is not None
    assert b"<TwnNm>Lyon</TwnNm>" in content and b"<AdrLine>" not in content
    hybrid = Address(town="Lyon", country="FR", lines=("2 bis rue de l'Exemple",))
    assert transfers(replace(TRANSFER, creditor=replace(TRANSFER.creditor, address=hybrid))).content


@pytest.mark.parametrize(
    "address",
    [
        Address(town="Lyon", country="XX"),
        Address(town="日", country="FR"),
        Address(town="Lyon", country="FR", postal_code="1" * 17),
        Address(town="Lyon", country="FR", building="1" * 17),
        Address(town="Lyon", country="FR", street="a" * 71),
        Address(town="Lyon", country="FR", lines=("\u0001",)),
    ],
)
def test_an_address_that_a_bank_would_cut_or_refuse_stops_only_its_payment(
    address: Address,
) -> None:
    wrong = replace(TRANSFER, creditor=replace(TRANSFER.creditor, address=address))
    right = replace(TRANSFER, end_to_end_id="T2P-2026-10-8")
    built = transfers(wrong, right)
    if address.town == "日":
        assert built.refused == (), "Ri: it can be written"
    else:
        assert [each.cause for each in built.refused] == ["address"]
    assert right.end_to_end_id in built.accepted


def test_accounts_are_written_as_banks_write_them() -> None:
    spaced = Account("A", "fr14 2004 1010 0505 0001 3m02 606", "psstfrpplyo")
    content = transfers(replace(TRANSFER, creditor=spaced)).content
    assert content is not None
    assert f"<IBAN>{OTHER}</IBAN>".encode() in content and b"PSSTFRPPLYO" in content
    assert collected(replace(DEBIT, debtor=replace(spaced, bic=None))).content is not None


def test_batches_of_a_file_with_a_long_name_have_names_of_their_own() -> None:
    built = sepa.build_debits(
        "M" * 35,
        CREDITOR,
        [DEBIT, replace(DEBIT, end_to_end_id="T2P-P-10-1", sequence="RCUR")],
        created_at=NOW,
        today=TODAY,
    )
    assert built.content is not None
    names = set(re.findall(b"<PmtInfId>([^<]*)<", built.content))
    assert len(names) == 2
    first = sepa.identifiers_in(built.content, f"{'M' * 33}-1")
    assert first == ["T2P-P-9-1"]
    assert sepa.identifiers_in(built.content, None) == ["T2P-P-9-1", "T2P-P-10-1"]


def test_a_file_that_says_something_else_than_was_asked_does_not_leave() -> None:
    content = transfers(TRANSFER).content
    assert content is not None
    asked = {TRANSFER.end_to_end_id: (12_345, OTHER, PAYDAY)}
    name = "T2P-V-20261113-01"
    proving.prove(content, proving.TRANSFERS, asked, name, MANDATE)
    for old, new in (
        (b">123.45<", b">123.46<"),
        (OTHER.encode(), MANDATE.encode()),
        (b"2026-11-13</Dt>", b"2026-11-16</Dt>"),
        (b"<NbOfTxs>1<", b"<NbOfTxs>2<"),
        (b'Ccy="EUR"', b'Ccy="CHF"'),
    ):
        assert old in content
        with pytest.raises(AssertionError):
            proving.prove(content.replace(old, new), proving.TRANSFERS, asked, name, MANDATE)
    with pytest.raises(AssertionError):
        proving.prove(content, proving.TRANSFERS, asked, name, OTHER)


def test_a_reference_that_is_there_twice_pays_nothing() -> None:
    built = transfers(TRANSFER, TRANSFER)
    assert built.content is None and len(built.refused) == 2


@pytest.mark.parametrize("day", [date(2026, 11, 14), date(2026, 11, 11), date(2026, 12, 25)])
def test_a_day_on_which_nothing_settles_makes_no_file(day: date) -> None:
    with pytest.raises(ValueError, match=r"past|TARGET"):
        sepa.build_transfers("M", DEBTOR, day, [TRANSFER], created_at=NOW, today=TODAY)


@pytest.mark.parametrize(
    ("wrong", "cause"),
    [
        (replace(DEBIT, sequence="NEXT"), "sequence"),
        (replace(DEBIT, mandate_signed_on=date(2026, 12, 1)), "mandate"),
        (replace(DEBIT, collection_on=date(2026, 11, 28)), "day"),
        (replace(DEBIT, collection_on=date(2026, 11, 10)), "day"),
        (replace(DEBIT, mandate_reference="x" * 36), "identifier"),
        (replace(DEBIT, debtor=Account("A", "FR00")), "iban"),
    ],
)
def test_a_wrong_debit_stops_itself_and_no_other(wrong: Debit, cause: str) -> None:
    right = replace(DEBIT, end_to_end_id="T2P-P-10-1")
    built = collected(wrong, right)
    assert [each.cause for each in built.refused] == [cause]
    assert built.accepted == (right.end_to_end_id,)


def test_a_creditor_identifier_has_check_digits() -> None:
    assert debits.is_identifier("FR72ZZZ123456")
    assert not debits.is_identifier("FR73ZZZ123456")
    assert not debits.is_identifier("ZZZ123456")
    assert debits.is_identifier("DE98ZZZ09999999999"), "the example of the German central bank"
    with pytest.raises(ValueError, match="creditor identifier"):
        sepa.build_debits(
            "M", replace(CREDITOR, identifier="FR00ZZZ1"), [DEBIT], created_at=NOW, today=TODAY
        )


names = st.text(min_size=1, max_size=80)
payments = st.lists(st.tuples(st.integers(1, 10**9), names, names), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(payments)
def test_what_is_ordered_comes_back_on_the_statement(rows: list[tuple[int, str, str]]) -> None:
    asked = [
        Transfer(f"T2P-{place}", cents, Account(name, OTHER), why)
        for place, (cents, name, why) in enumerate(rows)
    ]
    built = transfers(*asked)
    bank = Bank(MANDATE, 10**12)
    if built.content is None:
        assert len(built.refused) == len(asked)
        return
    bank.take(built.content)
    [statement] = sepa.read_statements(bank.statement(PAYDAY))
    wanted = {each.end_to_end_id: -each.amount_cents for each in asked}
    wanted = {key: cents for key, cents in wanted.items() if key in built.accepted}
    assert {line.end_to_end_id: line.amount_cents for line in statement.lines} == wanted
    assert statement.closing_cents == 10**12 - built.total_cents
    assert len({line.reference for line in statement.lines}) == len(wanted)


def test_a_debit_is_collected_then_returned_with_its_reason() -> None:
    bank = Bank(MANDATE, 0)
    built = collected(DEBIT, replace(DEBIT, end_to_end_id="T2P-P-10-1", sequence="RCUR"))
    assert built.content is not None
    bank.take(built.content)
    [statement] = sepa.read_statements(bank.statement(DEBIT.collection_on))
    assert [(line.kind, line.amount_cents) for line in statement.lines] == [("debit", 4_210)] * 2
    bank.give_back("T2P-P-9-1", "AM04")
    [later] = sepa.read_statements(bank.statement(date(2026, 12, 3)))
    [line] = later.lines
    assert (line.kind, line.amount_cents, line.reason) == ("return", -4_210, "AM04")
    assert line.end_to_end_id == "T2P-P-9-1"


def test_a_refusal_is_read_with_its_reason() -> None:
    bank = Bank(MANDATE, 10**6)
    built = transfers(TRANSFER, replace(TRANSFER, end_to_end_id="T2P-2026-10-8"))
    assert built.content is not None
    report = bank.take(built.content, refuse={"T2P-2026-10-7": "AC04"})
    found = sepa.read_status(report)
    assert (found[0].end_to_end_id, found[0].status) == (None, "PART")
    assert [(s.end_to_end_id, s.status, s.reason) for s in found[1:]] == [
        ("T2P-2026-10-7", "RJCT", "AC04"),
        ("T2P-2026-10-8", "ACCP", None),
    ]


def statement() -> bytes:
    bank = Bank(MANDATE, 50_000)
    bank.receive(1_200, "Camille Exemple", OTHER, "Facture C00001-F-2026-000009")
    bank.charge(300, "Frais de tenue de compte")
    return bank.statement(PAYDAY)


def test_money_that_comes_in_tells_who_and_why() -> None:
    [found] = sepa.read_statements(statement())
    first, second = found.lines
    assert (first.kind, first.amount_cents, first.counterparty_iban) == (
        "transfer_in",
        1_200,
        OTHER,
    )
    assert first.counterparty_name == "Camille Exemple"
    assert first.remittance == "Facture C00001-F-2026-000009"
    assert (second.kind, second.amount_cents) == ("fee", -300)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"camt.053.001.08", b"camt.052.001.08"),
        (b"<CdtDbtInd>CRDT</CdtDbtInd>", b"<CdtDbtInd>UP</CdtDbtInd>"),
        (b'Ccy="EUR"', b'Ccy="CHF"'),
        (b">12.00<", b">12.001<"),
        (b">12.00<", b">NaN<"),
        (b">12.00<", b">1e999999<"),
        (b">12.00<", b">1_2.00<"),
        (b">12.00<", b">-12.00<"),
        (b"camt.053.001.08", b"camt.053.001.0800"),
        (b"urn:iso:std:iso:20022:tech:xsd:camt", b"http://example.org/xsd:camt"),
        (b">12.00<", b">13.00<"),
        (b"</Stmt>", b""),
        (b"<IBAN>", b"<IBAM>"),
        (b"<Document", b'<!DOCTYPE x [<!ENTITY a "b">]><Document'),
    ],
)
def test_a_statement_that_is_not_whole_is_refused_with_a_sentence(old: bytes, new: bytes) -> None:
    content = statement()
    assert old in content
    with pytest.raises(sepa.Unreadable, match=r"\w+ "):
        sepa.read_statements(content.replace(old, new))


@pytest.mark.parametrize("version", camt.VERSIONS)
def test_every_version_of_a_statement_says_the_same(version: str) -> None:
    content = statement().replace(b"camt.053.001.08", version.encode())
    if version in ("camt.053.001.02", "camt.053.001.04"):
        content = content.replace(b"<Sts><Cd>BOOK</Cd></Sts>", b"<Sts>BOOK</Sts>")
        content = content.replace(b"<Pty>", b"").replace(b"</Pty>", b"")
    assert sepa.read_statements(content) == sepa.read_statements(statement())


def test_what_is_not_booked_yet_is_left_to_a_later_statement() -> None:
    pending = statement().replace(b"<Sts><Cd>BOOK</Cd></Sts>", b"<Sts><Cd>PDNG</Cd></Sts>")
    with pytest.raises(sepa.Unreadable, match="Something is missing"):
        sepa.read_statements(pending)


def test_a_file_beyond_its_size_is_not_even_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SIZE_BYTES_MAX", 1_000)
    with pytest.raises(sepa.Unreadable, match="larger"):
        sepa.read_statements(statement())


def test_a_bomb_is_no_statement() -> None:
    bomb = (
        b'<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>'
        b'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08">&b;</Document>'
    )
    with pytest.raises(sepa.Unreadable):
        sepa.read_statements(bomb)
    with pytest.raises(sepa.Unreadable):
        sepa.read_statements(b"")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 4_000), st.binary(max_size=6))
def test_damaged_bytes_are_read_or_refused_never_more(place: int, put: bytes) -> None:
    content = statement()
    damaged = content[:place] + put + content[place + len(put) :]
    try:
        sepa.read_statements(damaged)
    except sepa.Unreadable:
        return
