"""Documents of every kind, as issuing makes them: neutral names, SIREN numbers that nobody has."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from billing.invoice import (
    Document,
    DocumentLine,
    Party,
    TypeCode,
    VatCase,
    added_up,
)
from billing.money import vat_in, vat_on
from csms.domain.siren import french_vat_number

CLIENT_SIREN, OPERATOR_SIREN, BUSINESS_SIREN = "999000003", "999000011", "999000110"
OPERATOR = Party(
    "Opérateur de démonstration",
    siren=OPERATOR_SIREN,
    vat_number=french_vat_number(OPERATOR_SIREN),
    street="2 avenue de l’Exemple",
    postal_code="34000",
    city="Montpellier",
    email="facturation@example.org",
    legal_form="SAS au capital de 10 000 €",
    register="RCS Montpellier 999 000 011",
)
CONSUMER = Party("Conductrice de démonstration", email="conductrice@example.org", is_consumer=True)
BUSINESS = Party(
    "Entreprise de démonstration",
    siren=BUSINESS_SIREN,
    vat_number=french_vat_number(BUSINESS_SIREN),
    street="3 rue de l’Exemple",
    postal_code="30900",
    city="Nîmes",
)
MANDATE = f"Établie par {OPERATOR.name} au nom et pour le compte de {{seller}}."
MENTIONS = (
    ("PMT", "En cas de retard de paiement, une indemnité forfaitaire de 40 € est due."),
    ("PMD", "En cas de retard, des pénalités au taux de trois fois l’intérêt légal sont dues."),
    ("AAB", "Pas d’escompte pour paiement anticipé."),
)
OF_CASE = {
    VatCase.FRANCHISE: "TVA non applicable, art. 293 B du CGI",
    VatCase.NON_ASSUJETTI: "Décompte d’une personne non assujettie à la TVA : aucune taxe n’est "
    "facturée ni récupérable.",
}
FIRST = datetime(2026, 10, 2, 17, 5, tzinfo=UTC)


def client(case: VatCase) -> Party:
    """A co-ownership that sells, as it stands to VAT."""
    return Party(
        "Copropriété de démonstration 1",
        siren=CLIENT_SIREN,
        vat_number=french_vat_number(CLIENT_SIREN) if case is VatCase.REDEVABLE else "",
        street="1 rue de l’Exemple",
        postal_code="30000",
        city="Nîmes",
    )


def use(number: int = 0, *, wh: int = 37_421, percent: Decimal = Decimal(20)) -> DocumentLine:
    """A session at 0.35 €/kWh, the n-th of a month."""
    begun = FIRST + timedelta(hours=3 * number, minutes=7 * (number % 8))
    gross = (wh * 35 + 500) // 1000
    vat = vat_in(gross, percent)
    return DocumentLine(
        label="Recharge : énergie",
        attributes=(
            ("Énergie", f"{wh / 1000:.3f} kWh".replace(".", ",")),
            ("Tarif", "Tarif unique"),
        ),
        vat_percent=percent,
        net_cents=gross - vat,
        vat_cents=vat,
        gross_cents=gross,
        session_id=1000 + number,
        energy_wh=wh,
        started_at=f"{begun:%Y-%m-%dT%H:%M:%SZ}",
        ended_at=f"{begun + timedelta(hours=2, minutes=20):%Y-%m-%dT%H:%M:%SZ}",
        point=f"Résidence de l’Œillet, place {1 + number % 12}",
        tariff=("0,35 €/kWh, TVA comprise",),
        unit_price_eur=Decimal("0.35"),
        billed_wh=wh,
    )


def sale(label: str, net_cents: int, number: int = 1) -> DocumentLine:
    """One of the operator's own: a service, priced without VAT."""
    vat = vat_on(net_cents, Decimal(20))
    return DocumentLine(
        label=label,
        attributes=(("Date", "31/10/2026"),),
        vat_percent=Decimal(20),
        net_cents=net_cents,
        vat_cents=vat,
        gross_cents=net_cents + vat,
        own_sale_id=number,
    )


def charging(
    case: VatCase = VatCase.REDEVABLE,
    *,
    buyer: Party = CONSUMER,
    type_code: TypeCode = TypeCode.INVOICE,
    is_paid: bool = False,
    uses: int = 3,
) -> Document:
    """What a client sold to a driver in October 2026, made out by the operator."""
    seller = client(case)
    percent = Decimal(20 if case is VatCase.REDEVABLE else 0)
    lines = tuple(use(n, wh=7_310 + 4_987 * (n % 7), percent=percent) for n in range(uses))
    is_original = type_code in (TypeCode.INVOICE, TypeCode.PREPAYMENT)
    mentions = [*MENTIONS, ("REG", MANDATE.replace("{seller}", seller.name))]
    if case in OF_CASE:
        mentions.append((case.value, OF_CASE[case]))
    document = added_up(
        Document(
            type_code=type_code,
            number=f"C00001-{'A' if type_code is TypeCode.CREDIT_NOTE else 'F'}-2026-000123",
            issued_on=date(2026, 11, 2),
            due_on=date(2026, 12, 2),
            supplied_from_on=date(2026, 10, 2),
            supplied_to_on=date(2026, 10, 31),
            vat_case=case,
            is_goods=True,
            seller=seller,
            buyer=buyer,
            invoicer=OPERATOR,
            lines=lines,
            vat=(),
            net_cents=0,
            vat_cents=0,
            gross_cents=0,
            paid_cents=0,
            mentions=tuple(mentions),
            original_number="" if is_original else "C00001-F-2026-000007",
            original_issued_on=None if is_original else date(2026, 11, 1),
            reason="" if is_original else "Session contestée : point en défaut",
        )
    )
    return replace(document, paid_cents=document.gross_cents) if is_paid else document


def own(*, type_code: TypeCode = TypeCode.INVOICE, is_paid: bool = False) -> Document:
    """The operator's services to a client in October 2026."""
    document = charging(type_code=type_code, buyer=BUSINESS)
    lines = (
        sale("Commission d’intermédiation, octobre 2026", 12_345),
        sale("Frais de gestion, octobre 2026", 1_500, 2),
        sale("Remise sur intervention", -203, 3),
    )
    document = added_up(
        replace(
            document,
            number="T2P-F-2026-000004",
            is_goods=False,
            seller=OPERATOR,
            buyer=replace(client(VatCase.REDEVABLE)),
            invoicer=None,
            lines=lines,
            mentions=MENTIONS,
        )
    )
    return replace(document, paid_cents=document.gross_cents) if is_paid else document


def supplied(*, paid_cents: int = 0) -> Document:
    """The operator's electricity and telemetering to a co-owner in October 2026, as far as that
    paid by an advance."""
    energy = replace(sale("Électricité, lot 12", 651), own_sale_id=None, energy_wh=37_421)
    document = charging(buyer=CONSUMER)
    return replace(
        added_up(
            replace(
                document,
                number="T2P-F-2026-000005",
                seller=OPERATOR,
                invoicer=None,
                lines=(energy, replace(sale("Télérelève, lot 12", 500), own_sale_id=None)),
                mentions=MENTIONS,
                has_services=True,
            )
        ),
        paid_cents=paid_cents,
        deducts_advance=paid_cents > 0,
    )


def every_kind() -> Iterator[tuple[str, Document]]:
    """Each VAT case, to a consumer and to a business, as invoice, credit note and corrected
    invoice, paid and not; and the operator's own. A credit note is never paid before."""
    for type_code in TypeCode:
        payments = (False,) if type_code is TypeCode.CREDIT_NOTE else (False, True)
        for is_paid in payments:
            end = f"{int(type_code)}, {'paid' if is_paid else 'unpaid'}"
            for case in VatCase:
                for buyer in (CONSUMER, BUSINESS):
                    who = "consumer" if buyer.is_consumer else "business"
                    yield (
                        f"{case.value}, {who}, {end}",
                        charging(case, buyer=buyer, type_code=type_code, is_paid=is_paid),
                    )
            yield f"own sale, {end}", own(type_code=type_code, is_paid=is_paid)
    yield "supply after an advance", supplied(paid_cents=500)
    yield "supply paid by an advance", supplied(paid_cents=1_381)
    yield "supply without an advance", supplied()
