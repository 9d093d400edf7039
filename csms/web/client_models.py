"""Shapes of clients and contracts. Days are those of Europe/Paris, amounts cents without VAT."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from csms.web.fields import Day, Input, Label, Name, Note, Output, Truth, Utc, plain_number

ClientClass = Literal["particulier", "non_professionnel", "professionnel"]
RegulatoryBasis = Literal["psp_split", "agent_psp", "exempted"]
Purpose = Literal["contract", "statements", "invoices", "technical", "personal_data"]
Cents = Annotated[int, Field(strict=True, ge=0, le=10**12)]
Rate = Annotated[Decimal, Field(ge=0, le=1, decimal_places=6)]
Price = Annotated[Decimal, Field(ge=0, le=1_000, decimal_places=6)]
NumberOut = Annotated[int | float | None, BeforeValidator(plain_number)]


class Address(Input):
    street: Annotated[Name, Field(max_length=70)]
    postal_code: Annotated[Name, Field(max_length=16)]
    city: Annotated[Name, Field(max_length=35)]
    country: Annotated[str, Field(min_length=2, max_length=2)] = Field(
        default="FR", description="ISO 3166-1, two letters."
    )


class AddressOut(Output):
    street: str
    postal_code: str
    city: str
    country: str


class ClientChange(Input):
    """What is absent stays."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "client_class": "non_professionnel",
                    "legal_name": "Syndicat des copropriétaires Résidence Exemple",
                    "address": {"street": "1 rue Exemple", "postal_code": "75001", "city": "Paris"},
                }
            ]
        }
    )
    name: Name = ""
    client_class: ClientClass | None = Field(
        default=None,
        description="A syndicat de copropriétaires is a non_professionnel; null: not known yet.",
    )
    legal_name: Name | None = None
    siren: Annotated[str, Field(pattern=r"^[0-9]{9}$")] | None = Field(
        default=None, description="Nine digits; a professional has one."
    )
    address: Address | None = None
    regulatory_basis: RegulatoryBasis | None = Field(
        default=None, description="On which money is collected for the client; needs finance."
    )


class ClientIn(ClientChange):
    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Résidence Exemple"}]})
    name: Name


class ClientOut(Output):
    id: int
    name: str
    is_operator: bool
    client_class: ClientClass | None
    legal_name: str | None
    siren: str | None
    address: AddressOut | None
    regulatory_basis: RegulatoryBasis | None
    closed_at: Utc | None = Field(description="When its last contract was settled.")


class ContactIn(Input):
    name: Name
    email: Annotated[str, Field(max_length=254)] | None = None
    phone: Annotated[str, Field(max_length=32)] | None = None
    purposes: Annotated[list[Purpose], Field(min_length=1, max_length=5)]


class ContactOut(Output):
    id: int
    name: str
    email: str | None
    phone: str | None
    purposes: list[Purpose]
    created_at: Utc


class VatIn(Input):
    status: Literal["redevable", "franchise", "non_assujetti", "membre_assujetti_unique"] = Field(
        description="As the client has declared it; a membre_assujetti_unique is refused."
    )
    vat_number: Annotated[str, Field(max_length=20)] | None = None
    from_on: Day
    to_on: Day | None = Field(default=None, description="First day after it; null: no end.")


class VatOut(Output):
    id: int
    status: Literal["redevable", "franchise", "non_assujetti"]
    vat_number: str | None
    from_on: date
    to_on: date | None


class IbanIn(Input):
    iban: Annotated[str, Field(max_length=50)]
    holder: Annotated[Name, Field(max_length=70)]


class IbanOut(Output):
    id: int
    iban: str = Field(description="Masked; nobody is shown the whole.")
    holder: str
    state: Literal["waiting", "current", "refused", "replaced"]
    entered_by: str
    entered_at: Utc
    decided_by: str | None
    decided_at: Utc | None
    replaced_at: Utc | None


class HistoryOut(Output):
    id: int
    at: Utc
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]


class ServiceOut(Output):
    option: str
    label_fr: str
    label_en: str
    clause: str
    open: Truth
    reason: str | None = Field(description="not_subscribed, suspended, ended, no_mandate; or null.")
    text_fr: str
    text_en: str


class ContractIn(Input):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "devis_reference": "D-2026-0001",
                    "signed_on": "2026-05-04",
                    "starts_on": "2026-05-25",
                    "term_months": 36,
                    "mandate_from_on": "2026-05-25",
                    "options": ["status_monitoring", "remote_maintenance", "driver_app", "mandate"],
                }
            ]
        }
    )
    devis_reference: Annotated[Name, Field(max_length=100)]
    starts_on: Day
    signed_on: Day | None = Field(default=None, description="Null: a draft.")
    term_months: Annotated[int, Field(strict=True, ge=1, le=240)] | None = Field(
        default=None, description="As the Devis says; null: 24 (particulier), 36 (professionnel)."
    )
    mandate_from_on: Day | None = None
    options: Annotated[list[Name], Field(max_length=50)] = Field(
        default_factory=list, description="Subscribed from the first day on."
    )


class ContractChange(Input):
    devis_reference: Annotated[Name, Field(max_length=100)] = ""
    starts_on: Day = date(2010, 1, 1)
    signed_on: Day | None = None
    term_months: Annotated[int, Field(strict=True, ge=1, le=240)] = 36
    mandate_from_on: Day | None = None


class SuspensionOut(Output):
    received_on: date
    reason: str
    from_on: date
    until_on: date | None = Field(description="First day with service again.")


class ContractOut(Output):
    id: int
    client_id: int
    client: str
    client_class: ClientClass
    devis_reference: str
    state: str = Field(
        description="Today: draft, active, suspended, notice_given, ended, closed..."
    )
    signed_on: date | None
    starts_on: date
    term_months: int
    term_on: date = Field(description="Last day of the period that runs today.")
    notice_by: Literal["client", "operator"] | None
    notice_on: date | None
    ends_on: date | None = Field(description="Last day; null: no notice was given.")
    free_to_leave: Truth = Field(description="Today, for want of the letter of L.215-1.")
    mandate_from_on: date | None
    mandate_revoked_on: date | None
    mandated: Truth = Field(description="Today, invoices are issued in the client's name.")
    suspensions: list[SuspensionOut]
    letters_on: list[date]
    created_at: Utc
    closed_at: Utc | None


class SuspendIn(Input):
    received_on: Day = Field(description="When the client received the registered letter.")
    reason: Note
    from_on: Day | None = Field(default=None, description="Null: as soon as the notice allows.")


class TerminateIn(Input):
    by: Literal["client", "operator"]
    letter_on: Day = Field(
        description="Of the client's letter the postmark, else its receipt; of ours its receipt."
    )
    ends_on: Day | None = Field(
        default=None,
        description="Null: as the contract says. Of a client an earlier day costs the indemnity; "
        "of the operator a later one is kinder.",
    )


class DayIn(Input):
    on: Day


class LetterIn(Input):
    sent_on: Day


class DueOut(Output):
    on: date
    what: Literal["subscription", "management_fee"]
    amount_cents: int


class IndemnityOut(Output):
    leaves_on: date
    term_on: date
    lines: list[DueOut]
    total_cents: int
    why: Literal["early", "in_time", "free"]


class TerminatedOut(Output):
    contract: ContractOut
    indemnity: IndemnityOut | None = Field(description="Computed, never posted; null: of ours.")


class TermsIn(Input):
    from_on: Day
    to_on: Day | None = None
    commission_rate: Rate = Field(default=Decimal(0), description="Of what was collected: 0.05.")
    monthly_management_fee_cents: Cents = 0
    yearly_subscription_cents: Cents = 0
    monthly_telemetering_cents: Cents = Field(default=0, description="Of each connected user.")
    energy_price_eur_per_kwh: Price | None = Field(default=None, description="Without VAT.")
    invoicing: Literal["per_use", "per_driver_month"] = Field(
        default="per_driver_month", description="How often drivers get an invoice."
    )


class TermsOut(Output):
    id: int
    from_on: date
    to_on: date | None
    commission_rate: NumberOut
    monthly_management_fee_cents: int
    yearly_subscription_cents: int
    monthly_telemetering_cents: int
    energy_price_eur_per_kwh: NumberOut
    invoicing: str


class OptionIn(Input):
    from_on: Day
    to_on: Day | None = Field(default=None, description="First day without it.")


class OptionOut(Output):
    id: int
    option: str
    label: Label
    from_on: date
    to_on: date | None


class MilestoneOut(Output):
    on: date
    kind: Literal[
        "start",
        "letter_from",
        "letter_until",
        "notice_deadline",
        "renewal",
        "suspension",
        "resumption",
        "end",
    ]
    anniversary_on: date | None
    contract_id: int
    client_id: int
    client: str
