"""Shapes of invoices, of the operator's own sales, and of the texts and rates on them. Amounts are
cents, days those of Europe/Paris."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from csms.web.client_models import NumberOut
from csms.web.fields import Day, Identifier, Input, Name, Note, Output, Utc

Issuer = Literal["client", "operator"]
VatCase = Literal["redevable", "franchise", "non_assujetti"]
EnteredKind = Literal[
    "commission", "management_fee", "subscription", "telemetering", "intervention"
]
SaleKind = EnteredKind | Literal["deposit", "installation", "cancellation", "additional"]
Language = Literal["fr", "en"]
Reason = Annotated[Note, Field(max_length=500)]
SaleCents = Annotated[int, Field(strict=True, ge=-(10**10), le=10**10)]
SessionCents = Annotated[int, Field(strict=True, ge=0, le=10_000_000)]
SessionIds = Annotated[list[Identifier], Field(min_length=1, max_length=1_000)]
Percent = Annotated[Decimal, Field(ge=0, le=100, decimal_places=2)]
Code = Annotated[str, Field(pattern=r"^[a-z_]{1,50}$")]


class InvoiceListed(Output):
    id: int
    issuer: Issuer = Field(description="client: in its name, to a driver; operator: its own.")
    client_id: int
    client: str | None
    person_id: int | None
    number: str
    type_code: Literal[380, 381, 384, 386] = Field(
        description="Invoice, credit note, corrective, prepayment invoice."
    )
    vat_case: VatCase
    month: date = Field(description="First day of the month of supply.")
    issued_on: date
    due_on: date
    amount_excl_cents: int
    vat_cents: int
    amount_incl_cents: int
    effect_cents: int = Field(description="On what the buyer owes: a credit note lessens it.")
    original_id: int | None = Field(description="What it corrects.")
    original_number: str | None
    reason: str | None
    available_at: Utc | None = Field(description="Since when the client can contest it.")


class InvoiceLineOut(Output):
    position: int
    session_id: int | None
    own_sale_id: int | None
    amount_excl_cents: int
    vat_cents: int
    amount_incl_cents: int


class InvoiceOut(InvoiceListed):
    lines: list[InvoiceLineOut]


class CreditIn(Input):
    session_ids: SessionIds | None = Field(
        default=None, description="Given back whole; null: all that is left."
    )
    reason: Reason


class NewPrice(Input):
    session_id: Identifier
    amount_incl_cents: SessionCents


class CorrectIn(Input):
    amounts: Annotated[list[NewPrice], Field(min_length=1, max_length=1_000)] = Field(
        description="What these sessions cost from now on, VAT included; others stay."
    )
    reason: Reason


class OwnSaleIn(Input):
    kind: EnteredKind = "intervention"
    label: Annotated[Name, Field(max_length=200)]
    amount_excl_cents: SaleCents = Field(description="Without VAT; below 0: given back.")
    on_day: Day
    source_key: Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,100}$")] = Field(
        description="The same key again is the same sale."
    )


class OwnSaleOut(Output):
    id: int
    client_id: int
    contract_id: int | None
    kind: SaleKind
    label: str
    amount_excl_cents: int
    on_day: date
    month: date
    source_key: str
    created_at: Utc
    created_by: str
    invoice_id: int | None
    invoice_number: str | None


class MentionIn(Input):
    code: Code
    language: Language
    from_on: Day
    to_on: Day | None = Field(default=None, description="First day without it.")
    text: Annotated[Note, Field(max_length=1_000)]
    source: Annotated[Note, Field(max_length=500)] = Field(description="Where it is written.")


class MentionOut(Output):
    code: str
    language: Language
    from_on: date
    to_on: date | None
    text: str
    source: str


class VatRateIn(Input):
    from_on: Day
    percent: Percent
    source: Annotated[Note, Field(max_length=500)] = Field(description="Where it is written.")


class VatRateOut(Output):
    from_on: date
    to_on: date | None
    percent: NumberOut
    source: str
